"""Training from Python: NumPy in, NumPy out, no files and no MPI needed."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilte.settings import stored
from minilte.core import networks
from minilte.core.errors import BadInput
from minilte.core.types import Array, Rule, Weights
from minilte.data.dataset import Dataset, Scaling, unscaled
from minilte.disk.files import shown
from minilte.disk import folder
from minilte.run.build import all_widths, make_net
from minilte.settings.config import Config
from minilte.disk.files import brief
from minilte.settings.knob import MOST
from minilte.run.machine import one_blas_thread
from minilte.run.session import Record, advance, dense_weights, first_state, open_session, read_records
from minilte.disk.weights import fitted, read_tensors, room


def rounds(config: Config, data: Dataset | None = None, rule: Rule | None = None) -> Iterator[Record]:
    """Train, yielding a Record at the start and after every merge. Raises BadInput or Diverged.

    `data` stands in for what config.data names, `rule` for the merge rule that config.merge_rule names.

    >>> config = Config(data="least-squares", model="linear", heads=4, rank=8, alpha=8.0, steps=20)
    >>> [record.step for record in rounds(config)]
    [0, 10, 20]
    """
    session = open_session(config, data=data, rule=rule)
    for record, _ in advance(session, first_state(session)):
        yield record


class Result(NamedTuple):
    """A trained network: its main weights and how they came about."""

    config: Config
    net: networks.Network
    weights: Weights  # one dense matrix a layer
    scaling: Scaling  # of the inputs, measured on the training set
    records: list[Record]

    def __repr__(self):
        """In one line: the arrays would fill a screen."""
        end = self.records[-1] if self.records else None
        score = "" if end is None else f", held-out loss {end.test_loss:.4f} at step {end.step}"
        return f"Result({self.config.method} on {self.config.data}, {', '.join(self.weights)}{score})"

    def predict(self, x: Array) -> Array:
        """Outputs for inputs in their own unit: class scores, or regression values.    (b,n)->(b,m)"""
        with one_blas_thread():
            return networks.forward(self.net, self.weights, self._scaled(x))[0]

    def evaluate(self, x: Array, y: Array) -> tuple[float, float | None]:
        """Mean loss, and accuracy (None for a regression), on inputs in their own unit.    (b,n),(b)->(),()"""
        with one_blas_thread():
            return networks.evaluate(self.net, self.weights, self._scaled(x), np.asarray(y))

    def _scaled(self, x: Array) -> Array:
        x = np.asarray(x)
        first = next(iter(self.weights.values())).W
        if x.dtype.kind not in "biuf" or x.ndim < 2 or x.shape[-1] != first.shape[1]:
            raise BadInput(f"x: expected rows of {first.shape[1]} numbers, got {x.dtype} of shape {x.shape}")
        return self.scaling.apply(x, first.dtype)


def fit(config: Config, data: Dataset | None = None, rule: Rule | None = None) -> Result:
    """Train to the end; `data` and `rule` as for `rounds`. Raises BadInput or Diverged.

    >>> result = fit(Config(data="least-squares", inputs=6, outputs=3, model="linear", heads=2, rank=2, steps=20))
    >>> result.weights["layer1"].W.shape, result.predict(np.ones((5, 6))).shape
    ((3, 6), (5, 3))
    """
    session = open_session(config, data=data, rule=rule)
    state, records = first_state(session), []
    for record, state in advance(session, state):
        records.append(record)
    parts = session.parts
    return Result(
        config,
        parts.task.net,
        dense_weights(session, state.main),
        parts.data.scaling or unscaled(parts.data.inputs),
        records,
    )


def load(run: str | Path) -> Result:
    """The result of a finished run, from its folder. Raises BadInput naming the file that is missing or wrong."""
    path = Path(run)
    config, file = stored.read_settings(path), path / "final.safetensors"
    inputs, outputs, classes = read_sizes(path / "summary.json")
    net = make_net(config, inputs, outputs, classes)
    like = networks.blank_weights(net, all_widths(config, inputs, outputs), config.dtype, config.bias)
    stored = read_tensors(file, room(like))
    weights, scaling = fitted(stored, like, shown(file)), read_scaling(stored, inputs, shown(file))
    return Result(config, net, weights, scaling, read_records(path / "metrics.jsonl"))


def read_sizes(file: Path) -> tuple[int, int, int | None]:
    """(inputs, outputs, classes) in the summary of a run. Raises BadInput."""
    summary = folder.read_json(file)
    for name in ("inputs", "outputs", "classes"):
        value = summary.get(name, "nothing")
        if not (type(value) is int and 0 < value <= MOST or (name, value) == ("classes", None)):
            raise BadInput(f"{shown(file)}: {name} is {brief(value)}; expected a whole number of 1 to {MOST:g}")
    return summary["inputs"], summary["outputs"], summary["classes"]


def read_scaling(stored: dict[str, Array], inputs: int, where: str) -> Scaling:
    """How the inputs of a run were scaled. Raises BadInput."""
    for name in (names := [f"input.{field}" for field in Scaling._fields]):
        got = stored.get(name, np.empty(0))
        if got.shape != (inputs,) or got.dtype != np.float64 or np.isnan(got).any():
            raise BadInput(
                f"{where}: {name} is {got.dtype}{got.shape}, expected float64({inputs},) without NaN,"
                " as a run of this minilte has it"
            )
    return Scaling(*(stored[name] for name in names))
