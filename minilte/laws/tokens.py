"""Laws about tokens: attention and its symmetries, and how an image becomes tokens."""

import numpy as np
from hypothesis import strategies as st

from minilte.core.pairs import attention, patches
from minilte.core.random import stream
from minilte.laws.law import EXACT, law
from minilte.laws.strategies import seeds, sizes
from minilte.laws.world import gap

ROUNDING = "rounding of sums over a few tokens"
TOKENS = st.tuples(sizes, sizes, sizes, st.integers(1, 3), seeds)  # b, t, d of an attention head, their number, seed


def tokens(case):
    """Q, K and V side by side.    ->(b,t,3n)"""
    b, t, d, heads, seed = case
    return stream(seed, "check").standard_normal((b, t, 3 * heads * d))


def attended(case, x):
    """Attention with the heads of the case.    (b,t,3n)->(b,t,n)"""
    return attention(case[3]).f(x)[0]


@law(
    "attention",
    "Attention, token by token",
    "in every attention head a token is sum_j p_j v_j, with p_j proportional to exp(q k_j / sqrt d)",
    lambda: TOKENS,
    1e-12,
    ROUNDING,
)
def attention_is_its_definition(case, variant):
    """The definition, sample by sample, head by head and token by token."""
    b, t, d, heads, _ = case
    x = tokens(case)
    got, Q, K, V = attended(case, x), *np.split(x, 3, axis=-1)
    expected = np.empty(Q.shape)
    for i, k, n in np.ndindex(b, t, heads):
        own = slice(n * d, (n + 1) * d)
        p = [np.exp(Q[i, k, own] @ key / np.sqrt(d)) for key in K[i, :, own]]
        expected[i, k, own] = sum(p_j * v_j for p_j, v_j in zip(p, V[i, :, own])) / sum(p)
    return gap(got, expected)


@law(
    "attention-order",
    "Attention sees a set",
    "attention of permuted tokens is attention, permuted",
    lambda: TOKENS,
    1e-12,
    ROUNDING,
)
def attention_sees_a_set(case, variant):
    """A token's output is a sum over all tokens; only the order of its terms changes."""
    x, order = tokens(case), stream(case[-1], "check", 1).permutation(case[1])
    return gap(attended(case, x[:, order]), attended(case, x)[:, order])


@law(
    "attention-mean",
    "Attention to equal keys",
    "where all keys are equal, attention is the mean of the values, whatever the queries",
    lambda: TOKENS,
    1e-12,
    ROUNDING,
)
def equal_keys(case, variant):
    """All q k_j of a query are equal, so every p_j is 1 / t."""
    x, n = tokens(case), case[2] * case[3]
    x[..., n : 2 * n] = x[:, :1, n : 2 * n]
    mean = x[..., 2 * n :].mean(axis=1, keepdims=True)
    return gap(attended(case, x), np.broadcast_to(mean, (*x.shape[:2], n)))


@law(
    "patches",
    "Patches move pixels",
    "a patch as large as the image is the image; a number of a patch is the pixel it came from; backward puts every number back",
    lambda: st.tuples(sizes, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), seeds),
    0.0,
    EXACT,
)
def patches_move_pixels(case, variant):
    """Patches only move numbers; the patch of row i and column j holds the pixels from (i size, j size) on."""
    b, rows, columns, size, channels, seed = case
    height, width = rows * size, columns * size
    x = stream(seed, "check").standard_normal((b, height * width * channels))
    pair, whole = patches(height, width, size), patches(size, size, size)
    image, square = x.reshape(b, height, width, channels), x[:, : size * size * channels]
    got = pair.f(x)[0]
    expected = [
        image[:, i : i + size, j : j + size].reshape(b, -1)
        for i in range(0, height, size)
        for j in range(0, width, size)
    ]
    same = (
        np.array_equal(whole.f(square)[0], square[:, None]),
        np.array_equal(got, np.stack(expected, axis=1)),
        np.array_equal(pair.f_back(got, None), x),
    )
    return float(not all(same))
