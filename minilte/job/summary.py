"""The completion record of a run, and its lines for a person."""

from pathlib import Path

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.types import Weights
from minilte.cost import account
from minilte.cost.units import human
from minilte.disk import folder, weights
from minilte.disk.files import brief, shown
from minilte.job.records import count, number, optional, table
from minilte.run.build import Built
from minilte.run.observe import Record
from minilte.run.session import Session, State
from minilte.settings.config import Config


def summary(
    session: Session, state: State, dense: Weights, final: Record, sent: dict, versus: dict | None, longer: bool
) -> dict:
    """What summary.json holds: measures, costs, and the hash of the main weights. `longer`: it had ended before."""
    built, seconds = session.built, state.facts["seconds"]
    scores = ("test_accuracy", "test_loss", "valid_accuracy", "valid_loss", "train_loss", "samples", "measures")
    return {
        **{name: getattr(final, name) for name in scores},
        **{name: getattr(built.data, name) for name in ("inputs", "outputs", "classes")},
        "labels": list(built.data.labels),
        "longer": longer,
        "steps": state.step,
        "seconds": seconds,
        "samples_per_second": final.samples / seconds if seconds else 0.0,
        "parameters": tree.size(built.task.weights),
        "bytes_sent": sent,
        "memory": account.memory(built.task, built.method, state.main, state.heads[0], built.master),
        "weights_sha256": weights.sha256(dense),
        "versus": versus,
    }


SENT = {  # what bytes_sent must hold, and what the lines below say of it
    "per_process": lambda value: isinstance(value, list) and value != [] and all(map(count, value)),
    "by_kind": table(count),
    **dict.fromkeys(("total", "full_rank_ring", "full_rank_all_to_all"), count),
}
HELD = dict.fromkeys((*account.KINDS, "total", "full_rank_total"), count)
SCORES = {"test_accuracy": optional(number), "test_loss": number, "train_loss": number}
RECORD = SCORES | {
    "steps": count,
    "samples": count,
    "seconds": number,
    "samples_per_second": number,
    "bytes_sent": lambda value: isinstance(value, dict) and lacking(SENT, value) is None,
    "memory": lambda value: isinstance(value, dict) and lacking(HELD, value) is None,
    "weights_sha256": lambda value: isinstance(value, str) and value.isprintable(),
    "versus": optional(lambda value: isinstance(value, dict) and lacking(SCORES, value) is None),
}


def lacking(checks: dict, values: dict) -> str | None:
    """The first name whose value is missing, or does not pass its check; None where all do."""
    return next((name for name, fits in checks.items() if name not in values or not fits(values[name])), None)


def read_summary(file: Path) -> dict:
    """The completion record of a run, as far as its lines need it. Raises BadInput."""
    record = folder.read_json(file)
    if (odd := lacking(RECORD, record)) is not None:
        raise BadInput(f"{shown(file)}: {odd} is {brief(record.get(odd))}, which minilte never writes; restore it")
    return record


def summary_lines(path: Path, summary: dict) -> list[str]:
    """The lines that the user sees at the end of the run in a folder."""
    drawn = sorted(file.name for file in (path / "plots").glob("*.png"))
    return [
        *score_lines(summary),
        f"samples         {summary['samples']:,} in {summary['seconds']:.1f} s: {summary['samples_per_second']:,.0f} a second",
        f"sent            {sent_words(summary['bytes_sent'])}",
        f"memory          {memory_words(summary['memory'])}",
        f"weights sha256  {summary['weights_sha256']}",
        f"pictures        {', '.join(drawn)} in {path / 'plots'}" if drawn else "pictures        none",
        f"run folder      {path}",
    ]


def score_lines(summary: dict) -> list[str]:
    """Accuracy and loss, and the baseline's below them."""
    accuracy, versus = summary["test_accuracy"], summary["versus"]
    valid = summary.get("valid_accuracy")  # absent in a summary of before
    looked = "again after the run went on" if summary.get("longer") else "once"
    also = "" if valid is None else f", looked at {looked}; {100 * valid:.2f} % of the validation rows"
    lines = [] if accuracy is None else [f"test accuracy   {100 * accuracy:.2f} %{also}"]
    lines.append(f"loss            {loss_words(summary)}")
    if versus:
        score = "" if versus["test_accuracy"] is None else f"{100 * versus['test_accuracy']:.2f} %, "
        lines.append(f"full rank       {score}{loss_words(versus)}")
    return lines


def loss_words(summary: dict) -> str:
    """The losses of a run at its end."""
    test, train, valid = (summary.get(f"{split}_loss") for split in ("test", "train", "valid"))
    if valid is None:
        return f"{test:.4f} held out, {train:.4f} training"
    return f"{test:.4f} test, {valid:.4f} validation, {train:.4f} training"


def sent_words(sent: dict) -> str:
    """Bytes sent, beside what dense gradients would have cost the same processes."""
    processes, earlier = len(sent["per_process"]), sent.get("before_resume")
    if processes == 1 and not earlier:
        return "nothing: all heads are in one process"
    each = 1 if earlier else processes  # of processes before a resume the number is not known
    total = human(sent["total"] / each)
    items = ", ".join(f"{kind} {human(size / each)}" for kind, size in sent["by_kind"].items())
    if earlier:
        return f"{total} by all processes ({items}), {human(earlier)} of it before the last start"
    dense = f"{human(sent['full_rank_ring'] / each)} by ring, {human(sent['full_rank_all_to_all'] / each)} all to all"
    return f"{total} a process ({processes} processes: {items}); full-rank data parallel: {dense}"


def memory_words(memory: dict) -> str:
    """Bytes held by a worker, kind by kind, beside full rank."""
    held = ", ".join(f"{kind.replace('_', ' ')} {human(memory[kind])}" for kind in account.KINDS if memory[kind])
    return f"{human(memory['total'])} a worker ({held}); full rank {human(memory['full_rank_total'])}"


def record_words(record: Record) -> str:
    """An evaluation in a few words."""
    name = "held out" if record.valid_loss is None else "validation"
    words = f"train {record.train_loss:.4f}  {name} {record.held_loss:.4f}"
    return words if record.held_accuracy is None else f"{words}  accuracy {100 * record.held_accuracy:5.2f} %"


def describe(config: Config, built: Built) -> str:
    """One line about a run, for its start."""
    words = [f"{config.method.name} on {built.data.name}: {tree.size(built.task.weights):,} weights"]
    words.append(f"{config.heads} head{'s' * (config.heads > 1)}")
    if "adapters" in config.parts:
        ranks = ",".join(map(str, config.head_ranks)) or config.rank
        words.append(f"rank {ranks}, alpha {config.alpha:g}")
    if built.method.every > 1 or "merge_every" in config.flat():
        words.append(f"merge every {built.method.every}")
    if "quant" in config.parts and config.quant.coded:
        words.append(f"{config.quant.name} copies of W")
    return ", ".join([*words, f"{config.steps} steps of {config.batch}"])
