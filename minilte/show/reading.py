"""The files of a run folder that a report reads, checked: what minilte never writes is refused."""

from collections.abc import Callable
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.core.types import Weights
from minilte.cost.account import KINDS
from minilte.disk import folder
from minilte.disk.files import brief, shown
from minilte.job import result
from minilte.job.records import read_records
from minilte.measure.measures import ALIGNMENT, RANKS
from minilte.run.observe import Record
from minilte.settings.knob import MOST

LARGEST = 1e30  # of a shown number; minilte writes none beyond


def optional(fits) -> Callable:
    """The check for a value that may also be None."""
    return lambda value: value is None or fits(value)


def finite(value) -> bool:
    """Is it a number that a figure has room for?"""
    return type(value) in (int, float) and abs(value) <= LARGEST


def positive(value) -> bool:
    """Is it such a number of at least 0?"""
    return finite(value) and value >= 0


def count(value) -> bool:
    """Is it a whole number of at least 0, of bytes or of samples?"""
    return type(value) is int and 0 <= value <= LARGEST


def step(value) -> bool:
    """Is it a number of steps?"""
    return count(value) and value <= MOST


def table(fits) -> Callable:
    """The check for an object whose values all fit."""
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


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
    "samples": count,
    "losses": lambda value: all(map(optional(positive), value)),
    "train_loss": optional(positive),
    "test_loss": optional(positive),
    "test_accuracy": optional(positive),
    "valid_loss": optional(positive),
    "valid_accuracy": optional(positive),
    "trust": optional(table(positive)),
    "measures": optional(measures),
}
SENT = {
    "per_process": lambda value: isinstance(value, list) and value != [] and all(map(count, value)),
    "total": count,
    "by_kind": table(count),
    "headers": count,
    "full_rank_ring": count,
    "full_rank_all_to_all": count,
}
HELD = dict.fromkeys((*KINDS, "total", "full_rank_total"), count)
SUMMARY = {
    "test_accuracy": optional(positive),
    "test_loss": positive,
    "train_loss": positive,
    "steps": step,
    "samples": count,
    "seconds": positive,
    "samples_per_second": positive,
    "parameters": count,
    "weights_sha256": lambda value: isinstance(value, str),
    "bytes_sent": lambda value: isinstance(value, dict) and all_fit(SENT, value) is None,
    "memory": lambda value: isinstance(value, dict) and all_fit(HELD, value) is None,
}


def all_fit(checks: dict, values: dict) -> str | None:
    """The first name whose value is missing or does not pass its check; None where all do."""
    return next((name for name, fits in checks.items() if name not in values or not fits(values[name])), None)


def read_curves(log: Path) -> list[Record]:
    """The records of a run that has begun. Raises BadInput."""
    records = read_records(log)
    for line, record in enumerate(records, 1):
        if odd := all_fit(RECORD, record.plain()) or one_sided(record):
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
    summary = folder.read_json(file)
    if odd := all_fit(SUMMARY, summary):
        raise BadInput(f"{shown(file)}: {odd} is {brief(summary.get(odd))}, which minilte never writes; restore it")
    return summary


def read_final(path: Path) -> Weights:
    """The final weights, if they are those of the summary. Raises BadInput."""
    return result.load(path).weights
