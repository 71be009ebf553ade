"""A run in a folder: checkpoints, metrics, pictures and the completion record; started, stopped, resumed.

Every process calls these functions; process 0 alone writes.
"""

import contextlib
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from minilte.comm.agree import agreed, alike
from minilte.core.types import Tree
from minilte.cost import account
from minilte.data.dataset import unscaled
from minilte.disk import folder, weights
from minilte.job import checkpoint, elastic, remarks
from minilte.job.pulse import Pulse, left_by_the_dead
from minilte.job.records import keep_until, read_records, write_record
from minilte.job.resume import as_read, best_saved, latest, set_aside
from minilte.job.summary import summary
from minilte.run.machine import SAME_BITS, changed, fingerprint
from minilte.run.observe import Record, dense_weights, due
from minilte.run.session import Session, State, advance, open_session
from minilte.settings import stored
from minilte.settings.config import Config


class Watch(NamedTuple):
    """How a run speaks to whoever started it, and hears from them."""

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
        config = stored.read_settings(path)
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
    with contextlib.ExitStack() as held:
        agreed(transport, lambda: transport.process == 0 and held.enter_context(folder.alone(path)))
        with signs_of_life(path, session, watch) as pulse:
            return go_on(path, session, watch, pulse)


@contextlib.contextmanager
def signs_of_life(path: Path, session: Session, watch: Watch) -> Iterator[Pulse | None]:
    """This process's sign of life, and eyes for those of the others; says who died before this start."""
    transport = session.comm.transport
    if transport.eyes is None:
        yield None
        return
    if transport.process == 0 and (word := left_by_the_dead(path)):
        watch.say(f"note: {word}")
    transport.objects(None)  # nobody leaves a sign before those of the dead are gone
    before, pulse = transport.eyes, Pulse(path, transport.process, transport.size)
    transport.eyes = before._replace(limit=watch.patience, beat=pulse.beat, silent=pulse.silent)
    try:
        yield pulse
    finally:
        transport.eyes = before
    pulse.end()  # not after an error: then the sign says where this process was


def go_on(path: Path, session: Session, watch: Watch, pulse: Pulse | None) -> dict | Stopped:
    """The work of `run`, in a folder that no other process touches."""
    config, transport = session.config, session.comm.transport
    speaking = watch if transport.process == 0 else watch._replace(say=lambda line: None)
    for note in session.built.notes:
        speaking.say(f"note: {note}")
    check_machine(path, session, speaking)
    state = agreed(transport, lambda: latest(path, session, speaking.say if watch.latest_good else None))
    alike(transport, {"step": state.step}, "a checkpoint of")
    if transport.process == 0:
        checkpoint.clear(path)
        stored.write_settings(path, config)  # with the heads it goes on with
        set_aside(path, state.step)
        keep_until(path / "metrics.jsonl", state.step)
        if done := elastic.ended_before(path, config.steps):
            speaking.say(f"note: {elastic.longer(config, done)}")
            state = state._replace(facts=state.facts | {"longer": True})
    before, seen, late = state.step, [], frozenset()
    session.comm.tag = zlib.crc32(json.dumps(as_read(config)).encode())
    for record, state in advance(session, state):
        if pulse:
            pulse.step = state.step
        if transport.process == 0:
            write_record(path / "metrics.jsonl", record)
            watch.record(record, session)
            remarks.of_health(seen, record, config.steps, speaking.say)
            late = remarks.of_the_late(late, session, state.step, speaking.say)
        session.comm.wish = watch.wish()
        stop = session.comm.stop
        if stop or (before < state.step and due(before, state.step, config.run.save_steps, config.steps)):
            save(path, session, state)
        before = state.step
        if stop and state.step < config.steps:
            return Stopped(stop, state.step)
    remarks.of_a_better(seen, speaking.say)
    return finish(path, session, state, watch, baseline(path, session, watch))


def check_machine(path: Path, session: Session, watch: Watch) -> None:
    """Keep the machine's fingerprint; warn when a run goes on where its bits may differ."""
    transport = session.comm.transport
    now = fingerprint(transport.size, type(transport).__name__)
    alike(transport, {key: now[key] for key in SAME_BITS}, "its")
    if transport.process != 0:
        return
    file = path / "env.json"
    if file.exists() and (odd := changed(folder.read_json(file), now)):
        watch.say(f"warning: this machine is not the one the run began on ({'; '.join(odd)}): bits may differ")
    if not file.exists():
        folder.write_json(file, now)


def save(path: Path, session: Session, state: State) -> None:
    """Gather every head on process 0 and write a checkpoint there; the best so far is kept."""
    transport = session.comm.transport
    gathered = transport.to_root(state.heads)
    sent = account.added([state.facts["sent"], *account.sent_by_process(session.comm)])
    if gathered is not None:
        blocks = [left_out(session, state, p) if mine is None else mine for p, mine in enumerate(gathered)]
        heads = tuple(head for block in blocks for head in block)
        folder.settle(path / "metrics.jsonl")  # no checkpoint is ahead of its records
        whole = state._replace(heads=heads, facts=state.facts | {"sent": sent})
        checkpoint.save(path, whole, as_read(session.config), best_saved(path, state.step))


def left_out(session: Session, state: State, process: int) -> list[Tree]:
    """The heads of a process that is late, as it will have them when it comes: all that they hold is known here."""
    method = session.built.method
    return [method.hear(state.main, method.enter(n), state.step) for n in session.comm.blocks[process]]


def baseline(path: Path, session: Session, watch: Watch) -> dict | Stopped | None:
    """The full-rank run that `versus` asks for, in a folder of its own inside the run's."""
    config, transport = session.config, session.comm.transport
    if config.versus == "none":
        return None
    inner, plain = (
        path / f"versus-{config.versus}",
        config.replace(method=config.versus, topology="default", versus="none"),
    )
    if not agreed(transport, lambda: (inner / "config.json").exists()):
        begin(inner, plain, transport)
    if transport.process == 0:
        watch.say(f"now the baseline, {config.versus}, on the same samples")
    return run(inner, opened(plain, transport), watch)


def finish(path: Path, session: Session, state: State, watch: Watch, versus: dict | Stopped | None) -> dict | Stopped:
    """Final weights, pictures, and last of all the completion record. Every process calls; all get the summary."""
    if isinstance(versus, Stopped):
        return versus
    built, comm = session.built, session.comm
    sent = account.bytes_sent(comm, built.task, state.facts["sent"], state.step)
    if comm.process != 0:
        return {}
    records = read_records(path / "metrics.jsonl")
    final, dense = records[-1], dense_weights(built.method, state.main)
    mean, deviation = built.data.scaling or unscaled(built.data.inputs)
    scaling = {"input.mean": mean, "input.deviation": deviation}
    weights.write_weights(path / "final.safetensors", dense, scaling)
    bounds = {} if "resized" in state.facts else built.method.facts.bound
    watch.draw(path, session, dense, records, versus, bounds)
    done = summary(session, state, dense, final, sent, versus)
    if told := told_before(path, done):  # it had ended already: who sent what, and how fast, was then
        return told
    folder.write_json(path / "summary.json", done)
    return done


def told_before(path: Path, done: dict) -> dict | None:
    """The summary of a run that had come to the same end before; None where it had not."""
    if not (path / "summary.json").exists():
        return None
    told = folder.read_json(path / "summary.json")
    return told if all(told.get(name) == done[name] for name in ("steps", "weights_sha256")) else None
