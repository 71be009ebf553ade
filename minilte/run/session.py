"""A run in memory: build the parts, go round the loop, look at the main weights now and then."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilte.comm.quorum import Quorum
from minilte.comm.communicator import Ranks
from minilte.comm.solo import Solo
from minilte.comm.traffic import share
from minilte.core import lte, networks, tree
from minilte.core.errors import BadInput
from minilte.core.types import Head, Method, Round, Rule, Tree, Weights
from minilte.data.dataset import Dataset
from minilte.disk.files import shown
from minilte.disk import folder
from minilte.run.build import Parts, build
from minilte.job.checkpoint import State
from minilte.settings.config import Config
from minilte.run.health import Health, checked, distrusted, refuse_infinite
from minilte.run.machine import cores, one_blas_thread
from minilte.measure.measures import measures


class Record(NamedTuple):
    """What a run says of itself after a merge; what follows the losses is None where there is nothing to say."""

    step: int
    samples: int  # seen so far, on the cumulative batch
    seconds: float  # spent training so far, evaluations left out
    losses: list[float | None]  # mean training loss of each head over its last round; None: not finite
    train_loss: float | None = None  # of the main weights
    test_loss: float | None = None
    test_accuracy: float | None = None  # a fraction; None for a regression
    trust: dict[str, float] | None = None  # heads that did not count in full: 0 left out, less than 1 clipped
    update_norm: float | None = None  # |W_t - W_(t-T)|_F over all layers, of the last round
    measures: dict | None = None  # what `runs.measures` says, where it was asked for


class Session(NamedTuple):
    """A run that can go on: its settings, parts and ranks."""

    config: Config
    parts: Parts
    comm: Ranks


TRAIN_ROWS = 10_000  # of the training set, for the training loss of the main weights


def open_session(config: Config, transport=None, data: Dataset | None = None, rule: Rule | None = None) -> Session:
    """All parts of a run on a transport (default: this process alone, one thread a core). Raises BadInput.

    `data` and `rule` stand in for what the settings name.
    """
    transport = transport or Solo()
    try:
        with one_blas_thread():
            parts = build(config, data, transport.rank, rule)
    except MemoryError as trouble:
        raise BadInput(f"memory: {trouble}; ask for smaller --widths, or for fewer samples") from None
    if config.quorum and transport.size > 1:
        heads = [len(share(config.heads, transport.size, rank)) for rank in range(transport.size)]
        transport = Quorum(transport, heads, config.quorum, config.grace)
        parts = parts._replace(method=catching_up(parts.method, transport))
    return Session(config, parts, Ranks(transport, config.heads, cores() if transport.size == 1 else 1))


def catching_up(method: Method, ranks: Quorum) -> Method:
    """The method on a rank that takes no steps for a merge that is over already."""

    def local(main, heads, *rest):
        return list(heads) if ranks.behind() else method.local(main, heads, *rest)

    return method._replace(local=local)


def first_state(session: Session) -> State:
    """Step 0. `heads` are those of this rank."""
    method = session.parts.method
    with one_blas_thread():
        return State(
            0, method.begin(), tuple(method.enter(n) for n in session.comm.mine), {"seconds": 0.0, "sent": {}}
        )


def advance(session: Session, state: State) -> Iterator[tuple[Record, State]]:
    """Go on from `state`, yielding a record and the new state at its start and after every merge.

    Raises Diverged when a loss is no longer finite; all ranks raise together.
    """
    config, comm, method = session.config, session.comm, session.parts.method
    seconds = state.facts["seconds"]
    loop = lte.rounds(method, comm, state.main, state.heads, config.steps, state.step)
    if state.step == 0:
        yield observed(session, Round(0, state.main, list(state.heads), []), 0.0, True), state
    before, silent = state.step, silent_loss(session)
    health = Health(*state.facts.get("health", ()))
    earlier = state.main
    while True:
        begun = time.perf_counter()
        with one_blas_thread():
            done = next(loop, None)
        if done is None:
            return
        seconds += time.perf_counter() - begun
        bad = distrusted(done.main)
        sound = {f"head {n}": loss for n, loss in enumerate(done.losses) if str(n) not in bad}
        refuse_infinite(done.step, sound, agreed=True)
        health = checked(health, done.step, list(sound.values()), silent)
        done = done._replace(main=method.whole(done.main))
        record = observed(session, done, seconds, due(before, done.step, config.eval_steps, config.steps), earlier)
        record = record._replace(
            trust=bad or None, losses=[loss if math.isfinite(loss) else None for loss in done.losses]
        )
        facts = state.facts | {"seconds": seconds, "health": list(health)}
        yield record, State(done.step, done.main, tuple(done.heads), facts)
        before = done.step
        earlier = done.main if comm.rank == 0 else None


def silent_loss(session: Session) -> float:
    """The training loss of a network whose output is zero."""
    parts, data = session.parts, session.parts.data
    f, _ = networks.LOSSES[parts.task.net.loss]
    y = data.y_train[:TRAIN_ROWS]
    return float(f(np.zeros((len(y), data.outputs)), y)[0])


def due(before: int, step: int, every: int, last: int) -> bool:
    """Did the round pass a multiple of `every`, or the end?"""
    return step // every > before // every or step == last


def observed(session: Session, done: Round, seconds: float, evaluate: bool, earlier: Tree = None) -> Record:
    """The record of a round; rank 0 evaluates the main weights if asked, and how far they went from `earlier`."""
    record = Record(done.step, done.step * session.config.batch, seconds, done.losses)
    if not evaluate or session.comm.rank != 0:
        return record
    data = session.parts.data
    with one_blas_thread():
        train_loss, _ = measure(session, done.main, data.x_train[:TRAIN_ROWS], data.y_train[:TRAIN_ROWS])
        test_loss, accuracy = measure(session, done.main, data.x_test, data.y_test)
    refuse_infinite(
        done.step, {"main weights, training": train_loss, "main weights, held out": test_loss}, agreed=False
    )
    looked = looked_at(session, done) if session.config.measure else None
    moved = None if earlier is None else distance(dense_weights(session, earlier), dense_weights(session, done.main))
    return record._replace(
        train_loss=train_loss, test_loss=test_loss, test_accuracy=accuracy, update_norm=moved, measures=looked
    )


def distance(a: Tree, b: Tree) -> float:
    """|a - b|_F over all arrays of two trees."""
    return math.sqrt(sum(float(np.square(x - y).sum()) for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True)))


def looked_at(session: Session, done: Round) -> dict:
    """The measures of a round: of W_t - W_0, of the heads' factors as they were merged, of gradients at W_t."""
    task, head = session.parts.task, done.heads[0]
    adapted = [head.now] if isinstance(head, Head) else []
    merged = getattr(done.main, "then", None) if done.step else None
    with one_blas_thread():
        return measures(task, task.weights, dense_weights(session, done.main), merged, adapted, done.step)


def dense_weights(session: Session, main: Tree) -> Weights:
    """One dense matrix a layer, as it is saved and hashed. Under one BLAS thread: for LoRA it is a product."""
    with one_blas_thread():
        return session.parts.method.dense(main)


def measure(session: Session, main: Tree, x, y) -> tuple[float, float | None]:
    """Loss and accuracy of the main weights on a set."""
    return networks.evaluate(session.parts.task.net, session.parts.method.params(main), x, y)


def read_records(log: Path) -> list[Record]:
    """The records in the metrics of a run. Raises BadInput naming file and line."""
    records = []
    for number, line in enumerate(folder.read_lines(log), 1):
        if not (
            set(line) <= set(Record._fields) and all(name in line and fits(line[name]) for name, fits in LINE.items())
        ):
            raise BadInput(
                f"{shown(log)} line {number}: not a record that minilte wrote; restore it, or delete that line"
            )
        records.append(Record(**line))
    return records


def number(value) -> bool:
    """Is it a finite number of at least 0?"""
    return type(value) in (int, float) and 0 <= value < math.inf


LINE = {  # what a line of the metrics must hold
    "step": lambda value: type(value) is int and value >= 0,
    "samples": lambda value: type(value) is int and value >= 0,
    "seconds": number,
    "losses": lambda value: isinstance(value, list) and all(one is None or number(one) for one in value),
}
