"""Pairs without weights: activations, attention, the ways tokens are arranged, losses.

As in `layers`, `f` returns (y, cache) and `f_back(dy, cache)`, right below, the gradient by its input. Rows are
samples; images are rows too, and tokens stand in the axis before the last: (b, t, n).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.core.types import Array


class Pair(NamedTuple):
    """A step of a network that has no weights: f(x) -> (y, cache) and f_back(dy, cache) -> dx."""

    f: Callable
    f_back: Callable


def relu(x: Array):
    """y = max(x, 0).    (b,n)->(b,n)"""
    return np.maximum(x, 0), x > 0


def relu_back(dy: Array, positive: Array):
    """dx."""
    return dy * positive


def tanh(x: Array):
    """y = tanh x.    (b,n)->(b,n)"""
    y = np.tanh(x)
    return y, y


def tanh_back(dy: Array, y: Array):
    """dx, from tanh' = 1 - tanh^2."""
    return dy * (1 - y * y)


def gelu(x: Array):
    """y = x Phi(x), Phi the standard normal distribution function (Hendrycks & Gimpel 2016).    (b,n)->(b,n)"""
    from scipy.special import erf  # imported where used: it costs more than numpy itself

    phi = (1 + erf(x * math.sqrt(0.5))) / 2
    return x * phi, (x, phi)


def gelu_back(dy: Array, cache):
    """dx, from Phi' = exp(-x^2/2) / sqrt(2 pi)."""
    x, phi = cache
    # forward: y = x Phi(x)
    return dy * (phi + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


GELU_SLOPE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


def gelu_tanh(x: Array):
    """y = x/2 (1 + tanh(a (x + k x^3))), a = sqrt(2/pi), k = 0.044715: the tanh form of gelu.    (b,n)->(b,n)"""
    t = np.tanh(GELU_SLOPE * (x + GELU_CUBE * x * x * x))
    return x * (1 + t) / 2, (x, t)


def gelu_tanh_back(dy: Array, cache):
    """dx."""
    x, t = cache
    # forward: t = tanh(a (x + k x^3)), y = x (1 + t) / 2
    dt = (1 - t * t) * GELU_SLOPE * (1 + 3 * GELU_CUBE * x * x)
    return dy * ((1 + t) + x * dt) / 2


ACTIVATIONS = {
    "relu": Pair(relu, relu_back),
    "gelu": Pair(gelu, gelu_back),
    "gelu-tanh": Pair(gelu_tanh, gelu_tanh_back),
    "tanh": Pair(tanh, tanh_back),
}


def attend(Q: Array, K: Array, V: Array):
    """Y = P V, P = softmax(Q K^T / sqrt d), row by row.    (…,t,d),(…,t,d),(…,t,d)->(…,t,d)

    Source: Vaswani et al. 2017, equation 1.
    """
    S = Q @ K.swapaxes(-1, -2) / math.sqrt(Q.shape[-1])  # (…, t, t)
    P = np.exp(S - S.real.max(axis=-1, keepdims=True))
    P /= P.sum(axis=-1, keepdims=True)
    return P @ V, (Q, K, V, P)


def attend_back(dY: Array, cache):
    """dQ, dK, dV."""
    Q, K, V, P = cache
    # forward: Y = P V
    dV, dP = P.swapaxes(-1, -2) @ dY, dY @ V.swapaxes(-1, -2)
    # forward: P = softmax(S): a row of P sums to one, so what is common to a row of dP moves nothing
    dS = P * (dP - (dP * P).sum(axis=-1, keepdims=True)) / math.sqrt(Q.shape[-1])
    # forward: S = Q K^T / sqrt d
    return dS @ K, dS.swapaxes(-1, -2) @ Q, dV


def attention(heads: int) -> Pair:
    """Multi-head attention between its linear layers: x holds Q, K, V side by side.    (b,t,3n)->(b,t,n)

    Each of the attention heads has n / heads of the columns to itself, and sqrt d = sqrt(n / heads) as its scale.
    """

    def f(x):
        QKV = x.reshape(*x.shape[:-1], 3, heads, -1).transpose(2, 0, 3, 1, 4)  # (3, b, heads, t, d)
        Y, cache = attend(*QKV)
        return Y.swapaxes(1, 2).reshape(*x.shape[:-1], -1), cache

    def f_back(dy, cache):
        dY = dy.reshape(*dy.shape[:-1], heads, -1).swapaxes(1, 2)  # (b, heads, t, d)
        dQKV = np.stack(attend_back(dY, cache))
        return dQKV.transpose(1, 3, 0, 2, 4).reshape(*dy.shape[:-1], -1)

    return Pair(f, f_back)


def patches(height: int, width: int, size: int) -> Pair:
    """Rows of pixels as tokens: squares of size x size, from left to right and from top to bottom.

    Shapes: (b,hwc)->(b,t,size^2 c), t = hw / size^2. It only moves numbers, so its backward moves them back.
    """
    rows, columns = height // size, width // size

    def f(x):
        squares = x.reshape(len(x), rows, size, columns, size, -1).swapaxes(2, 3)
        return squares.reshape(len(x), rows * columns, -1), None

    def f_back(dy, _):
        squares = dy.reshape(len(dy), rows, columns, size, size, -1).swapaxes(2, 3)
        return squares.reshape(len(dy), -1)

    return Pair(f, f_back)


# y = x^T, sample by sample: what mixes features then mixes tokens (Tolstikhin et al. 2021).    (b,t,n)->(b,n,t)
transpose = Pair(lambda x: (x.swapaxes(-1, -2), None), lambda dy, _: dy.swapaxes(-1, -2))


# y = mean of the tokens; every token has its part of dy.    (b,t,n)->(b,n)
mean_of_tokens = Pair(
    lambda x: (x.mean(axis=-2), x.shape[-2]), lambda dy, t: np.repeat(dy[..., None, :], t, axis=-2) / t
)


def cross_entropy(z: Array, labels: Array, smoothing: float = 0.0):
    """Mean over samples of -sum_k t_k log softmax(z)_k, t = (1 - smoothing) onehot(label) + smoothing / K.

    Shapes: (b,k),(b)->(). Labels are integers 0 … K-1.
    """
    shape = z.shape
    z, labels = z.reshape(-1, shape[-1]), labels.reshape(-1)
    shifted = z - z.real.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    picked = log_p[np.arange(len(labels)), labels]
    loss = -((1 - smoothing) * picked + smoothing * log_p.mean(axis=-1)).mean()
    return loss, (log_p, labels, smoothing, shape)


def cross_entropy_back(dloss: float, cache):
    """dz, from d(-log p)/dz = p - t."""
    log_p, labels, smoothing, shape = cache
    b, k = log_p.shape
    dz = np.exp(log_p)
    # forward: t = (1 - smoothing) onehot + smoothing / K
    dz -= smoothing / k
    dz[np.arange(b), labels] -= 1 - smoothing
    dz *= dloss / b
    return dz.reshape(shape)


def squared_error(y: Array, target: Array):
    """Mean over samples of |y - target|^2, summed over outputs.    (b,m),(b,m)->()

    The sum over outputs (not their mean) is what the floor of law L6 is stated in.
    """
    e = y - target
    return (e * e).sum(axis=-1).mean(), e


def squared_error_back(dloss: float, e: Array):
    """dy."""
    # forward: loss = sum e^2 / b
    return e * (2 * dloss / (e.size // e.shape[-1]))


LOSSES = {
    "cross-entropy": Pair(cross_entropy, cross_entropy_back),
    "squared-error": Pair(squared_error, squared_error_back),
}
