"""The end of a run: final weights, pictures, and last of all the completion record. Nothing changes a run that has ended."""

from collections.abc import Callable
from pathlib import Path

from minilte.core.errors import BadInput, DiskTrouble
from minilte.cost import account
from minilte.data.dataset import unscaled
from minilte.disk import folder
from minilte.disk.files import reason, shown
from minilte.disk.weights import sha256
from minilte.job.elastic import had_ended
from minilte.job.records import read_records
from minilte.job.result import Result
from minilte.job.summary import read_summary, summary
from minilte.run.observe import Record, dense_weights
from minilte.run.session import Session, State
from minilte.settings import stored
from minilte.settings.config import Config

FILES = ("config.json", "env.json", "metrics.jsonl")  # of a run that is on its way


def ended(path: Path, config: Config) -> dict | None:
    """The completion record of a run that has ended at the last step of these settings, else None. Raises BadInput."""
    file = path / "summary.json"
    if not file.exists() or not (path / "final.safetensors").exists():
        return None
    done = read_summary(file)
    if done["steps"] != config.steps:
        return None
    if (had := stored.read_settings(path).heads) != config.heads:
        raise BadInput(
            f"heads: the run in {shown(path)} has ended with {had}, got {config.heads}; give more --steps too"
        )
    return done


def finish(
    path: Path, session: Session, state: State, say: Callable[[str], None], draw: Callable, versus: dict | None
) -> dict:
    """Write what a run leaves, on process 0, which gets the summary. Raises DiskTrouble where a file has gone meanwhile.

    A run that has its completion record already lacked its final weights alone: the record stays as it was.
    """
    built, comm = session.built, session.comm
    sent = account.bytes_sent(comm, built.task, state.facts["sent"], state.step)
    if comm.process != 0:
        return {}
    records, dense = all_records(path, state.step), dense_weights(built.method, state.main)
    file, scaling = path / "summary.json", built.data.scaling or unscaled(built.data.inputs)
    had = read_summary(file) if file.exists() else None
    if had and had["weights_sha256"] != sha256(dense):
        raise BadInput(
            f"{shown(file)}: of other weights than those of the last checkpoint; restore it, or begin anew"
        )
    Result(session.config, built.task.net, dense, scaling, records).save(path / "final.safetensors")
    if had:
        return had
    bounds = {} if "resized" in state.facts else built.method.facts.bound
    pictures(lambda: draw(path, session, dense, records, versus, bounds), say)
    folder.refuse_lost(path, (*FILES, "final.safetensors"))
    done = summary(session, state, dense, records[-1], sent, versus, had_ended(path))
    folder.write_json(file, done)
    return done


def all_records(path: Path, step: int) -> list[Record]:
    """The records of a run up to its last step. Raises DiskTrouble where some, or a file beside them, have gone."""
    folder.refuse_lost(path, FILES)
    records = read_records(path / "metrics.jsonl")
    if not records or (records[0].step, records[-1].step) != (0, step):
        raise DiskTrouble(
            f"{shown(path / 'metrics.jsonl')}: expected records of step 0 to {step}; some have gone while the run went on:"
            " put it back"
        )
    return records


def pictures(draw: Callable[[], None], say: Callable[[str], None]) -> None:
    """Draw; what goes wrong with a picture is a note, for the numbers of the run are all there."""
    try:
        draw()
    except Exception as trouble:
        say(f"note: not all pictures are drawn ({type(trouble).__name__}: {reason(trouble):.160})")
