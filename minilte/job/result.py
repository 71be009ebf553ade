"""A trained network, in memory or in the folder of its run. NumPy in, NumPy out."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.networks import Network, blank_weights, classifies, forward
from minilte.core.types import Array, Weights
from minilte.data.border import array, labels, number, values
from minilte.data.dataset import Scaling
from minilte.data.labels import names_of
from minilte.disk import folder
from minilte.disk.files import brief, shown
from minilte.disk.weights import fitted, read_tensors, room, sha256, write_weights
from minilte.job.records import read_records
from minilte.measure.score import evaluate
from minilte.run.build import make_net
from minilte.run.machine import one_blas_thread, plain
from minilte.run.observe import Record
from minilte.settings.config import Config
from minilte.settings.knob import MOST
from minilte.settings.stored import read_settings

SCALING = [f"input.{field}" for field in Scaling._fields]  # names of its arrays in a file of weights


class Result(NamedTuple):
    """A trained network: its main weights, and the settings and records of its run."""

    config: Config
    net: Network
    weights: Weights  # one dense matrix a layer
    scaling: Scaling  # of the inputs, measured on the training set
    records: list[Record]
    labels: tuple = ()  # what the data call the classes; (): 0 to K - 1

    def __repr__(self):
        """A line without the arrays, which would fill a screen."""
        end = self.records[-1] if self.records else None
        score = "" if end is None else f", held-out loss {end.held_loss:.4f} at step {end.step}"
        return f"Result({self.config.method.name} on {self.config.data.name}, {', '.join(self.weights)}{score})"

    @property
    def classes(self) -> tuple | None:
        """The labels of the data, in the order of the outputs; None for a regression."""
        return (self.labels or tuple(range(self._outputs()))) if classifies(self.net) else None

    def predict(self, x: Array) -> Array:
        """Outputs for inputs in their own unit: class scores, or regression values.    (b,n)->(b,m)

        Images may have their axes, as in a file. Raises BadInput for what no loader would take.
        """
        with one_blas_thread():
            return forward(self.net, self.weights, self._scaled(x))[0]

    def classify(self, x: Array) -> Array:
        """The most likely class of each input, as the data call it.    (b,n)->(b)    Raises BadInput."""
        if self.classes is None:
            raise BadInput("classify: a regression has no classes; predict gives its values")
        return np.asarray(self.classes)[self.predict(x).argmax(axis=-1)]

    def evaluate(self, x: Array, y: Array) -> tuple[float, float | None]:
        """Mean loss, and accuracy (None for a regression), on inputs in their own unit.    (b,n),(b)->(),()

        y has the labels of the data (`classes`), or the targets in their unit. Raises BadInput where x or y is of
        another kind than what was trained on.
        """
        x, y = self._scaled(x), np.atleast_1d(array(y, "y"))
        if y.shape[: x.ndim - 1] == x.shape[:-1]:
            y = y.reshape(math.prod(x.shape[:-1]), *y.shape[x.ndim - 1 :])
        x, classes = x.reshape(-1, x.shape[-1]), self.classes
        if len(y) != len(x) or not len(x):
            raise BadInput(f"y: expected {len(x) or 'some'} rows, as many as x has, got {y.dtype} of shape {y.shape}")
        y = values(y, self._outputs(), x.dtype, "y") if classes is None else labels(y, classes, "y")
        with one_blas_thread():
            return evaluate(self.net, self.weights, x, y)

    def save(self, path: str | Path) -> Path:
        """The weights, and the scaling of the inputs, as a .safetensors file with torch's names. Raises DiskTrouble."""
        write_weights(Path(path), self.weights, dict(zip(SCALING, self.scaling)))
        return Path(path)

    def _outputs(self) -> int:
        """m, the width of a prediction."""
        nothing = np.zeros((1, len(self.scaling.mean)), self.config.dtype)
        return forward(self.net, self.weights, nothing)[0].shape[-1]

    def _scaled(self, x: Array) -> Array:
        x, n = array(x, "x"), len(self.scaling.mean)
        if x.ndim > 2 and x.shape[-1] != n and math.prod(x.shape[1:]) == n:
            x = x.reshape(len(x), n)  # an image's axes
        if x.dtype.kind == "U" or x.ndim < 2 or x.shape[-1] != n:
            raise BadInput(f"x: expected rows of {n} numbers, got {x.dtype} of shape {x.shape}")
        return number(x, self.config.dtype, "x", self.scaling)


def load(run: str | Path, net: Network | None = None) -> Result:
    """The result of a finished run, from its folder; `net` is the network of a run that was given its own.

    Raises BadInput naming the file that is missing or wrong.
    """
    path = Path(run)
    config, file = read_settings(path), path / "final.safetensors"
    inputs, outputs, classes = read_sizes(path / "summary.json")
    names = read_labels(path / "summary.json", classes)
    net = net or make_net(config, inputs, outputs, classes)
    like = blank_weights(net, config.dtype)
    tensors = read_tensors(file, room(like))
    weights, scaling = fitted(tensors, like, shown(file)), read_scaling(tensors, inputs, shown(file))
    refuse_other_weights(file, weights, folder.read_json(path / "summary.json").get("weights_sha256"))
    return Result(config, net, weights, scaling, read_records(path / "metrics.jsonl"), names)


def refuse_other_weights(file: Path, weights: Weights, expected) -> None:
    """Raises BadInput for weights in a file that are not those of the run's completion record."""
    if (found := sha256(weights)) != expected:
        raise BadInput(
            f"{shown(file)}: its weights have SHA-256 {found[:12]}…, but summary.json says {plain(expected)[:12]}…;"
            " restore the file that was changed"
        )


def read_sizes(file: Path) -> tuple[int, int, int | None]:
    """(inputs, outputs, classes) in the summary of a run. Raises BadInput."""
    summary = folder.read_json(file)
    for name in ("inputs", "outputs", "classes"):
        value = summary.get(name, "nothing")
        if not (type(value) is int and 0 < value <= MOST or (name, value) == ("classes", None)):
            raise BadInput(f"{shown(file)}: {name} is {brief(value)}; expected a whole number of 1 to {MOST:g}")
    return summary["inputs"], summary["outputs"], summary["classes"]


def read_labels(file: Path, classes: int | None) -> tuple:
    """What the data of a run call their classes; () where these are numbers from 0 on. Raises BadInput."""
    names = folder.read_json(file).get("labels") or []
    if names and not (isinstance(names, list) and names_of(names, classes)):
        raise BadInput(
            f"{shown(file)}: labels is {brief(names)}; expected {classes} different words, or whole numbers"
        )
    return tuple(names)


def read_scaling(tensors: dict[str, Array], inputs: int, where: str) -> Scaling:
    """How the inputs of a run were scaled. Raises BadInput."""
    for name in SCALING:
        got = tensors.get(name, np.empty(0))
        if got.shape != (inputs,) or got.dtype != np.float64 or np.isnan(got).any():
            raise BadInput(
                f"{where}: {name} is {got.dtype}{got.shape}, expected float64({inputs},) without NaN,"
                " as a run of this minilte has it"
            )
    return Scaling(*(tensors[name] for name in SCALING))
