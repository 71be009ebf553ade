"""The files of a run folder that a report reads, checked: what minilte never writes is refused."""

from pathlib import Path

from minilte.core.errors import BadInput
from minilte.disk.files import brief, shown
from minilte.job import summary
from minilte.job.records import count, optional, read_records, table
from minilte.measure.measures import ALIGNMENT, RANKS
from minilte.run.observe import Record
from minilte.settings.knob import MOST

LARGEST = 1e30  # of a shown number; minilte writes none beyond


def finite(value) -> bool:
    """Is it a number that a figure has room for?"""
    return type(value) in (int, float) and abs(value) <= LARGEST


def positive(value) -> bool:
    """Is it such a number of at least 0?"""
    return finite(value) and value >= 0


def step(value) -> bool:
    """Is it a number of steps?"""
    return count(value) and value <= MOST


def measure(value) -> bool:
    """Is it a measure: a number, or why there is none?"""
    return finite(value) or isinstance(value, dict) and isinstance(value.get("undefined"), str)


def measures(value) -> bool:
    """Is it a result of `measure.measures`?"""
    if not (isinstance(value, dict) and table(table(measure))(value.get("layers"))):
        return False
    return all(of.keys() >= {*RANKS, *ALIGNMENT} for of in value["layers"].values()) and measure(
        value.get("noise_scale")
    )


RECORD = {  # what a report uses of a record, beyond the checks of every reader
    "step": step,
    "losses": lambda value: all(map(optional(positive), value)),
    "train_loss": optional(positive),
    "test_loss": optional(positive),
    "test_accuracy": optional(positive),
    "valid_loss": optional(positive),
    "valid_accuracy": optional(positive),
    "trust": optional(table(positive)),
    "ranks": optional(table(step)),
    "measures": optional(measures),
}
SUMMARY = {  # what a report needs of a summary, beyond the checks of every reader
    "steps": step,
    "parameters": count,
    **dict.fromkeys(("test_loss", "train_loss", "seconds", "samples_per_second"), positive),
    "test_accuracy": optional(positive),
    "bytes_sent": lambda value: summary.lacking({"headers": count}, value) is None,
}


def read_curves(log: Path) -> list[Record]:
    """The records of a run that has begun. Raises BadInput."""
    records = read_records(log)
    for line, record in enumerate(records, 1):
        if odd := summary.lacking(RECORD, record.plain()) or one_sided(record):
            raise BadInput(
                f"{shown(log)} line {line}: {odd} is {brief(getattr(record, odd))}, which minilte never writes"
            )
    if not any(record.held_loss is not None for record in records):
        raise BadInput(f"{shown(log)}: no evaluation yet, so there is nothing to report; go on with --resume")
    return records


def one_sided(record: Record) -> str | None:
    """The name of the loss that an evaluation lacks; None where it has both or neither."""
    lacks = {"train_loss": record.train_loss, "test_loss": record.held_loss}
    missing = [name for name, loss in lacks.items() if loss is None]
    return missing[0] if len(missing) == 1 else None


def read_summary(file: Path) -> dict:
    """The completion record of a run. Raises BadInput."""
    record = summary.read_summary(file)
    if odd := summary.lacking(SUMMARY, record):
        raise BadInput(f"{shown(file)}: {odd} is {brief(record.get(odd))}, which minilte never writes; restore it")
    return record
