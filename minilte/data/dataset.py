"""The dataset that every loader returns: checked, cast and standardised."""

from typing import NamedTuple

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array

FLOOR = 1e-10  # of a feature's largest value; the rounding of a mean over 1e6 rows stays below it
COLUMNS = 64  # features standardised at a time, so that float64 copies stay small


class Scaling(NamedTuple):
    """How inputs were standardised: z = (x - mean) / deviation, feature by feature."""

    mean: Array  # (n,)
    deviation: Array  # (n,), inf for a constant feature

    def apply(self, x: Array, dtype) -> Array:
        """z in `dtype`; float64 copies stay small.    (…,n)->(…,n)"""
        z = np.empty(x.shape, dtype)
        for first in range(0, x.shape[-1], COLUMNS):
            columns = slice(first, first + COLUMNS)
            z[..., columns] = (x[..., columns].astype(np.float64) - self.mean[columns]) / self.deviation[columns]
        return z


def unscaled(features: int) -> Scaling:
    """The scaling that changes nothing."""
    return Scaling(np.zeros(features), np.ones(features))


class Dataset(NamedTuple):
    """A training set and a test set; rows are samples."""

    x_train: Array  # (a, d)
    y_train: Array  # (a,) int64 labels, or (a, k) float targets
    x_test: Array  # (b, d)
    y_test: Array  # (b,) or (b, k)
    classes: int | None  # None: regression
    name: str
    scaling: Scaling | None = None  # of x_train and x_test; None: they are as they came

    @property
    def inputs(self) -> int:
        """d, the width of a sample."""
        return self.x_train.shape[1]

    @property
    def outputs(self) -> int:
        """The width of a prediction: one score a class, or k."""
        return self.classes or self.y_train.shape[1]


def blank(inputs: int, outputs: int, classes: int | None, rows: int, dtype: str, name: str = "nothing") -> Dataset:
    """A data set of zeros that take no memory, for what depends on the widths of the data alone."""
    zero = np.zeros((), dtype)
    x = np.broadcast_to(zero, (rows, inputs))
    y = np.zeros(rows, np.int64) if classes else np.broadcast_to(zero, (rows, outputs))
    return Dataset(x, y, x, y, classes, name)


def checked(data: Dataset, where: str) -> Dataset:
    """The same dataset, once shapes agree, every number is finite and every label is in range.

    `where` opens the message: a file, a folder, a name. Raises BadInput.
    """
    for split in ("train", "test"):
        x, y = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
        if x.ndim != 2 or 0 in x.shape:
            raise BadInput(f"{where}: x_{split} has shape {x.shape}, expected (rows, features)")
        if len(x) != len(y):
            raise BadInput(f"{where}: x_{split} has {len(x)} rows and y_{split} {len(y)}, expected as many")
        if (data.classes is None) != (y.ndim == 2) or (data.classes and y.dtype.kind not in "iu"):
            kind = "(rows, targets) of numbers" if data.classes is None else "(rows,) of whole-number labels"
            raise BadInput(f"{where}: y_{split} is {y.dtype}{list(y.shape)}, expected {kind}")
        _finite(x, f"{where}: x_{split}")
        _finite(y, f"{where}: y_{split}")
        if data.classes is not None:
            _in_range(y, data.classes, f"{where}: y_{split}")
    _same_width(data.x_train, data.x_test, f"{where}: x_test")
    _same_width(data.y_train, data.y_test, f"{where}: y_test")
    return data


def cast(data: Dataset, dtype: str) -> Dataset:
    """The same dataset in floats of `dtype`; labels stay int64. Raises BadInput where a number overflows."""
    floats = ["x_train", "x_test"] if data.classes else ["x_train", "x_test", "y_train", "y_test"]
    with np.errstate(over="ignore"):  # the check below reports it, with the place
        arrays = {field: getattr(data, field).astype(dtype, copy=False) for field in floats}
    return checked(data._replace(**arrays), f"{data.name} in {dtype}")


def standardise(data: Dataset, dtype: str, together: bool = False) -> Dataset:
    """Inputs moved and scaled to mean 0 and deviation 1 over the training set, then cast; see `fit_scaling`.

    Targets of a regression stay in their own unit, so that the loss does. The dataset keeps the scaling.
    Raises BadInput where a number leaves the range of `dtype`.
    """
    scaling = fit_scaling(data.x_train, together)
    with np.errstate(over="ignore", invalid="ignore"):  # `cast` reports it, with the place
        x_train, x_test = scaling.apply(data.x_train, dtype), scaling.apply(data.x_test, dtype)
    return cast(data._replace(x_train=x_train, x_test=x_test, scaling=scaling), dtype)


def fit_scaling(x: Array, together: bool = False) -> Scaling:
    """Mean and deviation of every feature, in float64: the same bits on every process.    (a,n)->(n),(n)

    `together` takes one mean and one deviation over all features: the pixels of an image share a unit, and a corner
    pixel that is lit in three images of five thousand must not be blown up to their size. A feature that is constant
    (deviation under `FLOOR` of its largest value) gets deviation inf and becomes 0 in every set: it has no
    information, and dividing by its rounding error would make noise of it.
    """
    mean, deviation = np.empty(x.shape[1]), np.empty(x.shape[1])
    for first in range(0, x.shape[1], COLUMNS):
        columns = slice(first, first + COLUMNS)
        mean[columns], deviation[columns] = _moments(x[:, columns].astype(np.float64))
    if together:
        spread = np.sqrt((np.where(np.isinf(deviation), 0, deviation) ** 2 + (mean - mean.mean()) ** 2).mean())
        mean, deviation = np.full_like(mean, mean.mean()), np.full_like(deviation, spread or np.inf)
    return Scaling(mean, deviation)


def _moments(x: Array) -> tuple[Array, Array]:
    """Mean and deviation of each column; inf where it is constant.    (a,n)->(n),(n)"""
    size = np.abs(x).max(axis=0)
    size[size == 0] = 1
    x = x / size  # now no square can overflow, and FLOOR has no unit
    mean = x.mean(axis=0)
    deviation = np.sqrt(((x - mean) ** 2).mean(axis=0))
    deviation[deviation < FLOOR] = np.inf
    return mean * size, deviation * size


def _finite(values: Array, where: str) -> None:
    good = np.isfinite(values)
    if not good.all():
        place = tuple(int(i) for i in np.argwhere(~good)[0])
        raise BadInput(f"{where}{list(place)} is {values[place]}, expected a finite number: mend it or drop the row")


def _in_range(labels: Array, classes: int, where: str) -> None:
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if bad.size:
        raise BadInput(f"{where}[{bad[0]}] is label {labels[bad[0]]}, expected 0 to {classes - 1}")


def _same_width(train: Array, test: Array, where: str) -> None:
    if train.shape[1:] != test.shape[1:]:
        got, expected = test.shape[1:], train.shape[1:]
        raise BadInput(f"{where} has rows of shape {got}, expected {expected} as in training")
