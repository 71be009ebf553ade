"""Measures of learning: ranks of W_t - W_0, alignment of the heads, noise of their gradients.

Every measure is a plain number, or {"undefined": reason}. No number of the run depends on a measure.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minilte.core import networks, tree
from minilte.core.errors import BadInput
from minilte.core.types import Adapters, Array, Task, Weights
from minilte.measure.alignment import angles, column_space, cosine, over_pairs
from minilte.measure.noise import noise_scale
from minilte.measure.ranks import effective, singular_values, stable

LARGEST = 2048  # min(m, n) of a matrix whose singular values are taken: some seconds on one core
ALIGNMENT = ("cosine", "grassmann")
RANKS = {"rank": len, "stable_rank": stable, "effective_rank": effective}  # of singular values


def measures(task: Task, weights: Weights, heads: Sequence[Adapters] | None, names: Sequence[str], step: int) -> dict:
    """All measures of a run at a step, ready for JSON: {"step", "layers": {name: {...}}, "noise_scale"}.

    `weights` are the dense main weights now. `heads` are the factors of every head as they were merged, or None where
    they are not kept. Each layer of `names` has

        rank, stable_rank, effective_rank   of W_t - W_0, as far as it stands out of the rounding of W
        sigma_1, sigma_2, sigma_4, …        its singular values at these indices, as far as there are any
        cosine, grassmann                   means over the ordered pairs of heads, from their factors

    A positive scale turns no direction, so s_n drops out of both. Independent heads, as random r-dimensional
    subspaces of R^m, lie at a Grassmann distance of 4.105 for r = 8 at m = 384, and 4.274 at m = 1536;
    at r = m there is one subspace only, and every distance is 0.
    """
    layers = {
        name: change_ranks(name, task.weights[name].W, weights[name].W, step) | alignment(name, heads)
        for name in names
    }
    return {"step": step, "layers": layers, "noise_scale": known(gradient_noise, task, weights, step)}


def known(f: Callable, *given):
    """f(*given), or why it has no value."""
    try:
        return f(*given)
    except BadInput as reason:
        return {"undefined": str(reason)}


def change_ranks(name: str, W_0: Array, W: Array, step: int) -> dict:
    """Rank, stable rank and effective rank of W - W_0, and some of the singular values."""
    sigma = known(change_spectrum, name, W_0, W, step)
    if isinstance(sigma, dict):
        return ranks(sigma)
    return ranks(sigma) | {f"sigma_{2**k}": float(sigma[2**k - 1]) for k in range(len(sigma).bit_length())}


def ranks(sigma: Array | dict) -> dict:
    """The ranks of a matrix with these singular values, or why they have none."""
    return {measure: sigma if isinstance(sigma, dict) else f(sigma) for measure, f in RANKS.items()}


def change_spectrum(name: str, W_0: Array, W: Array, step: int) -> Array:
    """The singular values of W - W_0 above the rounding of W, largest first.

    A merge rounds W by eps |W|_F at most; merges, at most `step`, add up as a random walk.
    Raises BadInput where nothing is above it, or the matrix is too large.
    """
    if min(W.shape) > LARGEST:
        m, n = W.shape
        raise BadInput(f"{name} is {m} x {n}: singular values are taken up to min(m, n) = {LARGEST}")
    sigma = singular_values(np.subtract(W, W_0, dtype=np.float64))
    rounding = np.finfo(W.dtype).eps * np.sqrt(step) * (np.linalg.norm(W_0) + np.linalg.norm(W))
    if not sigma[0] > rounding:
        raise BadInput(f"{name}: W - W_0 is not above the rounding of W, {rounding:.2g}; there is nothing to measure")
    return sigma[sigma > rounding]


def alignment(name: str, heads: Sequence[Adapters] | None) -> dict:
    """The mean cosine and the mean Grassmann distance over the ordered pairs of a layer's adapters."""
    if heads is None:
        return dict.fromkeys(ALIGNMENT, {"undefined": "the factors of the heads are not at hand"})
    pairs = tree.map(lambda factor: factor.astype(np.float64), [head[name] for head in heads])
    return {
        "cosine": known(over_pairs, cosine, pairs),
        "grassmann": known(lambda: over_pairs(angles, [column_space(pair) for pair in pairs])),  # one QR a head
    }


def gradient_noise(task: Task, weights: Weights, step: int) -> float:
    """The noise scale, in samples, from the dense gradients of the heads' own batches at the main weights.

    Every parameter of the network counts, adapted or not. Raises BadInput where all heads have the same batch.
    """
    first, *others = batches = [task.batch(n, step) for n in range(len(task.shards))]
    if others and all(all(map(np.array_equal, first, batch)) for batch in others):
        raise BadInput("noise scale: expected a batch of its own for each head; all have the same batch")
    gradients = (networks.loss_and_grads(task.net, weights, x, y)[1] for x, y in batches)
    return noise_scale(gradients, [len(x) for x, _ in batches])
