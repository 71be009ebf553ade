"""What is recorded of a run after a merge: losses, scores of the main weights, measures."""

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

TRAIN_ROWS = 10_000  # of the training set, for the training loss of the main weights


class Record(NamedTuple):
    """What is recorded of a run after a merge; a field after the losses is None where it does not apply."""

    step: int
    samples: int  # seen so far, on the cumulative batch
    seconds: float  # spent training so far, evaluations left out
    losses: list[float | None]  # mean training loss of each head over its last round; None: not finite
    train_loss: float | None = None  # of the main weights
    test_loss: float | None = None
    test_accuracy: float | None = None  # a fraction; None for a regression
    trust: dict[str, float] | None = None  # heads that did not count in full: 0 left out, less than 1 clipped
    update_norm: float | None = None  # |W_t - W_(t-T)|_F over all layers, of the last round
    measures: dict | None = None  # see `measure.measures`, with --measure
    valid_loss: float | None = None  # of the rows held out with --validate; test scores are then of the end alone
    valid_accuracy: float | None = None
    ranks: dict[str, int] | None = None  # rows of each layer's adapters that live, where that changes
    state: Any = None  # main and heads, where the run is in memory; no file holds it

    def __repr__(self):
        """Without the state: its arrays would fill a screen."""
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self.plain().items())})"

    @property
    def held_loss(self) -> float | None:
        """Loss of the rows that evaluations look at: those held out to validate, else the test set."""
        return self.test_loss if self.valid_loss is None else self.valid_loss

    @property
    def held_accuracy(self) -> float | None:
        """Accuracy on the same rows."""
        return self.test_accuracy if self.valid_loss is None else self.valid_accuracy

    def plain(self) -> dict:
        """What goes into a file."""
        return {name: value for name, value in self._asdict().items() if name != "state"}


def silent_loss(built: Built) -> float:
    """The training loss of a network whose output is zero."""
    f, _ = LOSSES[built.task.net.loss]
    y = built.data.y_train[: 1 if built.data.classes else TRAIN_ROWS]  # log K whatever the label
    return float(f(np.zeros((len(y), built.data.outputs)), y)[0])


def due(before: int, step: int, every: int, last: int) -> bool:
    """Did the round pass a multiple of `every`, or the end?"""
    return step // every > before // every or step == last


def observed(config: Config, built: Built, done: Round, seconds: float, look: bool, earlier: Tree = None) -> Record:
    """The record of a round; with `look`, scores of the main weights, and their distance from those of `earlier`."""
    record = Record(done.step, done.step * config.batch, seconds, done.losses)
    if not look:
        return record
    weights = dense_weights(built.method, done.main)
    train, scores = scores_of(built, weights, done.step == config.steps)
    losses = {
        "main weights, training": train,
        **{f"main weights, {name}": loss for name, (loss, _) in scores.items()},
    }
    refuse_infinite(done.step, losses, agreed=False)
    moved = None if earlier is None else distance(dense_weights(built.method, earlier), weights)
    refuse_infinite(done.step, {"main weights": moved or 0.0}, agreed=False, what="norm of the last update")
    return record._replace(
        train_loss=train,
        **{f"{split}_{kind}": each for split, of in scores.items() for kind, each in zip(("loss", "accuracy"), of)},
        update_norm=moved,
        measures=measured(config, built, done, weights) if config.measure else None,
    )


def scores_of(built: Built, weights: Weights, end: bool) -> tuple[float, dict[str, tuple[float, float | None]]]:
    """Training loss, and {split: (loss, accuracy)} of the rows held out; where some validate, of the test set at the end."""
    data, net = built.data, built.task.net
    splits = [split for split in data.splits[1:] if split == data.splits[1] or end]
    with one_blas_thread():
        train, _ = evaluate(net, weights, data.x_train[:TRAIN_ROWS], data.y_train[:TRAIN_ROWS])
        return train, {
            split: evaluate(net, weights, getattr(data, f"x_{split}"), getattr(data, f"y_{split}"))
            for split in splits
        }


def distance(a: Tree, b: Tree) -> float:
    """|a - b|_F over all arrays of two trees."""
    return math.sqrt(sum(float(np.square(x - y).sum()) for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True)))


def measured(config: Config, built: Built, done: Round, weights: Weights) -> dict:
    """The measures of a round: of W_t - W_0, of the heads' factors as they were merged, of gradients at W_t."""
    names = adapted_names(weights, config.adapt if "adapters" in config.parts else ())
    factors = built.method.facts.factors(done.main) if done.step else None
    with one_blas_thread():
        return measures(built.task, weights, factors, names, done.step)


def dense_weights(method: Method, main: Tree) -> Weights:
    """The matrix of each layer, as it is saved and hashed. Under one BLAS thread: for LoRA it is a product."""
    with one_blas_thread():
        return method.weights(main)
