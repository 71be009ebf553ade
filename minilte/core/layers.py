"""Layers with weights, by hand: `f` returns (y, cache), `f_back(dy, cache)` stands right below and returns the gradients in
argument order. Rows are samples; any leading axes are allowed, so (b, tokens, n) works like (b, n). `wrt_x=False`
leaves out dx, which the first layer of a network has no use for.
"""

import numpy as np

from minilte.core.types import Adapter, Array


def rows(x: Array) -> Array:
    """x with its leading axes folded into one: (…, n) -> (b, n)."""
    return x.reshape(-1, x.shape[-1])


def linear(x: Array, W: Array, c: Array | None):
    """y = x W^T + c.    (b,n),(m,n),(m)->(b,m)"""
    y = x @ W.T
    if c is not None:
        y += c
    return y, (x, W, c)


def linear_back(dy: Array, cache, wrt_x: bool = True):
    """dx, dW, dc."""
    x, W, c = cache
    # forward: y = x W^T + c
    dx = dy @ W if wrt_x else None
    dW = rows(dy).T @ rows(x)
    dc = None if c is None else rows(dy).sum(axis=0)
    return dx, dW, dc


def lora(x: Array, W: Array, c: Array | None, s: float, now: Adapter, then: Adapter | None, y: Array | None = None):
    """A layer as one head computes it: y = x (W + s (B A - V))^T + c, never forming an m x n matrix.

    Shapes: (b,n),(m,n),(m),(),((r,n),(m,r)),((r,n),(m,r))->(b,m). `then` holds V = B' A' as factors; None is V = 0.
    The difference is taken between factors, B A - B' A' = [B - B', B'] [A; A - A'], not between two products:
    near a merge those almost cancel, and right after one this form gives exactly zero (law L10), so that the first
    step of a round needs no adapter term in y or dx. `y` is x W^T where someone has it already; it is added to.
    """
    if then is None:
        moved = now
    else:
        moved = None if unmoved(now, then) else change(now, then)
    h = x @ (moved or now).A.T  # (b, r) or (b, 2r); the first r columns are x A^T
    y = x @ W.T if y is None else y
    if moved:
        y += (s * h) @ moved.B.T
    if c is not None:
        y += c
    return y, (x, h, W, c, s, now, moved)


def lora_back(dy: Array, cache, wrt_x: bool = True, dx: Array | None = None):
    """dx, None (W is frozen), dc, None (s), Adapter(dA, dB), None (V is a constant). `dx` is dy W where it is at hand."""
    x, h, W, c, s, now, moved = cache
    r = len(now.A)
    u = s * (dy @ (moved or now).B)  # (b, r) or (b, 2r)
    # forward: y = x W^T + c + s (x A^T) B^T - s (x A'^T) B'^T
    if wrt_x and dx is None:
        dx = dy @ W
    if wrt_x and moved:
        dx += u @ moved.A
    dB = s * (rows(dy).T @ rows(h)[:, :r])
    # forward: the columns of [B - B', B'] add up to B, so s dy B is the sum of both halves of u
    dA = rows(u if u.shape[-1] == r else u[..., :r] + u[..., r:]).T @ rows(x)
    dc = None if c is None else rows(dy).sum(axis=0)
    return dx, None, dc, None, Adapter(dA, dB), None


def unmoved(now: Adapter, then: Adapter) -> bool:
    """Are the factors those of the last merge? Then their change is zero and need not be multiplied out."""
    return now is then or (np.array_equal(now.B, then.B) and np.array_equal(now.A, then.A))


def change(now: Adapter, then: Adapter) -> Adapter:
    """B A - B' A' as one adapter of rank 2r: [B - B', B'] [A; A - A'], free of cancellation."""
    A = np.concatenate([now.A, now.A - then.A])
    B = np.concatenate([now.B - then.B, then.B], axis=1)
    return Adapter(A, B)


def layer_norm(x: Array, g: Array | None = None, c: Array | None = None, eps: float = 1e-5):
    """y = g (x - mean) / sqrt(var + eps) + c over the last axis; without affine, g = 1 and c = 0.

    Shapes: (b,n),(n),(n)->(b,n). The variance is mean((x - mean)^2), written out so that complex step can see it.
    """
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + eps)  # (b, 1)
    z = centred * scale
    y = z if g is None else g * z
    return (y if c is None else y + c), (z, scale, g, c)


def layer_norm_back(dy: Array, cache, wrt_x: bool = True):
    """dx, dg, dc (None where the forward had none)."""
    z, scale, g, c = cache
    # forward: y = g z + c
    dg = None if g is None else rows(dy * z).sum(axis=0)
    dc = None if c is None else rows(dy).sum(axis=0)
    dz = dy if g is None else dy * g
    # forward: z = (x - mean) scale; what is parallel to 1 and to z cannot move z
    mean = dz.mean(axis=-1, keepdims=True)
    along = np.mean(dz * z, axis=-1, keepdims=True)
    dx = (dz - mean - z * along) * scale if wrt_x else None
    return dx, dg, dc
