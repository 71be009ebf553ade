"""The border that data cross, whatever they came as: the arrays of a file, lists, a caller's own arrays.

Inside it there are rows of numbers, and for each row a label or a row of targets. What is not plainly that is refused,
naming where it stands.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.data.dataset import Dataset, Scaling, finite, hold_out, in_scale, validated
from minilte.data.labels import MOST_CLASSES, classes_in, listed, names_of, numbered, plain, whole
from minilte.disk.files import brief, reason

FIFTH = 5  # one row in so many is held out to test where there is no test set


def array(value: Any, where: str) -> Array:
    """The value as an array of numbers, or of words. Raises BadInput."""
    if isinstance(value, np.ndarray) and hasattr(value, "mask"):  # importing numpy.ma to ask costs 1 MB
        raise BadInput(f"{where}: a masked array, expected a number in every place: fill the gaps or drop their rows")
    try:
        made = np.asarray(value)
    except Exception as trouble:  # rows of unequal length, or whatever an object raises that claims to be an array
        raise BadInput(f"{where}: no array ({reason(trouble):.80}), expected rows of one length") from trouble
    if made.dtype.kind not in "biufU":
        raise BadInput(
            f"{where} has dtype {made.dtype.name}, expected numbers (or words as labels): convert it first"
        )
    return made


def inputs(value: Any, where: str) -> Array:
    """Samples as rows of numbers, further axes in one.    (a,…)->(a,d)    Raises BadInput."""
    x = np.atleast_1d(array(value, where))
    if x.dtype.kind == "U":
        raise BadInput(f"{where} holds words, expected numbers: encode them first")
    return x.reshape(len(x), math.prod(x.shape[1:]))  # -1 is refused by NumPy where there are no rows


def targets(value: Any, where: str) -> Array:
    """Labels (a,), int64 or words, of what is whole or text and (a,) or (a, 1); else floats (a, k). Raises BadInput."""
    y = array(value, where)
    if y.dtype.kind == "f":
        if y.ndim not in (1, 2):
            raise BadInput(f"{where} has shape {y.shape}, expected (rows,) or (rows, outputs)")
        return y[:, None] if y.ndim == 1 else y
    if y.ndim != 1 and (y.ndim, y.shape[-1:]) != (2, (1,)):
        advice = "one label a row (of one-hot rows the argmax), or floats"
        raise BadInput(f"{where} has {y.dtype.name} of shape {y.shape}, expected {advice}")
    return y.ravel() if y.dtype.kind == "U" else whole(y.ravel(), lambda i: f"{where}[{i}]")


def labels(value: Any, classes: Sequence, where: str) -> Array:
    """The outputs that stand for the labels of samples, each of them one of `classes`.    (a)->(a)    Raises BadInput."""
    y = array(value, where)
    y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    if y.dtype.kind == "f" or y.ndim != 1:
        raise BadInput(
            f"{where} is {y.dtype} of shape {y.shape}, expected a label for each row, of {listed(classes)}; of one-hot"
            " rows and of scores that is the argmax"
        )
    return numbered(y, classes, lambda i: f"{where}[{i}]")


def values(value: Any, width: int, dtype: np.dtype, where: str) -> Array:
    """The targets of a regression for samples, as rows in `dtype`.    (a,m)->(a,m)    Raises BadInput."""
    y = array(value, where)
    y = y[:, None] if y.ndim == 1 and width == 1 else y
    if y.dtype.kind == "U" or y.ndim != 2 or y.shape[1] != width:
        raise BadInput(f"{where} is {y.dtype} of shape {y.shape}, expected rows of {width} numbers")
    return number(y, dtype, where)


def number(x: Array, dtype: np.dtype, where: str, scaling: Scaling | None = None) -> Array:
    """Finite numbers in `dtype`, scaled, of a size that it can square. Raises BadInput, naming the place."""
    finite(x, where)
    with np.errstate(over="ignore", invalid="ignore"):  # the checks below report it
        x = scaling.apply(x, dtype) if scaling else x.astype(dtype)
    if x.size:
        finite(x, f"{where} in {np.dtype(dtype)}")
        in_scale(x, f"{where} in {np.dtype(dtype)}")
    return x


def assembled(
    name: str,
    where: str,
    seed: int,
    train: tuple[Array, Array],
    test: tuple[Array, Array] | None = None,
    place: Callable[[str, int], str] | None = None,
    classes: int | None = None,
    remedy: str = "",
    **more,
) -> Dataset:
    """The dataset of what a file holds, labels numbered; without a test set a fifth of the rows is held out.

    `place("train", i)` names the i-th target. The labels are those of all training rows, so the draw cannot hide a class;
    or 0 to `classes` - 1. Raises BadInput, also where all targets, or all rows, are the same: then there is nothing to
    learn, and mostly a column was taken for what it is not.
    """
    (x, y), place = train, place or (lambda split, i: f"{where}: y_{split}[{i}]")
    for same, what in ((y, f"every target is {brief(y.ravel()[0].item())}"), (x, "every row is the same")):
        if len(same) > 1 and (same == same[0]).all():
            raise BadInput(f"{where}: {what}, so there is nothing to learn{remedy}")
    if test and (test[1].ndim != y.ndim or (test[1].dtype.kind == "U") != (y.dtype.kind == "U")):
        raise BadInput(f"{where}: y_train and y_test, expected labels in both or floats in both")
    data = Dataset(x, y, *(test or train), None, name, **more)
    if y.ndim == 1:
        data = _labelled(data, tuple(range(classes)) if classes else classes_in(y), place)
    return _split(data, where, seed, test is None)


def _labelled(data: Dataset, names: tuple, place: Callable[[str, int], str]) -> Dataset:
    """The dataset with the outputs that stand for its labels in their place."""
    y_train = numbered(data.y_train, names, lambda i: place("train", i))
    y_test = numbered(data.y_test, names, lambda i: place("test", i))
    data = data._replace(y_train=y_train, y_test=y_test, classes=max(2, len(names)))
    if plain(names):
        return data
    words = f"{data.name}: labels {listed(names)} are outputs 0 to {len(names) - 1}"
    return data._replace(labels=names, said=(*data.said, words))


def _split(data: Dataset, where: str, seed: int, split: bool) -> Dataset:
    """The dataset, checked; with `split` a fifth of its rows (at least 1) is the test set."""
    rows = len(validated(data, where).x_train)
    if not split:
        return data
    if rows < 2:
        raise BadInput(f"{where}: 1 row, expected at least 2: one to train on and one held out to test")
    return hold_out(data, "test", max(1, rows // FIFTH), seed)


FIELDS = {  # of a caller's dataset, beside its arrays -> what is expected, and its check
    "classes": (f"a number of 2 to {MOST_CLASSES}, or None", lambda of: of.classes is None or _count(of.classes)),
    "y_valid": ("None without x_valid", lambda of: of.x_valid is not None or of.y_valid is None),
    "name": ("text", lambda of: isinstance(of.name, str)),
    "labels": (
        "a tuple, of a different label for each class, or ()",
        lambda of: isinstance(of.labels, tuple) and (not of.labels or names_of(of.labels, of.classes)),
    ),
    "scale": (
        "'', 'columns' or 'together'",
        lambda of: isinstance(of.scale, str) and of.scale in ("", "columns", "together"),
    ),
    "said": (
        "a tuple of sentences",
        lambda of: isinstance(of.said, tuple) and all(isinstance(w, str) for w in of.said),
    ),
}


def _count(classes: Any) -> bool:
    """Is it a number of classes, and no bool?"""
    return isinstance(classes, (int, np.integer)) and 2 <= classes <= MOST_CLASSES


def admitted(data: Dataset) -> Dataset:
    """A dataset from wherever it comes, its arrays those that the loaders make. Raises BadInput."""
    for field, (words, fits) in FIELDS.items():
        if not fits(data):
            raise BadInput(f"data: {field} is {brief(getattr(data, field))}, expected {words}")
    classes = data.classes and int(data.classes)
    arrays: dict[str, Array] = {}
    for split in data.splits:
        x, y = f"x_{split}", f"y_{split}"
        arrays |= {x: inputs(getattr(data, x), f"data: {x}"), y: _own(getattr(data, y), classes, f"data: {y}")}
    made = data._replace(classes=classes, **arrays)
    _check_scaling(data.scaling, made.inputs)
    return validated(made, "data")


def _own(value: Any, classes: int | None, where: str) -> Array:
    """The targets of a caller's dataset, which says itself whether they are labels."""
    if classes is not None:
        return labels(value, range(classes), where)
    y = array(value, where)
    if y.dtype.kind == "U" or (y.dtype.kind != "f" and y.ndim != 2):
        raise BadInput(f"{where} is {y.dtype}{list(y.shape)}, expected floats; for labels give the dataset classes")
    return y if y.dtype.kind != "f" else targets(y, where)


def _check_scaling(scaling: Scaling | None, width: int) -> None:
    if scaling is not None and not (
        isinstance(scaling, Scaling)
        and all(getattr(each, "shape", None) == (width,) and each.dtype == np.float64 for each in scaling)
        and not any(np.isnan(each).any() for each in scaling)
    ):
        raise BadInput(
            f"data: scaling is {brief(scaling)}, expected Scaling(mean, deviation) of {width} float64 each"
        )
