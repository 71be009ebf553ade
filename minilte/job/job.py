"""A run in a folder: checkpoints, metrics, pictures and the completion record; started, stopped, resumed.

Every process calls these functions; process 0 alone writes.
"""

import contextlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from minilte.comm.agree import agreed
from minilte.core.errors import DiskTrouble
from minilte.core.types import Tree
from minilte.cost import account
from minilte.disk import folder
from minilte.job import checkpoint, elastic, remarks, resume
from minilte.job.end import ended, finish
from minilte.job.pulse import Pulse, signs_of_life
from minilte.job.records import write_record
from minilte.job.start import check_machine, starting_point
from minilte.run.machine import enough_memory
from minilte.run.observe import Record, due
from minilte.run.session import Session, State, advance, open_session
from minilte.settings import stored
from minilte.settings.config import Config, defaults


class Watch(NamedTuple):
    """How a run speaks to its caller, and what the caller asks of it."""

    say: Callable[[str], None]  # a line, process 0 only
    record: Callable[[Record, Session], None]  # after every merge, process 0 only
    wish: Callable[[], int]  # the number of a signal that asked this process to stop, or 0
    patience: float = 600.0  # seconds to wait for a silent process
    latest_good: bool = False  # where the newest checkpoint is damaged, may the one before be taken?
    draw: Callable[..., None] = lambda *_: None  # (folder, session, final weights, records, baseline, rank bounds)


SILENT = Watch(lambda line: None, lambda record, session: None, lambda: 0)


class Stopped(NamedTuple):
    """A run that a signal ended early, saved."""

    signal: int
    step: int


def begin(path: Path, config: Config, transport) -> Path:
    """Create the folder with its settings, before step 1. Raises BadInput on every process."""

    def make():
        if transport.process == 0:
            folder.create(path)
            stored.write_settings(path, config)

    agreed(transport, make)
    return path


def settings(path: Path, transport, heads: int | None = None, steps: int | None = None) -> Config:
    """The settings that a run folder was created with, or goes on with: in another number of heads, for more steps.

    Raises BadInput on every process.
    """

    def read():
        config = resume.settings(path)
        config = config if heads is None else elastic.with_heads(config, heads)
        return config if steps is None else elastic.with_steps(config, steps)

    return agreed(transport, read)


def opened(config: Config, transport) -> Session:
    """A run on every process. Raises BadInput on every process."""
    return agreed(transport, lambda: open_session(config, transport))


def run(path: Path, session: Session, watch: Watch) -> dict | Stopped:
    """Train to the end in a folder that `begin` made, from its newest checkpoint; returns the summary.

    Raises BadInput on every process where another process is at work in the folder, or where its files do not fit.
    """
    transport = session.comm.transport
    if transport.process != 0:
        watch = watch._replace(say=SILENT.say)
    with enough_memory("smaller --widths or a smaller --batch"), contextlib.ExitStack() as held:
        agreed(transport, lambda: transport.process == 0 and held.enter_context(folder.alone(path)))
        with signs_of_life(path, transport, watch.patience, watch.say) as pulse:
            try:
                return go_on(path, session, watch, pulse)
            except DiskTrouble as trouble:
                # an exception of its own: processes as threads may share the other
                told = DiskTrouble(f"{trouble}, then --resume")
                told.agreed = trouble.agreed
                raise told from None


def go_on(path: Path, session: Session, watch: Watch, pulse: Pulse | None) -> dict | Stopped:
    """The work of `run`, in a folder that no other process touches."""
    config, comm = session.config, session.comm
    for note in session.built.notes:
        watch.say(f"note: {note}")
    check_machine(path, session, watch.say)
    if (done := agreed(comm.transport, lambda: ended(path, config))) is not None:
        return done if comm.process == 0 else {}
    state = starting_point(path, session, watch.say, watch.latest_good)
    before, seen, late = state.step, [], frozenset()
    comm.tag = zlib.crc32(json.dumps(config.flat()).encode())
    for record, state in advance(session, state):
        if pulse:
            pulse.step = state.step
        if comm.process == 0:
            if 0 < state.step:
                folder.refuse_lost(path, ["metrics.jsonl"])  # or a new one would begin here
            write_record(path / "metrics.jsonl", record)
            watch.record(record, session)
            remarks.of_health(seen, record, config.steps, watch.say)
            late = remarks.of_the_late(late, session, state.step, watch.say)
        comm.wish = watch.wish()
        stop = comm.stop
        if stop or (before < state.step and due(before, state.step, config.run.save_steps, config.steps)):
            save(path, session, state)
        before = state.step
        if stop and state.step < config.steps:
            return Stopped(stop, state.step)
    remarks.of_a_better(seen, watch.say)
    versus = baseline(path, session, watch)
    return versus if isinstance(versus, Stopped) else finish(path, session, state, watch.say, watch.draw, versus)


def save(path: Path, session: Session, state: State) -> None:
    """Gather every head on process 0 and write a checkpoint there; the best so far is kept."""
    gathered = session.comm.transport.objects(state.heads, everywhere=False)
    sent = account.added([state.facts["sent"], *account.sent_by_process(session.comm)])
    if gathered is not None:
        blocks = [left_out(session, state, p) if mine is None else mine for p, mine in enumerate(gathered)]
        heads = tuple(head for block in blocks for head in block)
        with folder.writing(path):
            folder.settle(path / "metrics.jsonl")  # no checkpoint is ahead of its records
        whole = state._replace(heads=heads, facts=state.facts | {"sent": sent})
        checkpoint.save(path, whole, session.config.flat(), resume.best_saved(path, state.step))


def left_out(session: Session, state: State, process: int) -> list[Tree]:
    """The heads of a late process as they will be when it is back: all that they hold is known here."""
    method = session.built.method
    return [method.hear(state.main, method.enter(n), state.step) for n in session.comm.blocks[process]]


def baseline(path: Path, session: Session, watch: Watch) -> dict | Stopped | None:
    """The full-rank run that `versus` asks for, in a folder inside the run's."""
    config, transport = session.config, session.comm.transport
    if config.versus == "none":
        return None
    inner = path / f"versus-{config.versus}"
    own = {
        name: value for name, value in defaults().items() if name in config.method.usual
    }  # rates of another kind of step
    plain = config.replace(**{name: own[name] for name in ("lr", "weight_decay") if name in own})
    plain = plain.replace(method=config.versus, topology="default", versus="none")
    if not agreed(transport, lambda: (inner / "config.json").exists()):
        begin(inner, plain, transport)
    watch.say(f"now the baseline, {config.versus}, on the same samples")
    return run(inner, opened(plain, transport), watch)
