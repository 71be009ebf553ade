"""Tables with a target, from .npz or CSV: whole numbers as targets are class labels, others a regression.

Without a test set, a fifth of the rows (at least 1) is held out, drawn by the seed.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Array
from minilte.data.cells import read_cells
from minilte.data.dataset import Dataset, checked
from minilte.data.npz import arrays
from minilte.disk.files import shown

MOST_CLASSES = 2**16  # a larger label is an amount or an identifier; it would ask for as many outputs
KEYS = ({"x", "y"}, {"x_train", "y_train"}, {"x_train", "y_train", "x_test", "y_test"})


def read_npz(path: str, seed: int = 0) -> Dataset:
    """The dataset in the arrays x and y, or x_train and y_train and perhaps x_test and y_test.

    Further axes of x are flattened to (n, d). Integer y of shape (n,) or (n, 1) are labels, float y of shape
    (n,) or (n, k) targets. Raises BadInput naming the file and the array.
    """
    found = arrays(path, KEYS)

    def pair(split):
        return _flat(found[f"x{split}"]), _targets(found[f"y{split}"], f"{shown(path)}: y{split}")

    train = pair("_train" if "x_train" in found else "")
    return _dataset(path, seed, train, pair("_test") if "x_test" in found else None)


def read_csv(path: str, seed: int = 0) -> Dataset:
    """The dataset in a CSV file (see `read_cells`): all targets whole numbers, labels; none, a regression.

    Raises BadInput naming the file and line, also where whole and other targets are mixed.
    """
    cells = read_cells(path)

    def place(i):
        return f"{shown(path)} line {cells.lines[i]}"

    if cells.whole.all():
        return _dataset(path, seed, (cells.x, labels(cells.y, place)))
    if cells.whole.any():
        odd = np.argmin(cells.whole)
        raise BadInput(
            f"{place(odd)}: target {cells.y[odd]} is no whole number, that of line"
            f" {cells.lines[np.argmax(cells.whole)]} is: expected whole numbers for classes,"
            " or a decimal point in every target for a regression"
        )
    return _dataset(path, seed, (cells.x, cells.y[:, None]))


def labels(y: Array, place: Callable[[int], str]) -> Array:
    """Whole numbers (n,) as int64 class labels. Raises BadInput out of range; `place(i)` names the i-th."""
    bad = np.flatnonzero((y < 0) | (y >= MOST_CLASSES))
    if bad.size:
        raise BadInput(
            f"{place(bad[0])}: label {y[bad[0]]:.0f}, expected 0 to {MOST_CLASSES - 1};"
            " for a regression write every target with a decimal point (npz: as floats)"
        )
    return y.astype(np.int64)


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1) if x.ndim else x.reshape(1, 1)


def _targets(y: Array, where: str) -> Array:
    """int64 labels (n,) of integers, or floats (n, k)."""
    single = y.ndim == 2 and y.shape[1] == 1
    if y.dtype.kind in "biu":
        if y.ndim != 1 and not single:
            raise BadInput(f"{where} has integers of shape {y.shape}, expected one label a row, or floats")
        return labels(y.ravel(), lambda i: f"{where}[{i}]")
    if y.ndim not in (1, 2):
        raise BadInput(f"{where} has shape {y.shape}, expected (rows,) or (rows, outputs)")
    return y.reshape(len(y), -1)


def _dataset(path: str, seed: int, train: tuple[Array, Array], test: tuple[Array, Array] | None = None) -> Dataset:
    """A checked dataset; classes are counted before rows are held out, so the draw cannot hide a class."""
    if test and test[1].ndim != train[1].ndim:
        raise BadInput(f"{shown(path)}: y_train and y_test, expected integers in both or floats in both")
    classes = max(2, int(train[1].max()) + 1) if train[1].ndim == 1 else None
    data = checked(Dataset(*train, *(test or train), classes, Path(path).stem), shown(path))
    return data if test else _hold_out(data, seed, shown(path))


def _hold_out(data: Dataset, seed: int, where: str) -> Dataset:
    """The training set split in two, rows in their old order."""
    rows = len(data.x_train)
    if rows < 2:
        raise BadInput(f"{where}: 1 row, expected at least 2: one to train on and one held out to test")
    order = stream(seed, "split").permutation(rows)
    test, train = (np.sort(places) for places in np.split(order, [max(1, rows // 5)]))
    return data._replace(
        x_train=data.x_train[train], y_train=data.y_train[train], x_test=data.x_train[test], y_test=data.y_train[test]
    )
