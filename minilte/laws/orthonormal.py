"""Steps that see a subspace, and neither its basis nor the scale of a loss; of full rank they are those of Muon (laws L23 to L25)."""

import numpy as np
from hypothesis import strategies as st

from minilte.core import tree
from minilte.core.optim import Optimizer
from minilte.core.random import stream
from minilte.laws.basis import BETA, based, basis_of, dense_path, method, steps_by, unequal
from minilte.laws.law import law
from minilte.laws.strategies import SMOOTH, cases, networks
from minilte.laws.world import STEPS, apart, build, same_path, weights_along
from minilte.methods.bases import Basis, keyed
from minilte.optimizers.polar import quintic

MODES = [dict(averaged=True), dict(averaged=False), dict(averaged=True, moved=True)]  # of the momentum
POLARS = (
    STEPS
    + "; the exact polar factor multiplies it by largest / least of the singular values that it keeps, up to 1e7"
)


def by_svd(X: np.ndarray) -> np.ndarray:
    """U V^T over the singular values above 1e-7 of the largest: the exact polar factor without a Gram matrix."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    known = s > 1e-7 * s[0]
    return U[:, known] @ Vt[known]


FACTORS = {"quintic": quintic, "exact": by_svd}


@law(
    "L23",
    "The subspace, not its basis",
    "orthonormalised steps (quintic, or exact with a relative cut-off): Q -> R Q with R orthogonal gives the same W, at any T, whatever becomes of the momentum",
    lambda: st.tuples(based(samples=st.integers(3, 4)), st.sampled_from(MODES), st.sampled_from(list(FACTORS))),
    1e-8,
    POLARS,
)
def any_basis(drawn, variant):
    """polar(X R^T) = polar(X) R^T for orthogonal R. So the momentum M R^T and the factor B R^T of the turned basis follow those of
    the other, and B R^T R Q = B Q. Adam's steps, entry by entry, do not have this."""
    (case, side, keep), mode, name = drawn
    world = unequal(build(case))
    basis = basis_of(case, world.task, side, keep)

    def turned(number, period, shape):
        R = stream(case.seed, "noise", number, period).standard_normal((shape[1], shape[1]))
        return keyed(case.seed, number, period, shape) @ np.linalg.qr(R)[0]  # QR of it spans the same rows

    steps = steps_by(FACTORS[name])
    plain, other = (method(world, basis, steps, normal, **mode) for normal in (None, turned))
    return same_path(other, plain, case.heads, case.steps)


@law(
    "L24",
    "No scale of the loss",
    "orthonormalised steps: the loss times c > 0 gives the same W (no clipping; without replicas, whose optimizer may see it)",
    lambda: st.tuples(
        based(bias=False, samples=st.integers(3, 4)),
        st.sampled_from([1e-3, 0.5, 7.0, 1e4]),
        st.sampled_from(list(FACTORS)),
    ),
    1e-8,
    POLARS,
)
def any_scale(drawn, variant):
    """Gradients and momentum are c times as large, and polar(c X) = polar(X)."""
    (case, side, keep), c, name = drawn
    world = unequal(build(case))
    basis, steps = basis_of(case, world.task, side, keep), steps_by(FACTORS[name])
    louder = Optimizer(
        steps.init,
        lambda params, grads, state, lr: steps.update(params, tree.map(lambda g: c * g, grads), state, lr),
    )
    plain, other = (method(world, basis, each) for each in (steps, louder))
    return same_path(other, plain, case.heads, case.steps)


@law(
    "L25",
    "Full-rank orthonormalised momentum",
    "r = n <= m on side b, or r = m <= n on side a; same batch, T = 1, one period or the momentum moved: a merged step is W <- W - eta polar(G + beta M), M <- beta M + G",
    lambda: st.tuples(
        cases(activation=SMOOTH, decay=0.0, data="same", widths=networks(2, 5), samples=st.integers(3, 4)),
        st.sampled_from(["a", "b"]),
        st.booleans(),
        st.sampled_from(list(FACTORS)),
    ),
    1e-8,
    POLARS,
)
def full_rank_steps(drawn, variant):
    """With r = n, Q is orthogonal: polar(X Q^T) Q = polar(X), and M Q^T is the momentum in the basis; moved to another,
    M Q^T Q Q_new^T = M Q_new^T. Heads with the same batch take the same step, and shares sum to 1."""
    case, side, moved, name = drawn
    case = case._replace(every=1, widths=tuple(sorted(case.widths, reverse=side == "a")))
    world = build(case)
    ranks = {name: min(layer.W.shape) for name, layer in world.task.weights.items()}
    basis = Basis(ranks, 1, 1 if moved else case.steps + 1, side, case.seed)

    def move(period, layer, G, memory):
        memory["M"] = BETA * memory.get("M", 0) + G
        return FACTORS[name](G + BETA * memory["M"])

    made = method(world, basis, steps_by(FACTORS[name]), moved=moved)
    return apart(weights_along(made, case.heads, case.steps), dense_path(case, world, basis, move))
