"""Where a run starts in its folder: on what machine, with what inputs, and from which step."""

from collections.abc import Callable
from pathlib import Path

from minilte.comm.agree import agreed, alike
from minilte.disk import folder
from minilte.job import atomic, elastic
from minilte.job.records import keep_until
from minilte.job.resume import latest, set_aside
from minilte.run.inputs import refuse_others
from minilte.run.machine import SAME_BITS, changed, fingerprint
from minilte.run.session import Session, State
from minilte.settings import stored
from minilte.settings.config import Config

Say = Callable[[str], None]


def check_machine(path: Path, session: Session, say: Say) -> None:
    """Keep the machine's fingerprint and the SHA-256 of the inputs; warn where a run goes on with other bits.

    Raises ProcessesDisagree where processes read other data, BadInput where these are not the data of the run's start.
    """
    transport, given = session.comm.transport, session.built.inputs
    now = fingerprint(transport.size, type(transport).__name__)
    alike(transport, {key: now[key] for key in SAME_BITS}, "its")
    alike(transport, given, "as SHA-256 of its")
    agreed(transport, lambda: transport.process == 0 and remember(path / "env.json", now, given, session.config, say))


def remember(file: Path, now: dict, given: dict[str, str], config: Config, say: Say) -> None:
    """Write the file at the first start, compare with it at every other. Raises BadInput, DiskTrouble."""
    if not file.exists():
        folder.write_json(file, now | {"sha256": given})
        return
    before = folder.read_json(file)
    if odd := changed(before, now):
        say(f"warning: this machine is not the one the run began on ({'; '.join(odd)}): bits may differ")
    if odd and config.data.drawn:
        given = {name: digest for name, digest in given.items() if name != "data"}  # drawn anew, in other bits
    refuse_others(config, inputs_of(file), given)


def inputs_of(file: Path) -> dict:
    """The SHA-256 of the inputs that a run began with; {} where its folder holds none. Raises BadInput."""
    had = folder.read_json(file).get("sha256") if file.exists() else None
    return had if isinstance(had, dict) else {}


def starting_point(path: Path, session: Session, say: Say, latest_good: bool) -> State:
    """The newest checkpoint, or step 0; the folder is brought back to that step. Raises BadInput, DiskTrouble."""
    transport = session.comm.transport
    state = agreed(transport, lambda: latest(path, session, say if latest_good else None))
    alike(transport, {"step": state.step}, "a checkpoint of")
    words = agreed(transport, lambda: transport.process == 0 and brought_back(path, session.config, state.step))
    if words:
        say(f"note: {words}")
    return state


def brought_back(path: Path, config: Config, step: int) -> str:
    """Undo in the folder what came after a step; what `elastic.reopened` says."""
    with folder.writing(path):
        for place in (path, path / "ckpt", path / "plots"):
            atomic.clear(place)
        stored.write_settings(path, config)  # with the heads it goes on with
        set_aside(path, step)
        keep_until(path / "metrics.jsonl", step)
        return elastic.reopened(path, config)
