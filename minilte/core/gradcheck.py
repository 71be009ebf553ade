"""Is a backward pass the derivative of its forward? Ask with a random upstream gradient.

With dy all ones, or a loss linear in the output, a check cannot see permuted rows or a row mean in the place of a
row; with a random dy it can.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minilte.core import tree
from minilte.core.random import stream
from minilte.core.types import Array, Tree

FLOOR = 1e-3  # gradients smaller than this are compared on this scale
CENTRAL = 1e-3  # step of the five-point difference: its truncation h^4 f'''''/30 is about 1e-13, its rounding too
COMPLEX = 1e-30  # step of the complex derivative: no difference is taken, so it may be this small


def gradient_error(
    f: Callable,
    f_back: Callable,
    args: Sequence[Tree],
    seed: int = 0,
    method: str = "central",
    frozen: Sequence[int] = (),
) -> float:
    """The worst |g - g'| / max(|g|, |g'|, 1e-3) over all floating-point numbers in `args`.

    g is what f_back(dy, cache) says, in argument order, for a random dy; g' is the derivative of sum(dy * y) by
    five-point central differences (`method` "central", for arguments away from kinks), or by complex step
    ("complex", for functions of NumPy's analytic operations: no rounding error to speak of; Squire & Trapp 1998).
    `frozen` lists the arguments that have no gradient; any other floating-point array must have one. Arguments may be
    trees; use float64. A gradient that is NaN, or missing, is an infinite error.
    """
    args = tuple(args)
    y, cache = f(*args)
    dy = stream(seed, "check").standard_normal(np.shape(y))
    dy = dy if np.ndim(y) else float(dy)
    grads = f_back(dy, cache)
    grads = grads if type(grads) is tuple else (grads,)
    derive = {"central": central, "complex": complex_step}[method]
    errors = [0.0]
    for i in set(range(len(args))) - set(frozen):
        given = dict(tree.named(grads[i]))
        for path in (path for path, leaf in tree.named(args[i]) if is_float(leaf)):
            g_true = derive(f, args, i, path, dy)
            g = given.get(path, np.full_like(g_true, np.nan))
            scale = np.maximum(np.maximum(abs(g), abs(g_true)), FLOOR)
            errors += [float(np.max(abs(g - g_true) / scale, initial=0.0))]
    return max(float("inf") if np.isnan(error) else error for error in errors)


def central(f: Callable, args: tuple, i: int, path: str, dy: Array) -> Array:
    """d sum(dy * y) / d(one array) by the five-point rule (8 f(h) - 8 f(-h) - f(2h) + f(-2h)) / 12 h."""

    def slope(leaf, place):
        def at(step):
            moved = leaf.copy()
            moved[place] += step * CENTRAL
            return f(*with_leaf(args, i, path, moved))[0]

        # outputs first, their sum last: rounding of outputs that do not move cancels exactly
        return np.sum(dy * (8 * (at(1) - at(-1)) - (at(2) - at(-2)))) / (12 * CENTRAL)

    return over_places(args, i, path, slope)


def complex_step(f: Callable, args: tuple, i: int, path: str, dy: Array) -> Array:
    """d sum(dy * y) / d(one array) as Im f(x + ih) / h."""
    args = tree.map(lambda leaf: leaf.astype(complex) if is_float(leaf) else leaf, args)

    def slope(leaf, place):
        moved = leaf.copy()
        moved[place] += 1j * COMPLEX
        return np.sum(dy * np.imag(f(*with_leaf(args, i, path, moved))[0])) / COMPLEX

    return over_places(args, i, path, slope)


def is_float(leaf) -> bool:
    """Is it an array of floating-point numbers?"""
    return isinstance(leaf, np.ndarray) and np.issubdtype(leaf.dtype, np.floating)


def over_places(args: tuple, i: int, path: str, slope: Callable) -> Array:
    """slope(leaf, place) at every place of the array that stands at `path` of argument i."""
    leaf = dict(tree.named(args[i]))[path]
    out = np.empty(leaf.shape)
    for place in np.ndindex(leaf.shape):
        out[place] = slope(leaf, place)
    return out


def with_leaf(args: tuple, i: int, path: str, new: Array) -> tuple:
    """The arguments with one array of one of them exchanged."""
    paths = iter([name for name, _ in tree.named(args[i])])
    changed = tree.map(lambda leaf: new if next(paths) == path else leaf, args[i])
    return (*args[:i], changed, *args[i + 1 :])
