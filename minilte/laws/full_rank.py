"""Merging after every step recovers full-rank training, exactly and in the mean (law L4)."""

import numpy as np
from hypothesis import strategies as st

from minilte.core import lora
from minilte.core.lora import Plan
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear
from minilte.cost.traffic import slices
from minilte.laws import oracle
from minilte.laws.law import law
from minilte.laws.strategies import SMOOTH, cases, heads, networks
from minilte.laws.world import STEPS, Case, World, apart, build, run, uneven, weights_along, worst

C, K = 0.5, 0.1  # c of the first layer, and w_n s_n^2 there; both grow from layer to layer, and stay below 2


def basis_plan(case: Case, world: World, w: list[float]) -> Plan:
    """Heads whose A_n are together c times an orthonormal basis of R^n in every layer; c and w_n s_n^2 differ by layer."""
    N, weights = case.heads, world.task.weights
    rows = {name: slices(layer.W.shape[1], N) for name, layer in weights.items()}  # of A_n

    def draw(n, step):
        drawn = {}
        for i, (name, layer) in enumerate(weights.items()):
            basis = lora.semi_orthogonal(stream(case.seed, "check", i), layer.W.shape[1], layer.W.shape[1])
            A = (C + i / 4) * basis[sum(rows[name][:n]) : sum(rows[name][: n + 1])]
            drawn[name] = Adapter(A, np.zeros((len(layer.W), len(A))))
        return drawn

    ranks = tuple({name: rows[name][n] for name in weights} for n in range(N))
    scales = tuple({name: np.sqrt((K + i / 10) / w_n) for i, name in enumerate(weights)} for w_n in w)
    return Plan(ranks, scales, lambda n: draw(n, 0), draw)


@law(
    "L4",
    "Full-rank recovery",
    "B = 0, reset B with momentum kept, T = 1, SGD, no decay, same batch, w_n s_n^2 = k for all heads, the A_n together c times an orthonormal basis: every merged step is full-rank SGD with rate eta k c^2 (eta s^2 c^2 / N with equal shares), at any depth",
    lambda: cases(
        ranks=st.integers(1, 3).map(lambda N: (1,) * N),
        widths=networks(3, 6),
        data="same",
        decay=0.0,
        activation=SMOOTH,
        optimizer=st.sampled_from(["sgd", "momentum", "nesterov"]),
    ),
    1e-9,
    STEPS,
)
def full_rank(case, variant):
    """From B = 0 a step makes B_n = -eta s_n G A_n^T and leaves A_n (its gradient holds a factor B). The merge adds
    -eta G sum_n w_n s_n^2 A_n^T A_n = -eta k c^2 G. Momentum is linear in the gradients and is kept. Biases are trained
    at eta."""
    case = case._replace(every=1, reset="b", reset_optimizer=False)
    world, w = build(case), uneven(case.heads)
    method = World(case, world.task, basis_plan(case, world, w)).method(variant, w=w)
    by = [(K + i / 10) * (C + i / 4) ** 2 for i in range(len(world.task.weights))]
    return apart(weights_along(method, case.heads, case.steps), dense_path(case, world, by))


def dense_path(case: Case, world: World, by: list[float]):
    """Full-rank SGD of the case, written out, with eta times by[i] for the matrix of layer i; yields the weights."""
    weights, task = dict(world.task.weights), world.task
    mu = 0.0 if case.optimizer == "sgd" else 0.9
    bufs = {}
    yield weights
    for step in range(case.steps):
        layers = [tuple(layer) for layer in weights.values()]
        _, grads = oracle.gradients(layers, case.activation, *task.batch(0, step))
        for i, (name, grad) in enumerate(zip(list(weights), grads)):
            new = []
            for k, (value, g) in enumerate(zip(weights[name], grad)):
                bufs[name, k] = mu * bufs.get((name, k), 0) + g
                move = g + mu * bufs[name, k] if case.optimizer == "nesterov" else bufs[name, k]
                new.append(None if value is None else value - task.rate(step) * (by[i] if k == 0 else 1.0) * move)
            weights = weights | {name: Linear(*new)}
        yield weights


@law(
    "L4-mean",
    "Full-rank recovery in the mean",
    "B = 0, T = 1, SGD, same batch, rows a of A drawn with E a a^T = (c^2 / n) I: a merged step is full-rank SGD with rate eta s^2 c^2 r / n in the mean",
    lambda: cases(
        ranks=heads(3, 2), widths=networks(3, 5, 2), optimizer="sgd", decay=0.0, data="same", activation=SMOOTH
    ),
    1e-9,
    STEPS + "; the mean is taken exactly, over all n draws of a row from c times an orthonormal basis",
)
def full_rank_in_mean(case, variant):
    """By L4's algebra a step is -(eta s^2 / N) G sum_n A_n^T A_n, and E A_n^T A_n = (r c^2 / n) I. A row that is c times a
    uniformly drawn vector of an orthonormal basis has that E a a^T; so has a Gaussian row."""
    case = case._replace(every=1, reset="ab", steps=1)
    world = build(case)
    _, grads = oracle.gradients(
        [tuple(layer) for layer in world.task.weights.values()], case.activation, *world.task.batch(0, 0)
    )  # fmt: skip
    errors = []
    for (name, layer), (G, _) in zip(world.task.weights.items(), grads):
        n, mean = layer.W.shape[1], 0.0
        for draw in range(n):
            plan = world.plan._replace(draw=lambda k, step, draw=draw: rows_of_basis(case, world, k, draw))
            end = run(World(case, world.task, plan).method(variant), case.heads, 1)[-1].main.weights
            mean = mean + (end[name].W - layer.W) / n
        each = [world.plan.scales[k][name] ** 2 * min(r, *layer.W.shape) for k, r in enumerate(case.ranks)]
        errors.append(apart([0 * G, mean], [0 * G, -world.task.rate(0) * np.mean(each) * C**2 / n * G]))
    return worst(errors)


def rows_of_basis(case: Case, world: World, head: int, draw: int) -> dict:
    """Adapters whose rows are c times the vectors draw, draw + 1, … of an orthonormal basis drawn for the head."""
    drawn = {}
    for i, (name, pair) in enumerate(world.plan.draw(head, 0).items()):
        r, n = pair.A.shape
        basis = lora.semi_orthogonal(stream(case.seed, "check", i, head), n, n)
        drawn[name] = pair._replace(A=C * basis[(draw + np.arange(r)) % n])
    return drawn
