"""A run in a folder: checkpoints, metrics, pictures and the completion record; started, stopped, resumed.

Every rank calls these functions; rank 0 alone writes.
"""

import contextlib
import dataclasses
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from minilte.core.errors import BadInput
from minilte.core.types import Linear
from minilte.data.dataset import unscaled
from minilte.runs import account, checkpoint, elastic, folder, plots, weights
from minilte.runs.agree import agreed, alike
from minilte.runs.build import build
from minilte.runs.checkpoint import State
from minilte.runs.config import Config
from minilte.runs.machine import SAME_BITS, changed, fingerprint
from minilte.runs.pulse import Pulse, left_by_the_dead
from minilte.runs.session import (
    Record,
    Session,
    advance,
    dense_weights,
    due,
    first_state,
    open_session,
    read_records,
    stalled,
)
from minilte.runs.summary import summary
from minilte.runs.topology import has_master


class Watch(NamedTuple):
    """How a run speaks to whoever started it, and hears from them."""

    say: Callable[[str], None]  # a line, rank 0 only
    record: Callable[[Record, Session], None]  # after every merge, rank 0 only
    wish: Callable[[], int]  # the number of a signal that asked this process to stop, or 0
    patience: float = 600.0  # seconds to wait for a silent rank
    latest_good: bool = False  # where the newest checkpoint is damaged, may the one before be taken?


SILENT = Watch(lambda line: None, lambda record, session: None, lambda: 0)


class Stopped(NamedTuple):
    """A run that a signal ended early, saved."""

    signal: int
    step: int


def begin(path: Path, config: Config, transport) -> Path:
    """Create the folder with its settings, before step 1. Raises BadInput on every rank."""

    def make():
        if transport.rank == 0:
            folder.create(path)
            folder.write_json(path / "config.json", dataclasses.asdict(config))

    agreed(transport, make)
    return path


def settings(path: Path, transport, heads: int | None = None) -> Config:
    """The settings that a run folder was created with, or goes on with in another number of heads.

    Raises BadInput on every rank.
    """

    def read():
        config = folder.read_settings(path)
        return config if heads is None else elastic.with_heads(config, heads)

    return agreed(transport, read)


def opened(config: Config, transport) -> Session:
    """The parts of a run on every rank. Raises BadInput on every rank."""
    return agreed(transport, lambda: open_session(config, transport))


def run(path: Path, session: Session, watch: Watch) -> dict | Stopped:
    """Train to the end in a folder that `begin` made, from its newest checkpoint; returns the summary.

    Raises BadInput on every rank where another process is at work in the folder, or where its files do not fit.
    """
    transport = session.comm.transport
    with contextlib.ExitStack() as held:
        agreed(transport, lambda: transport.rank == 0 and held.enter_context(folder.alone(path)))
        with signs_of_life(path, session, watch) as pulse:
            return go_on(path, session, watch, pulse)


@contextlib.contextmanager
def signs_of_life(path: Path, session: Session, watch: Watch) -> Iterator[Pulse | None]:
    """Under MPI: this rank's sign of life, and eyes for those of the others; says who died before this start."""
    transport = session.comm.transport
    if not hasattr(transport, "eyes"):
        yield None
        return
    if transport.rank == 0 and (word := left_by_the_dead(path)):
        watch.say(f"note: {word}")
    transport.objects(None)  # nobody leaves a sign before those of the dead are gone
    before, pulse = transport.eyes, Pulse(path, transport.rank, transport.size)
    transport.eyes = before._replace(limit=watch.patience, beat=pulse.beat, silent=pulse.silent)
    try:
        yield pulse
    finally:
        transport.eyes = before
    pulse.end()  # not after an error: then the sign says where this rank was


def go_on(path: Path, session: Session, watch: Watch, pulse: Pulse | None) -> dict | Stopped:
    """The work of `run`, in a folder that no other process touches."""
    config, transport = session.config, session.comm.transport
    speaking = watch if transport.rank == 0 else watch._replace(say=lambda line: None)
    for note in session.parts.notes:
        speaking.say(f"note: {note}")
    check_machine(path, session, speaking)
    state = agreed(transport, lambda: latest(path, session, speaking))
    alike(transport, {"step": state.step}, "a checkpoint of")
    if transport.rank == 0:
        checkpoint.clear(path)
        folder.write_json(path / "config.json", dataclasses.asdict(config))  # with the heads it goes on with
        set_aside(path, state.step)
        keep_until(path / "metrics.jsonl", state.step)
    before, seen, told = state.step, [], False
    session.comm.tag = zlib.crc32(json.dumps(as_read(config)).encode())
    for record, state in advance(session, state):
        if pulse:
            pulse.step = state.step
        if transport.rank == 0:
            folder.append_line(path / "metrics.jsonl", record._asdict())
            watch.record(record, session)
            if record.train_loss is not None:
                seen.append(record)
                if not told and (best := stalled(seen, config.steps)) is not None:
                    told = True
                    speaking.say(f"note: the training loss has not been below that of step {best} since")
        session.comm.wish = watch.wish()
        stop = session.comm.stop
        if stop or (before < state.step and due(before, state.step, config.save_steps, config.steps)):
            save(path, session, state)
        before = state.step
        if stop and state.step < config.steps:
            return Stopped(stop, state.step)
    return finish(path, session, state, baseline(path, session, watch))


def check_machine(path: Path, session: Session, watch: Watch) -> None:
    """Keep the machine's fingerprint; warn when a run goes on where its bits may differ."""
    transport = session.comm.transport
    now = fingerprint(transport.size, type(transport).__name__)
    alike(transport, {key: now[key] for key in SAME_BITS}, "its")
    if transport.rank != 0:
        return
    file = path / "env.json"
    if file.exists() and (odd := changed(folder.read_json(file), now)):
        watch.say(f"warning: this machine is not the one the run began on ({'; '.join(odd)}): bits may differ")
    if not file.exists():
        folder.write_json(file, now)


def keep_until(log: Path, step: int) -> None:
    """Drop the records after a checkpoint: its run will write them again. At step 0 nothing is kept."""
    folder.write_lines(log, [record._asdict() for record in read_records(log) if 0 < step and record.step <= step])


def latest(path: Path, session: Session, watch: Watch = SILENT) -> State:
    """The newest checkpoint, with this rank's heads; step 0 where there is none. Raises BadInput.

    Where that one is damaged and the one before will do, it is set aside. Under a master the workers leave the main
    state to it: they will be told what they need.
    """
    first = first_state(session)
    if not (found := checkpoint.listed(path)):
        return first
    comm = session.comm
    load = lambda one: loaded(one, session)  # noqa: E731
    state = newest_good(found, load, watch) if watch.latest_good else load(found[-1])
    if state is None:
        return first
    main = first.main if comm.rank and has_master(session.config) else state.main
    return state._replace(main=main, heads=state.heads[comm.mine.start : comm.mine.stop])


def loaded(path: Path, session: Session) -> State:
    """The whole state of a checkpoint, in the number of heads of the run that goes on. Raises BadInput."""
    method, heads, before = session.parts.method, session.config.heads, elastic.saved_heads(path)
    if heads == before:
        return checkpoint.load(path, method.begin(), [method.enter(n) for n in range(heads)], as_read(session.config))
    config = elastic.with_heads(session.config, before)
    old = build(config, session.parts.data, session.comm.rank).method
    state = checkpoint.load(path, old.begin(), [old.enter(n) for n in range(before)], as_read(config))
    return elastic.resized(state, method, heads)


def newest_good(found: list[Path], load: Callable[[Path], State], watch: Watch) -> State | None:
    """The newest checkpoint that can be read, or None; says of each newer one what is wrong with it."""
    for one in reversed(found):
        try:
            return load(one)
        except BadInput as trouble:
            watch.say(f"warning: {trouble}")
    return None


def set_aside(path: Path, step: int) -> None:
    """Checkpoints after a step are no longer in the line of the run: out of the way, and not lost."""
    for one in checkpoint.listed(path):
        if int(one.name[5:]) > step:
            aside = one.with_name(f"damaged-{one.name}")
            if aside.exists():
                checkpoint.drop(aside)
            one.rename(aside)


def best_saved(path: Path, state: State) -> int | None:
    """The step of the saved state, this one or one on disk, with the least held-out loss, of those evaluated."""
    steps = {state.step, *(int(one.name[5:]) for one in checkpoint.listed(path))}
    seen = [(one.test_loss, one.step) for one in read_records(path / "metrics.jsonl") if one.step in steps]
    return min(((loss, step) for loss, step in seen if loss is not None), default=(None, None))[1]


def save(path: Path, session: Session, state: State) -> None:
    """Gather every head on rank 0 and write a checkpoint there; the best so far is kept."""
    transport = session.comm.transport
    gathered = transport.to_root(state.heads)
    sent = account.added([state.facts["sent"], *transport.objects(dict(session.comm.sent))])
    if gathered is not None:
        heads = tuple(head for heads in gathered for head in heads)
        folder.settle(path / "metrics.jsonl")  # no checkpoint is ahead of its records
        whole = state._replace(heads=heads, facts=state.facts | {"sent": sent})
        checkpoint.save(path, whole, as_read(session.config), best_saved(path, state))


def as_read(config: Config) -> dict:
    """The settings as JSON gives them back: lists for tuples."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def baseline(path: Path, session: Session, watch: Watch) -> dict | Stopped | None:
    """The full-rank run that `versus` asks for, in a folder of its own inside the run's."""
    config, transport = session.config, session.comm.transport
    if config.versus == "none":
        return None
    inner, plain = (path / f"versus-{config.versus}", config.without_merging(config.versus))
    if not agreed(transport, lambda: (inner / "config.json").exists()):
        begin(inner, plain, transport)
    if transport.rank == 0:
        watch.say(f"now the baseline, {config.versus}, on the same samples")
    return run(inner, opened(plain, transport), watch)


def finish(path: Path, session: Session, state: State, versus: dict | Stopped | None) -> dict | Stopped:
    """Final weights, pictures, and last of all the completion record. Every rank calls; all get the summary."""
    if isinstance(versus, Stopped):
        return versus
    parts, comm = session.parts, session.comm
    sent = account.bytes_sent(comm, parts, state.facts["sent"], state.step)
    if comm.rank != 0:
        return {}
    records = read_records(path / "metrics.jsonl")
    final, dense = records[-1], dense_weights(session, state.main)
    mean, deviation = parts.data.scaling or unscaled(parts.data.inputs)
    scaling = {"input.mean": mean, "input.deviation": deviation}
    weights.write_weights(path / "final.safetensors", dense, scaling)
    pictures(path, session, dense, records, versus)
    done = summary(session, state, dense, final, sent, versus)
    folder.write_json(path / "summary.json", done)
    return done


def pictures(path: Path, session: Session, dense: dict, records: list[Record], versus: dict | None) -> None:
    """Losses, accuracy, and the singular values of W_t - W_0 with the bound of law L2 where it holds."""
    config, task = session.config, session.parts.task
    inner = path / f"versus-{config.versus}"
    other = read_records(inner / "metrics.jsonl") if versus else []
    plots.loss(path / "plots", records, other)
    if session.parts.data.classes is not None:
        plots.accuracy(path / "plots", records, other)
    if config.measure:
        plots.measures(path / "plots", records)
    moved = {name: layer.W - task.weights[name].W for name, layer in dense.items() if isinstance(layer, Linear)}
    plots.spectrum(path / "plots", moved, session.parts.rank_bounds)
