"""What a run says of itself after a merge."""

import math
from typing import Any, NamedTuple

import numpy as np

from minilte.core import tree
from minilte.core.method import Method, Round
from minilte.core.pairs import LOSSES
from minilte.core.types import Tree, Weights
from minilte.measure.measures import measures
from minilte.measure.score import evaluate
from minilte.methods.adapters import adapted_names
from minilte.run.build import Built
from minilte.run.health import refuse_infinite
from minilte.run.machine import one_blas_thread
from minilte.settings.config import Config


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
    measures: dict | None = None  # what `measure.measures` says, where it was asked for
    state: Any = None  # main and heads, where the run is in memory; no file holds it

    def __repr__(self):
        """Without the state: its arrays would fill a screen."""
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self.plain().items())})"

    def plain(self) -> dict:
        """What goes into a file."""
        return {name: value for name, value in self._asdict().items() if name != "state"}


TRAIN_ROWS = 10_000  # of the training set, for the training loss of the main weights


def silent_loss(built: Built) -> float:
    """The training loss of a network whose output is zero."""
    f, _ = LOSSES[built.task.net.loss]
    y = built.data.y_train[:TRAIN_ROWS]
    return float(f(np.zeros((len(y), built.data.outputs)), y)[0])


def due(before: int, step: int, every: int, last: int) -> bool:
    """Did the round pass a multiple of `every`, or the end?"""
    return step // every > before // every or step == last


def observed(config: Config, built: Built, done: Round, seconds: float, look: bool, earlier: Tree = None) -> Record:
    """The record of a round; if asked to look, with the scores of the main weights, and how far they went from `earlier`."""
    record = Record(done.step, done.step * config.batch, seconds, done.losses)
    if not look:
        return record
    data, method, net = built.data, built.method, built.task.net
    weights = dense_weights(method, done.main)
    with one_blas_thread():
        train_loss, _ = evaluate(net, weights, data.x_train[:TRAIN_ROWS], data.y_train[:TRAIN_ROWS])
        test_loss, accuracy = evaluate(net, weights, data.x_test, data.y_test)
    refuse_infinite(
        done.step, {"main weights, training": train_loss, "main weights, held out": test_loss}, agreed=False
    )
    return record._replace(
        train_loss=train_loss,
        test_loss=test_loss,
        test_accuracy=accuracy,
        update_norm=None if earlier is None else distance(dense_weights(method, earlier), weights),
        measures=looked_at(config, built, done, weights) if config.measure else None,
    )


def distance(a: Tree, b: Tree) -> float:
    """|a - b|_F over all arrays of two trees."""
    return math.sqrt(sum(float(np.square(x - y).sum()) for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True)))


def looked_at(config: Config, built: Built, done: Round, weights: Weights) -> dict:
    """The measures of a round: of W_t - W_0, of the heads' factors as they were merged, of gradients at W_t."""
    names = adapted_names(weights, config.adapt) if "adapters" in config.parts else adapted_names(weights)
    factors = built.method.facts.factors(done.main) if done.step else None
    with one_blas_thread():
        return measures(built.task, weights, factors, names, done.step)


def dense_weights(method: Method, main: Tree) -> Weights:
    """One dense matrix a layer, as it is saved and hashed. Under one BLAS thread: for LoRA it is a product."""
    with one_blas_thread():
        return method.weights(main)
