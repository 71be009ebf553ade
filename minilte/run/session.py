"""A run in memory: built, trained round by round, evaluated now and then."""

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

from minilte.around.catching_up import catching_up
from minilte.comm.blocks import block
from minilte.comm.communicator import Communicator
from minilte.comm.quorum import Quorum
from minilte.comm.solo import Solo
from minilte.core.method import Round, rounds
from minilte.core.types import Tree
from minilte.run.build import Built, build
from minilte.run.health import Health, distrusted, refuse_infinite, refuse_runaway, refuse_worse
from minilte.run.machine import cores, enough_memory, one_blas_thread
from minilte.run.observe import Record, due, observed, silent_loss
from minilte.settings.config import Config


class State(NamedTuple):
    """Where a run stands after a merge."""

    step: int
    main: Tree
    heads: tuple[Tree, ...]  # all N, in head order
    facts: dict  # seconds; bytes sent, by kind, before this process began; health
    shown: Tree = None  # what the heads of this process see of the main state, once it was merged


class Session(NamedTuple):
    """A run that can go on: its settings, its parts as built, and its processes."""

    config: Config
    built: Built
    comm: Communicator


def open_session(config: Config, transport=None) -> Session:
    """A run on a transport (default: this process alone, one thread a core). Raises BadInput."""
    transport = transport or Solo()
    with enough_memory("smaller --widths, or for fewer samples"), one_blas_thread():
        built = build(config, transport.process)
    if (need := config.topology.quorum) and transport.size > 1:
        heads = [len(block(config.heads, transport.size, process)) for process in range(transport.size)]
        transport = Quorum(transport, heads, need, config.grace)
        built = built._replace(method=catching_up(built.method, transport.behind))
    return Session(config, built, Communicator(transport, config.heads, cores() if transport.size == 1 else 1))


def first_state(session: Session) -> State:
    """Step 0. `heads` are those of this process."""
    method = session.built.method
    with one_blas_thread():
        heads = tuple(method.enter(n) for n in session.comm.mine)
        return State(0, method.begin(), heads, first_facts())


def first_facts() -> dict:
    """The facts of a state at step 0."""
    return {"seconds": 0.0, "sent": {}}


def advance(session: Session, state: State) -> Iterator[tuple[Record, State]]:
    """Go on from `state`, yielding a record and the new state at its start and after every merge.

    Raises Diverged when a loss is no longer finite; all processes raise together.
    """
    config, comm, built = session.config, session.comm, session.built
    facts, before, silent = state.facts, state.step, silent_loss(built)
    seconds, health, earlier = facts["seconds"], Health(*facts.get("health", ())), state.main
    loop = rounds(built.method, comm, built.meeting, state.main, state.heads, config.steps, state.step)
    if state.step == 0:
        start = Round(0, state.main, list(state.heads), [])
        record = observed(config, built, start, 0.0, comm.process == 0)
        health = health._replace(start=record.train_loss)
        yield record, state
    del state  # under a master a worker lets go of the main weights here
    while True:
        begun = time.perf_counter()
        with one_blas_thread():
            done = next(loop, None)
        if done is None:
            return
        seconds += time.perf_counter() - begun
        bad = distrusted(built.method.facts.trust(done.shown))
        sound = {f"head {n}": loss for n, loss in enumerate(done.losses) if str(n) not in bad}
        refuse_infinite(done.step, sound, agreed=True)
        health = refuse_runaway(health, done.step, list(sound.values()), silent)
        look = comm.process == 0 and due(before, done.step, config.run.eval_steps, config.steps)
        record = observed(config, built, done, seconds, look, earlier)
        if done.step == config.steps:
            refuse_worse(health, done.step, record.train_loss, silent)
        losses = [loss if math.isfinite(loss) else None for loss in done.losses]
        facts = facts | {"seconds": seconds, "health": list(health)}
        ranks = built.method.facts.ranks(done.shown)
        ranks = ranks and {name: int(k) for name, k in ranks.items()}
        record = record._replace(trust=bad or None, losses=losses, ranks=ranks)
        yield record, State(done.step, done.main, tuple(done.heads), facts, done.shown)
        before, earlier = done.step, done.main if comm.process == 0 else None
