"""A trained network: what a run came to, in memory or in its folder. NumPy in, NumPy out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.networks import Network, blank_weights, classifies, forward
from minilte.core.types import Array, Weights
from minilte.data.dataset import Scaling
from minilte.disk import folder
from minilte.disk.files import brief, shown
from minilte.disk.weights import fitted, read_tensors, room, write_weights
from minilte.job.records import read_records
from minilte.measure.score import evaluate
from minilte.run.build import make_net
from minilte.run.machine import one_blas_thread
from minilte.run.observe import Record
from minilte.settings.config import Config
from minilte.settings.knob import MOST
from minilte.settings.stored import read_settings


class Result(NamedTuple):
    """A trained network: its main weights and how they came about."""

    config: Config
    net: Network
    weights: Weights  # one dense matrix a layer
    scaling: Scaling  # of the inputs, measured on the training set
    records: list[Record]

    def __repr__(self):
        """In one line: the arrays would fill a screen."""
        end = self.records[-1] if self.records else None
        score = "" if end is None else f", held-out loss {end.test_loss:.4f} at step {end.step}"
        return f"Result({self.config.method.name} on {self.config.data.name}, {', '.join(self.weights)}{score})"

    def predict(self, x: Array) -> Array:
        """Outputs for inputs in their own unit: class scores, or regression values.    (b,n)->(b,m)"""
        with one_blas_thread():
            return forward(self.net, self.weights, self._scaled(x))[0]

    def evaluate(self, x: Array, y: Array) -> tuple[float, float | None]:
        """Mean loss, and accuracy (None for a regression), on inputs in their own unit.    (b,n),(b)->(),()

        Raises BadInput where x or y is of another kind than what was trained on.
        """
        x, y = self._scaled(x), np.asarray(y)
        with one_blas_thread():
            m = forward(self.net, self.weights, x[:1])[0].shape[-1]
            if classifies(self.net):
                fits = y.dtype.kind in "iu" and y.shape == x.shape[:-1] and ((0 <= y) & (y < m)).all()
                words = f"a label of 0 to {m - 1} for each row"
            else:
                fits, words = y.dtype.kind in "biuf" and y.shape == (*x.shape[:-1], m), f"rows of {m} numbers"
            if not (fits and y.size):
                raise BadInput(f"y: expected {words} of x, got {y.dtype} of shape {y.shape}")
            return evaluate(self.net, self.weights, x, y)

    def save(self, path: str | Path) -> Path:
        """The weights, and the scaling of the inputs, as a .safetensors file with torch's names. Raises DiskTrouble."""
        scaling = {f"input.{name}": array for name, array in self.scaling._asdict().items()}
        write_weights(Path(path), self.weights, scaling)
        return Path(path)

    def _scaled(self, x: Array) -> Array:
        x = np.asarray(x)
        first = next(iter(self.weights.values())).W
        if x.dtype.kind not in "biuf" or x.ndim < 2 or x.shape[-1] != first.shape[1]:
            raise BadInput(f"x: expected rows of {first.shape[1]} numbers, got {x.dtype} of shape {x.shape}")
        return self.scaling.apply(x, first.dtype)


def load(run: str | Path, net: Network | None = None) -> Result:
    """The result of a finished run, from its folder; `net` is the network of a run that was given one of its own.

    Raises BadInput naming the file that is missing or wrong.
    """
    path = Path(run)
    config, file = read_settings(path), path / "final.safetensors"
    inputs, outputs, classes = read_sizes(path / "summary.json")
    net = net or make_net(config, inputs, outputs, classes)
    like = blank_weights(net, config.dtype)
    tensors = read_tensors(file, room(like))
    weights, scaling = fitted(tensors, like, shown(file)), read_scaling(tensors, inputs, shown(file))
    return Result(config, net, weights, scaling, read_records(path / "metrics.jsonl"))


def read_sizes(file: Path) -> tuple[int, int, int | None]:
    """(inputs, outputs, classes) in the summary of a run. Raises BadInput."""
    summary = folder.read_json(file)
    for name in ("inputs", "outputs", "classes"):
        value = summary.get(name, "nothing")
        if not (type(value) is int and 0 < value <= MOST or (name, value) == ("classes", None)):
            raise BadInput(f"{shown(file)}: {name} is {brief(value)}; expected a whole number of 1 to {MOST:g}")
    return summary["inputs"], summary["outputs"], summary["classes"]


def read_scaling(tensors: dict[str, Array], inputs: int, where: str) -> Scaling:
    """How the inputs of a run were scaled. Raises BadInput."""
    for name in (names := [f"input.{field}" for field in Scaling._fields]):
        got = tensors.get(name, np.empty(0))
        if got.shape != (inputs,) or got.dtype != np.float64 or np.isnan(got).any():
            raise BadInput(
                f"{where}: {name} is {got.dtype}{got.shape}, expected float64({inputs},) without NaN,"
                " as a run of this minilte has it"
            )
    return Scaling(*(tensors[name] for name in names))
