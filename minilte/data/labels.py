"""Labels as a file has them, 3, 5, 9 or cat, dog, and the outputs of a network that stand for them, 0 to K - 1."""

from collections.abc import Callable, Sequence

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.disk.files import brief

MOST_CLASSES = 2**16  # a larger label is an amount or an identifier, and no class


def classes_in(y: Array) -> tuple:
    """The different labels, in order: output k stands for the k-th."""
    return tuple(np.unique(y).tolist())


def numbered(y: Array, classes: Sequence, place: Callable[[int], str]) -> Array:
    """The output that stands for each label.    (a,)->(a,)

    Raises BadInput for a label that is none of `classes`; `place(i)` names the i-th.
    """
    known = np.asarray(classes)
    alike = (y.dtype.kind == "U") == (known.dtype.kind == "U")
    order = np.argsort(known)  # a caller's classes are in any order
    at = np.zeros(y.shape, int)
    if alike:
        at = order[np.minimum(np.searchsorted(known, y, sorter=order), len(known) - 1)]
    good = known[at] == y if alike else np.zeros(y.shape, bool)
    if not good.all():
        first = int(np.argmin(good))
        raise BadInput(f"{place(first)}: label {brief(y[first].item())}, expected {listed(classes)}")
    return at.astype(np.int64)


def whole(y: Array, place: Callable[[int], str]) -> Array:
    """Whole numbers as int64 labels.    (a,)->(a,)    Raises BadInput out of range; `place(i)` names the i-th.

    -1 and 1 alone are the two sides of a choice; beside others, -1 often stands for a row without a label.
    """
    bad = np.flatnonzero(((y < 0) | (y >= MOST_CLASSES)) & ~np.isin(y, (-1, 1)).all())
    if bad.size:
        raise BadInput(
            f"{place(bad[0])}: label {y[bad[0]]:.0f}, expected 0 to {MOST_CLASSES - 1};"
            " for a regression write every target with a decimal point (npz: as floats)"
        )
    return y.astype(np.int64)


def plain(classes: Sequence) -> bool:
    """Is every label the number of its output?"""
    return tuple(classes) == tuple(range(len(classes)))


def names_of(names: Sequence, classes: int | None) -> bool:
    """Are these different labels for so many classes, all words or all whole numbers?"""
    kinds = set(map(type, names))
    return kinds in ({int}, {str}) and len(names) == len(set(names)) == classes


def listed(classes: Sequence) -> str:
    """The labels in a few words: "0 to 9", or "'cat', 'dog'"."""
    if len(classes) > 1 and classes[0] != "" and tuple(classes) == _counted(classes):
        return f"{classes[0]} to {classes[-1]}"
    some = ", ".join(brief(label) for label in classes[:8])
    return some if len(classes) <= 8 else f"{some}, … ({len(classes)} labels)"


def _counted(classes: Sequence) -> tuple | None:
    """The whole numbers from the first label on, as many as there are labels; None for words."""
    return tuple(range(classes[0], classes[0] + len(classes))) if type(classes[0]) is int else None
