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
    trees; use float64. A gradient that is NaN, missing, or of another shape is an infinite error.
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
        for path, leaf in tree.named(args[i]):
            if is_float(leaf):
                g_true = np.array([derive(f, args, i, path, place, dy) for place in np.ndindex(leaf.shape)])
                g = np.asarray(given.get(path, np.nan))
                g = g.ravel() if g.shape == leaf.shape else np.full(leaf.size, np.nan)
                scale = np.maximum(np.maximum(abs(g), abs(g_true)), FLOOR)
                errors.append(float(np.max(abs(g - g_true) / scale, initial=0.0)))
    return max(float("inf") if np.isnan(error) else error for error in errors)


def central(f: Callable, args: tuple, i: int, path: str, place: tuple, dy: Array) -> float:
    """d sum(dy * y) / d(one number) by the five-point rule (8 f(h) - 8 f(-h) - f(2h) + f(-2h)) / 12 h."""
    at = lambda steps: f(*moved(args, i, path, place, steps * CENTRAL))[0]  # noqa: E731
    # outputs first, their sum last: rounding of outputs that do not move cancels exactly
    return np.sum(dy * (8 * (at(1) - at(-1)) - (at(2) - at(-2)))) / (12 * CENTRAL)


def complex_step(f: Callable, args: tuple, i: int, path: str, place: tuple, dy: Array) -> float:
    """d sum(dy * y) / d(one number) as Im f(x + ih) / h."""
    args = tree.map(lambda leaf: leaf.astype(complex) if is_float(leaf) else leaf, args)
    return np.sum(dy * np.imag(f(*moved(args, i, path, place, 1j * COMPLEX))[0])) / COMPLEX


def is_float(leaf) -> bool:
    """Is it an array of floating-point numbers?"""
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"


def moved(args: tuple, i: int, path: str, place: tuple, step: complex) -> tuple:
    """The arguments with a step added to one number of the array at `path` of argument i."""
    paths = iter([name for name, _ in tree.named(args[i])])

    def add(leaf):
        if next(paths) == path:
            leaf = leaf.copy()
            leaf[place] += step
        return leaf

    return (*args[:i], tree.map(add, args[i]), *args[i + 1 :])
