"""Tables with a target, from .npz or CSV: whole numbers and words as targets are class labels, others a regression.

Without a test set, a fifth of the rows (at least 1) is held out, drawn by the seed.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.data.border import assembled, inputs, targets
from minilte.data.cells import read_cells
from minilte.data.dataset import Dataset
from minilte.data.labels import whole
from minilte.data.npz import arrays
from minilte.disk.files import shown

KEYS = ({"x", "y"}, {"x_train", "y_train"}, {"x_train", "y_train", "x_test", "y_test"})
NAMES = {  # what other programs call x and y
    "x": ("x", "images", "data", "features", "inputs"),
    "y": ("y", "labels", "label", "targets", "target"),
}
ROLES = {name: letter for letter, names in NAMES.items() for name in names}


def role(name: str) -> str:
    """The name by which an array is known here: "train_images" and "X_train" are x_train."""
    words = name.lower().split("_")
    splits = [word for word in words if word in ("train", "test")]
    rest = "_".join(word for word in words if word not in splits)
    return "_".join([ROLES.get(rest, name), *splits]) if rest in ROLES else name


def read_npz(path: str, seed: int = 0) -> Dataset:
    """The dataset in the arrays x and y, or x_train and y_train and perhaps x_test and y_test; see `role`.

    Where a sample has several axes it is an image, and all are standardised together. y of whole numbers or words, of
    shape (n,) or (n, 1), are labels; floats (n,) or (n, k) are targets. Raises BadInput naming file and array.
    """
    found = arrays(path, KEYS, role)

    def pair(split: str) -> tuple[Array, Array]:
        x, y = f"x{split}", f"y{split}"
        return inputs(found[x], f"{shown(path)}: {x}"), targets(found[y], f"{shown(path)}: {y}")

    first = "_train" if "x_train" in found else ""
    test = pair("_test") if "x_test" in found else None
    name, shape = Path(path).stem, found[f"x{first}"].shape[1:]
    how = {"scale": "columns", "said": (f"{name}: inputs are standardised column by column",)}
    if len(shape) > 1:
        size = " x ".join(map(str, shape))
        how = {"scale": "together", "said": (f"{name}: samples are images of {size}, standardised together",)}
    place = lambda split, i: f"{shown(path)}: y{f'_{split}' if first else ''}[{i}]"  # noqa: E731
    return assembled(name, shown(path), seed, pair(first), test, place, **how)


def read_csv(path: str, seed: int = 0, target: str = "") -> Dataset:
    """The dataset in a CSV file (see `read_cells`): all targets whole numbers or words, labels; none, a regression.

    Raises BadInput naming the file and line, also where whole and other targets are mixed.
    """
    cells, name = read_cells(path, target), Path(path).stem
    how = {"scale": "columns", "said": (f"{name}: {cells.said}; inputs are standardised column by column",)}

    remedy = "; where that is the wrong column, name the right one with --target"

    def place(i: int) -> str:
        return f"{shown(path)} line {cells.lines[i]}"

    y = cells.y
    if cells.whole.all():
        y = whole(y, place)
    elif y.dtype.kind == "f":
        refuse_mixed(cells.whole, y, place)
        y = y[:, None]
    return assembled(name, shown(path), seed, (cells.x, y), place=lambda split, i: place(i), remedy=remedy, **how)


def refuse_mixed(whole: Array, y: Array, place: Callable[[int], str]) -> None:
    """Raises BadInput where some targets are whole numbers and some are not."""
    if whole.any():
        odd = np.argmin(whole)
        raise BadInput(
            f"{place(odd)}: target {y[odd]} is no whole number, that of line"
            f" {place(np.argmax(whole)).rsplit(' ', 1)[1]} is: expected whole numbers for classes,"
            " or a decimal point in every target for a regression"
        )
