"""A basis that all heads share: merges by a sum, projected descent, steps that see the subspace alone (laws L21, L22, L26, L27)."""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from minilte.core import optim, tree
from minilte.core.method import Method
from minilte.core.optim import Optimizer
from minilte.core.types import Linear, Task, Weights
from minilte.laws import oracle
from minilte.laws.law import law
from minilte.laws.strategies import SMOOTH, cases
from minilte.laws.world import (
    ROUNDING,
    STEPS,
    Case,
    World,
    apart,
    build,
    matrices,
    run,
    weights_along,
    whole,
    worst,
)
from minilte.methods.bases import Bases, Basis
from minilte.methods.on_bases import shared_basis
from minilte.optimizers.orthonormal import orthonormal
from minilte.optimizers.polar import exact, quintic
from minilte.steps.adamw import adamw

BETA, REST = 0.9, 0.5  # momentum of the factors; rate of the replicas over theirs
LARGEST = {"exact": (exact, 1.0), "quintic": (quintic, 1.21)}  # polar factor -> its largest singular value


def based(**fixed):
    """(case, side, K): heads of several layers, every layer with a basis."""
    sides = st.sampled_from(["a", "b", "alternating"])
    return st.tuples(cases(**dict(activation=SMOOTH, decay=0.0) | fixed), sides, st.integers(1, 3))


def unequal(world: World) -> World:
    """The same with shards of 1, 2, … times as many rows, and heads' parts of the batch to match."""
    N, old = world.case.heads, world.task.batch

    def batch(n: int, step: int):
        return tuple(map(np.concatenate, zip(*(old(n + N * k, step) for k in range(n + 1)))))

    sizes = np.arange(1.0, N + 1)
    return world._replace(task=world.task._replace(batch=batch, shards=tuple(sizes / sizes.sum())))


def basis_of(case: Case, task: Task, side: str, keep: int) -> Basis:
    """Ranks of 1 to 3 by the seed, as far as a layer has them."""
    ranks = {name: min(1 + case.seed % 3, *layer.W.shape) for name, layer in task.weights.items()}
    return Basis(ranks, case.every, keep, side, case.seed)


def factors_step(name: str) -> Optimizer:
    """How factors step under the optimizer that the case names for a head."""
    steps = {"sgd": optim.sgd(), "momentum": steps_by(exact), "nesterov": steps_by(quintic)}
    return steps.get(name) or adamw()


def steps_by(polar: Callable) -> Optimizer:
    """Orthonormalised momentum by a polar factor."""
    return orthonormal(BETA, polar)


def method(world: World, basis: Basis, steps: Optimizer, normal=None, **more) -> Method:
    """The shared basis of a world, whose replicas step by plain SGD."""
    task = world.task._replace(optimizer=optim.sgd())
    return shared_basis(task, task.shards, Bases(basis, task.weights, normal), steps, REST, **more)


@law(
    "L21",
    "A sum merges exactly",
    "with one Q for all heads, the merge of summed factors is sum_n w_n W_n^eff, replicas too, for any T, K, side, optimizer, unequal shards",
    based,
    1e-9,
    ROUNDING + ", relative to a way of 1e-6 at least",
)
def sum_is_exact(drawn, variant):
    """sum_n w_n (W + B_n Q) = W + (sum_n w_n B_n) Q where the w_n sum to 1: both sides are linear in B_n, and Q stands outside
    the sum. On the other side alike."""
    case, side, keep = drawn
    world = unequal(build(case))
    basis = basis_of(case, world.task, side, keep)
    averaged = case.optimizer in ("momentum", "nesterov")  # the others have no momentum to send
    made = method(world, basis, factors_step(case.optimizer), averaged=averaged)
    bases, w = Bases(basis, world.task.weights), world.task.shards
    main, heads, errors = made.begin(), [made.enter(n) for n in range(case.heads)], []
    for start in range(0, case.steps, case.every):
        stop = min(start + case.every, case.steps)
        heads = [made.local(main, head, start, stop) for head in heads]
        each = [by_itself(main.weights, head, bases, basis.period(start)) for head in heads]
        mean = tree.map(lambda *leaves: sum(w_n * leaf for w_n, leaf in zip(w, leaves)), *each)
        said = tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *map(made.tell, heads))
        before, main = main, made.merge(main, said, stop, map)
        errors.append(apart([before.weights, main.weights], [before.weights, mean]))
        heads = [made.hear(main, head, stop) for head in heads]
    return worst(errors)


def by_itself(weights: Weights, head, bases: Bases, period: int) -> Weights:
    """A head's own dense weights."""
    moves = bases.product(head.factors, period)
    return {name: Linear(layer.W + moves[name], head.replica[name].c) for name, layer in weights.items()}


@law(
    "L22",
    "Projected gradient descent",
    "T = 1, plain SGD on the factor from 0, no decay, w_n the shards' sizes: W moves by -eta G Q^T Q on side b, by -eta Q^T Q G on side a, G of the whole batch, for any number of heads",
    based,
    1e-9,
    STEPS,
)
def projected_descent(drawn, variant):
    """From B = 0 a step makes B_n = -eta G_n Q^T, and sum_n w_n G_n = G where w_n are the shards' sizes. Over all Q the
    mean of Q^T Q is (r / n) I: descent at rate eta r / n in the mean. Biases move at their own rate."""
    case, side, keep = drawn
    case = case._replace(every=1)
    world = unequal(build(case))
    basis = basis_of(case, world.task, side, keep)
    bases = Bases(basis, world.task.weights)

    def move(period, name, G, memory):
        Q = bases.draw(period)[name]
        return G @ Q.T @ Q if basis.on_right(period) else Q.T @ Q @ G

    reference = dense_path(case, world, basis, move)
    return apart(weights_along(method(world, basis, optim.sgd(), averaged=False), case.heads, case.steps), reference)


def dense_path(case: Case, world: World, basis: Basis, move):
    """W <- W - eta move(period, layer, G, its memory) of the whole batch, biases by SGD; yields the weights."""
    weights, batch, memory = (
        dict(world.task.weights),
        whole(world.task, case.heads),
        {name: {} for name in world.task.weights},
    )
    yield weights
    for step in range(case.steps):
        _, grads = oracle.gradients([tuple(layer) for layer in weights.values()], case.activation, *batch(0, step))
        rate, layers = world.task.rate(step), {}
        for (name, layer), (G, dc) in zip(weights.items(), grads):
            W = layer.W - rate * move(basis.period(step), name, G, memory[name])
            layers[name] = Linear(W, None if layer.c is None else layer.c - rate * REST * dc)
        weights = layers
        yield weights


@law(
    "L26",
    "Rank by bases",
    "without decay rank(W_t - W_0) <= r times the number of bases used, for any optimizer, T, K, side",
    lambda: based(steps=st.integers(2, 6)),
    1e-9,
    ROUNDING,
)
def rank_by_bases(drawn, variant):
    """Every merge of a period adds to W a matrix whose rows (side a: columns) lie in the r directions of its basis."""
    case, side, keep = drawn
    world = unequal(build(case))
    basis = basis_of(case, world.task, side, keep)
    made = method(world, basis, factors_step(case.optimizer), averaged=False)
    start, errors = matrices(world.task.weights), []
    for done in run(made, case.heads, case.steps):
        used = 1 + basis.period(done.step - 1)
        for name, W in matrices(done.main.weights).items():
            sigma = np.linalg.svd(W - start[name], compute_uv=False)
            errors.append(float(sigma[basis.ranks[name] * used :].max(initial=0.0) / max(sigma[0], 1e-6)))
    return worst(errors)


@law(
    "L27",
    "The length of a merge",
    "orthonormalised steps without decay: a merge moves W by at most sigma_max sum of eta_t in spectral norm, sigma_max 1 for the exact polar factor, 1.21 for the quintic",
    lambda: st.tuples(based(), st.sampled_from(list(LARGEST))),
    1e-9,
    ROUNDING,
)
def length_of_a_merge(drawn, variant):
    """A step moves B_n by eta_t times a matrix whose singular values are at most sigma_max; Q has norm 1, shares are at least 0 and
    sum to 1, and norms obey the triangle inequality."""
    (case, side, keep), name = drawn
    polar, most = LARGEST[name]
    world = unequal(build(case))
    made = method(world, basis_of(case, world.task, side, keep), steps_by(polar))
    before, errors, begun = matrices(world.task.weights), [], 0
    for done in run(made, case.heads, case.steps):
        rates = sum(world.task.rate(step) for step in range(begun, done.step))
        now = matrices(done.main.weights)
        far = [np.linalg.norm(now[layer] - before[layer], 2) / (most * rates) for layer in now]
        errors.append(max(0.0, max(far) - 1))
        before, begun = now, done.step
    return worst(errors)
