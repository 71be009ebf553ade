"""Trees as vectors of bytes: what a transport carries, and how its bytes are counted."""

from collections.abc import Iterable, Sequence

import numpy as np

from minilte.core import tree
from minilte.core.types import Array, Tree


def as_bytes(array: Array) -> Array:
    """The array's memory as a uint8 vector (a view, where it is contiguous)."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def cat(parts: Iterable[Array]) -> Array:
    """The parts one after the other as bytes; no parts make an empty vector."""
    parts = [as_bytes(part) for part in parts]
    return np.concatenate(parts) if parts else np.empty(0, np.uint8)


def cut(flat: Array, sizes: Sequence[int]) -> list[Array]:
    """A vector in pieces of these sizes (views)."""
    return np.split(flat, np.cumsum(sizes, dtype=int)[:-1])


def leaves_as(like: Tree, given: Tree) -> list[Array]:
    """The leaves of a tree in the order of its template. Raises ValueError where the two do not fit."""
    found = dict(tree.named(given))
    if found.keys() != (paths := dict(tree.named(like))).keys():
        odd = ", ".join(sorted(found.keys() ^ paths.keys()))
        raise ValueError(f"what is sent has {len(found)} arrays, its template {len(paths)}; not in both: {odd:.200}")
    for path, template in paths.items():
        if ((leaf := found[path]).shape, leaf.dtype) != (template.shape, template.dtype):
            raise ValueError(
                f"what is sent has {leaf.dtype}{leaf.shape} as {path or 'its array'} where its template has"
                f" {template.dtype}{template.shape}"
            )
    return [found[path] for path in paths]


def filled(flat: Array, like: Tree) -> Tree:
    """The tree whose leaves lie one after the other in a vector of bytes; shapes and dtypes come from `like`.

    The leaves are views into `flat`.
    """
    pieces = iter(cut(flat, [tree.nbytes(leaf) for leaf in tree.leaves(like)]))
    return tree.map(lambda leaf: next(pieces).view(leaf.dtype).reshape(leaf.shape), like)


def kinds(tree_: Tree) -> dict[str, int]:
    """Bytes by kind: the names at the top of a tree that travels."""
    return {name: tree.nbytes(part) for name, part in tree.children(tree_)}


def spans(tree_: Tree) -> dict[str, range]:
    """Where the numbers of each kind lie when all leaves are one vector."""
    ends, found = 0, {}
    for name, part in tree.children(tree_):
        found[name] = range(ends, ends := ends + tree.size(part))
    return found


def leaf_dtype(trees: Tree) -> np.dtype:
    """The one dtype of all leaves; float32 for a tree without any."""
    found = {leaf.dtype for leaf in tree.leaves(trees)} or {np.dtype(np.float32)}
    assert len(found) == 1, f"a tree that is summed has one dtype, got {found}"
    return found.pop()


def payload(sent: dict[str, int]) -> int:
    """All bytes that were counted, without headers."""
    return sum(size for kind, size in sent.items() if kind != "headers")
