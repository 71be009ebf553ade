"""Trees: arrays nested in NamedTuples, tuples and dicts, with None where there is nothing.

>>> list(named({"layer2": (5, None), "layer1": 7}))  # in order of insertion, so equal trees come in equal order
[('layer2.0', 5), ('layer1', 7)]
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from minilte.core.types import Array, Tree


def children(tree: Tree) -> Iterator[tuple[str, Tree]]:
    """(key, subtree) of one level: field names, dict keys, or positions."""
    if isinstance(tree, dict):
        yield from tree.items()
    elif hasattr(tree, "_fields"):
        yield from zip(tree._fields, tree)
    else:
        yield from ((str(i), sub) for i, sub in enumerate(tree))


def map(f: Callable, tree: Tree, *rest: Tree) -> Tree:
    """f over the leaves of `tree` and the leaves at the same places of `rest`; None stays None."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {key: map(f, sub, *(other[key] for other in rest)) for key, sub in tree.items()}
    if isinstance(tree, (tuple, list)):
        subs = [map(f, *level) for level in zip(tree, *rest, strict=True)]
        return type(tree)(*subs) if hasattr(tree, "_fields") else type(tree)(subs)
    return f(tree, *rest)


def named(tree: Tree, path: str = "") -> Iterator[tuple[str, Array]]:
    """(dotted path, leaf) of every leaf, in order."""
    if tree is None:
        return
    if not isinstance(tree, (dict, tuple, list)):
        yield path, tree
        return
    for key, sub in children(tree):
        yield from named(sub, f"{path}.{key}" if path else key)


def leaves(tree: Tree) -> list[Array]:
    """All leaves, in order."""
    return [leaf for _, leaf in named(tree)]


def size(tree: Tree) -> int:
    """How many numbers the tree holds."""
    return sum(math.prod(np.shape(leaf)) for leaf in leaves(tree))


def nbytes(tree: Tree) -> int:
    """How many bytes its numbers take, or would take: also of a template."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves(tree))


def zeros(tree: Tree) -> Tree:
    """A tree of zeros in the same shapes and dtypes."""
    return map(np.zeros_like, tree)


def blank(tree: Tree) -> Tree:
    """A tree of the same shapes and dtypes that takes no memory: a template of what is to come."""
    return map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), tree)
