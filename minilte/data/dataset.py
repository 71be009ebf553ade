"""The dataset that every loader returns, and how a run takes it: validated, standardised, cast."""

import math
from typing import NamedTuple

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Array

DRAWS = {"test": 0, "valid": 1}  # each split has a stream of its own
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
    scaling: Scaling | None = None  # of all inputs; None: they are as they came
    x_valid: Array | None = None  # training rows that are held out, for evaluation and choice
    y_valid: Array | None = None
    labels: tuple = ()  # what the file calls the classes, in their order; (): 0 to classes - 1
    scale: str = ""  # how `prepared` is to standardise the inputs: "columns", each by itself; "together"; "": not
    said: tuple[str, ...] = ()  # what the file was taken for, in sentences

    @property
    def inputs(self) -> int:
        """d, the width of a sample."""
        return self.x_train.shape[1]

    @property
    def outputs(self) -> int:
        """The width of a prediction: one score a class, or k."""
        return self.classes or self.y_train.shape[1]

    @property
    def splits(self) -> tuple[str, ...]:
        """The sets of rows that there are: what is trained on, what evaluations look at, and the test set."""
        return ("train", "test") if self.x_valid is None else ("train", "valid", "test")


def blank(inputs: int, outputs: int, classes: int | None, rows: int, dtype: str, name: str = "nothing") -> Dataset:
    """A data set of zeros that take no memory, for what depends on the widths of the data alone."""
    zero = np.zeros((), dtype)
    x = np.broadcast_to(zero, (rows, inputs))
    y = np.broadcast_to(np.int64(0), (rows,)) if classes else np.broadcast_to(zero, (rows, outputs))
    return Dataset(x, y, x, y, classes, name, x_valid=x, y_valid=y)


def hold_out(data: Dataset, split: str, count: int, seed: int) -> Dataset:
    """So many training rows, drawn by the seed, as the rows of `split`; all stay in their old order."""
    order = stream(seed, "split", DRAWS[split]).permutation(len(data.x_train))
    out, kept = (np.sort(rows) for rows in np.split(order, [count]))
    x, y = data.x_train, data.y_train
    return data._replace(**{f"x_{split}": x[out], f"y_{split}": y[out]}, x_train=x[kept], y_train=y[kept])


def prepared(data: Dataset, dtype: str, seed: int = 0, validate: float = 0.0) -> Dataset:
    """The dataset as a run takes it: rows held out to validate, inputs standardised, in floats of `dtype`.

    `validate` counts rows, or is a share of the training rows where it is below 1. The scaling is measured on the rows
    that stay. Rows that are held out already stay held out. Raises BadInput.
    """
    if validate and data.x_valid is None:
        rows = len(data.x_train)
        if (count := max(1, round(validate * rows)) if validate < 1 else int(validate)) >= rows:
            raise BadInput(f"validate: {count} of {rows} training rows, expected fewer, so that some stay")
        data = hold_out(data, "valid", count, seed)
    return standardise(data, dtype, data.scale == "together") if data.scale else cast(data, dtype)


def validated(data: Dataset, where: str) -> Dataset:
    """The same dataset, once shapes agree, every number is finite and every label is in range.

    `where` opens the message: a file, a folder, a name. Raises BadInput.
    """
    for split in data.splits:
        x, y = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
        if x.ndim != 2 or 0 in x.shape:
            raise BadInput(f"{where}: x_{split} has shape {x.shape}, expected (rows, features)")
        if len(x) != len(y):
            raise BadInput(f"{where}: x_{split} has {len(x)} rows and y_{split} {len(y)}, expected as many")
        if (data.classes is None) != (y.ndim == 2) or 0 in y.shape or (data.classes and y.dtype.kind not in "iu"):
            kind = "(rows, targets) of numbers" if data.classes is None else "(rows,) of whole-number labels"
            raise BadInput(f"{where}: y_{split} is {y.dtype}{list(y.shape)}, expected {kind}")
        for letter, values, train, classes in (("x", x, data.x_train, None), ("y", y, data.y_train, data.classes)):
            _check_values(values, train.shape[1:], classes, f"{where}: {letter}_{split}")
    return data


def finite(values: Array, where: str) -> None:
    """Raises BadInput, naming the place, for a number that is none."""
    good = np.isfinite(values)
    if not good.all():
        place = tuple(int(i) for i in np.argwhere(~good)[0])
        raise BadInput(f"{where}{list(place)} is {values[place]}, expected a finite number: mend it or drop the row")


def _check_values(values: Array, width: tuple[int, ...], classes: int | None, where: str) -> None:
    finite(values, where)
    if values.shape[1:] != width:
        raise BadInput(f"{where} has rows of shape {values.shape[1:]}, expected {width} as in training")
    if classes is not None and (bad := np.flatnonzero((values < 0) | (values >= classes))).size:
        raise BadInput(f"{where}[{bad[0]}] is label {values[bad[0]]}, expected 0 to {classes - 1}")


def cast(data: Dataset, dtype: str) -> Dataset:
    """The same dataset in floats of `dtype`; labels stay int64. Raises BadInput where a number overflows."""
    floats = [f"{letter}_{split}" for split in data.splits for letter in ("x" if data.classes else "xy")]
    with np.errstate(over="ignore"):  # the check below reports it, with the place
        arrays = {field: getattr(data, field).astype(dtype, copy=False) for field in floats}
    data = validated(data._replace(**arrays), f"{data.name} in {dtype}")
    for field, values in arrays.items():
        in_scale(values, f"{data.name} in {dtype}: {field}")
    return data


def in_scale(values: Array, where: str) -> None:
    """Raises BadInput for floats whose squares, a million million of them together, leave the range of their dtype.

    The loss is a mean of such squares, so it would be infinite whatever the learning rate.
    """
    most = math.sqrt(np.finfo(values.dtype).max) / 1e6
    if max(values.max(), -values.min()) > most:
        place = np.unravel_index(int(np.argmax(np.abs(values))), values.shape)
        raise BadInput(
            f"{where}{list(map(int, place))} is {values[place]:.3g}, expected at most {most:.1g} for its square to fit:"
            " give it in a larger unit"
        )


def standardise(data: Dataset, dtype: str, together: bool = False) -> Dataset:
    """Inputs moved and scaled to mean 0 and deviation 1 over the training set, then cast; see `fit_scaling`.

    Targets of a regression stay in their own unit, so that the loss does. The dataset keeps the scaling.
    Raises BadInput where a number leaves the range of `dtype`.
    """
    scaling = fit_scaling(data.x_train, together)
    with np.errstate(over="ignore", invalid="ignore"):  # `cast` reports it, with the place
        scaled = {f"x_{split}": scaling.apply(getattr(data, f"x_{split}"), dtype) for split in data.splits}
    return cast(data._replace(**scaled, scaling=scaling, scale=""), dtype)


def fit_scaling(x: Array, together: bool = False) -> Scaling:
    """Mean and deviation of every feature, in float64: the same bits on every process.    (a,n)->(n),(n)

    `together` takes one mean and one deviation over all features: the pixels of an image share a unit, and a corner
    pixel that is lit in three images of five thousand must not be blown up to their size. A feature that is constant
    (deviation under `FLOOR` of its largest value) gets deviation inf and becomes 0 in every set: it has no
    information, and dividing by its rounding error would make noise of it.
    """
    blocks = (x[:, first : first + COLUMNS].astype(np.float64) for first in range(0, x.shape[1], COLUMNS))
    mean, deviation = map(np.concatenate, zip(*map(_moments, blocks)))
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
