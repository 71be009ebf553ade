"""The completion record of a run, and how it reads."""

from pathlib import Path

from minilte.core import tree
from minilte.core.types import Weights
from minilte.cost import account
from minilte.cost.units import human
from minilte.disk import weights
from minilte.run.build import Built
from minilte.run.observe import Record
from minilte.run.session import Session, State
from minilte.settings.config import Config


def summary(session: Session, state: State, dense: Weights, final: Record, sent: dict, versus: dict | None) -> dict:
    """What summary.json holds: measures, costs, and the hash of the main weights."""
    built, seconds = session.built, state.facts["seconds"]
    return {
        "test_accuracy": final.test_accuracy,
        "test_loss": final.test_loss,
        "train_loss": final.train_loss,
        "steps": state.step,
        "samples": final.samples,
        "seconds": seconds,
        "samples_per_second": final.samples / seconds if seconds else 0.0,
        "parameters": tree.size(built.task.weights),
        "bytes_sent": sent,
        "memory": account.memory(built.task, built.method, state.main, state.heads[0], built.master),
        "weights_sha256": weights.sha256(dense),
        "inputs": built.data.inputs,
        "outputs": built.data.outputs,
        "classes": built.data.classes,
        "measures": final.measures,
        "versus": versus,
    }


def summary_lines(path: Path, summary: dict) -> list[str]:
    """What a person wants to know at the end of the run in a folder."""
    pictures = sorted(file.name for file in (path / "plots").glob("*.png"))
    return [
        *score_lines(summary),
        f"samples         {summary['samples']:,} in {summary['seconds']:.1f} s: {summary['samples_per_second']:,.0f} a second",
        f"sent            {sent_words(summary['bytes_sent'])}",
        f"memory          {memory_words(summary['memory'])}",
        f"weights sha256  {summary['weights_sha256']}",
        f"pictures        {', '.join(pictures)} in {path / 'plots'}",
        f"run folder      {path}",
    ]


def score_lines(summary: dict) -> list[str]:
    """Accuracy and loss, and the baseline's below them."""
    lines = [] if summary["test_accuracy"] is None else [f"test accuracy   {100 * summary['test_accuracy']:.2f} %"]
    lines.append(f"loss            {summary['test_loss']:.4f} held out, {summary['train_loss']:.4f} training")
    if versus := summary["versus"]:
        score = "" if versus["test_accuracy"] is None else f"{100 * versus['test_accuracy']:.2f} %, "
        lines.append(
            f"full rank       {score}{versus['test_loss']:.4f} held out, {versus['train_loss']:.4f} training"
        )
    return lines


def sent_words(sent: dict) -> str:
    """Bytes sent, beside what dense gradients would have cost the same processes."""
    if sent.get("before_resume"):
        kinds = ", ".join(f"{kind} {human(size)}" for kind, size in sent["by_kind"].items())
        return f"{human(sent['total'])} by all processes ({kinds}), {human(sent['before_resume'])} of it before the last start"
    if (processes := len(sent["per_process"])) == 1:
        return "nothing: all heads are in one process"
    dense = f"{human(sent['full_rank_ring'] / processes)} by ring, {human(sent['full_rank_all_to_all'] / processes)} all to all"
    kinds = ", ".join(f"{kind} {human(size / processes)}" for kind, size in sent["by_kind"].items())
    return f"{human(sent['total'] / processes)} a process ({processes} processes: {kinds}); full-rank data parallel: {dense}"


def memory_words(memory: dict) -> str:
    """Bytes held by a worker, kind by kind, beside full rank."""
    held = ", ".join(f"{kind.replace('_', ' ')} {human(memory[kind])}" for kind in account.KINDS if memory[kind])
    return f"{human(memory['total'])} a worker ({held}); full rank {human(memory['full_rank_total'])}"


def record_words(record: Record) -> str:
    """An evaluation in a few words."""
    words = f"train {record.train_loss:.4f}  held out {record.test_loss:.4f}"
    return words if record.test_accuracy is None else f"{words}  accuracy {100 * record.test_accuracy:5.2f} %"


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
