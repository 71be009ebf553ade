"""Laws about single steps: what a gradient step does to factors, and which changes of gauge leave it alone."""

import numpy as np
from hypothesis import strategies as st

from minilte.core import layers, lora, lte, tree
from minilte.core.errors import BadInput
from minilte.core.lora import product
from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.laws.law import law
from minilte.laws.optimizers import frozen_A, rates
from minilte.laws.strategies import SMOOTH, cases, heads
from minilte.laws.world import STEPS, Case, World, build, gap, moved_plan, optimizer, run, same_path, worst
from minilte.methods.mhlora import mhlora

PRODUCTS = "rounding of a few dozen products of numbers of size 1 to 100"


def one_layer(case: Case):
    """x (b,n), W (m,n), dy (b,m), s and an adapter for a layer on its own, and the dense gradient G = dy^T x."""
    normal = stream(case.seed, "check").standard_normal
    m, n, r, b = case.widths[1], case.widths[0], case.ranks[0], case.samples
    x, W, dy, pair = normal((b, n)), normal((m, n)), normal((b, m)), Adapter(normal((r, n)), normal((m, r)))
    return x, W, dy, case.alpha / r, pair, dy.T @ x


def sgd_step(case: Case, pair: Adapter, eta: float):
    """The adapter after one plain SGD step with upstream gradient dy, and the gradient of the adapter."""
    x, W, dy, s, _, _ = one_layer(case)
    _, cache = layers.lora(x, W, None, s, pair, None)
    grad = layers.lora_back(dy, cache)[4]
    return Adapter(pair.A - eta * grad.A, pair.B - eta * grad.B), grad


@law(
    "L7",
    "A cannot move while B is zero",
    "B = 0 makes the gradient of A zero, A = 0 that of B; A = B = 0 is refused",
    lambda: cases(),
    0.0,
    "exact: a product with zeros is zero",
)
def zero_B(case, variant):
    """dA = s (dy B)^T x holds a factor B, dB = s dy^T (x A^T) a factor A; so with both zero nothing ever moves."""
    x, W, dy, s, pair, _ = one_layer(case)
    gradient = lambda pair: layers.lora_back(dy, layers.lora(x, W, None, s, pair, None)[1])[4]  # noqa: E731
    dead = gradient(Adapter(0 * pair.A, 0 * pair.B))
    moves = [gradient(pair._replace(B=0 * pair.B)).A, gradient(pair._replace(A=0 * pair.A)).B, *dead]
    world = build(case)
    zero = world.plan._replace(draw=lambda n, step: tree.zeros(world.plan.draw(n, step)))
    starts = (lambda: lte.lte(world.task, zero).enter(0), lambda: mhlora(world.task, zero))
    return worst(
        [*(float(np.abs(move).max()) for move in moves), *(0.0 if refused(start) else np.inf for start in starts)]
    )


def refused(start) -> bool:
    """Does it raise BadInput?"""
    try:
        start()
    except BadInput:
        return True
    return False


@law(
    "L8",
    "Effective step",
    "one SGD step moves s B A by -eta s^2 (B B^T G + G A^T A) + eta^2 s^3 G A^T B^T G",
    lambda: cases(),
    1e-11,
    PRODUCTS,
)
def effective_step(case, variant):
    """(B - eta s G A^T)(A - eta s B^T G), multiplied out, less B A, times s. The paper's draft differs in a sign and
    in a power of s."""
    _, _, _, s, (A, B), G = one_layer(case)
    new, _ = sgd_step(case, Adapter(A, B), eta := 0.1)
    moved = s * (product(new) - B @ A)
    expected = -eta * s**2 * (B @ B.T @ G + G @ A.T @ A) + eta**2 * s**3 * G @ A.T @ B.T @ G
    return gap([moved], [expected])


def drafts_step(case: Case) -> float:
    """The other side of L8: with the draft's sign and power the formula misses. Returns how far."""
    _, _, _, s, (A, B), G = one_layer(case)
    new, _ = sgd_step(case, Adapter(A, B), eta := 0.1)
    wrong = -eta * s**2 * (B @ B.T @ G + G @ A.T @ A) - eta**2 * s**2 * G @ A.T @ B.T @ G
    return gap([s * (product(new) - B @ A)], [wrong])


@law(
    "L9",
    "Decoupled decay",
    "with zero gradient decoupled decay shrinks B A by (1 - eta lambda)^2 a step: W goes to W_0, replicas to 0",
    lambda: cases(optimizer="adamw", decay=0.1, reset="none", reset_optimizer=False, bias=True),
    1e-11,
    PRODUCTS,
)
def decay(case, variant):
    """Both factors shrink by 1 - eta lambda, and by L1 W - W_0 is the sum of their products."""
    world = build(case)
    plan = moved_plan(world.plan, case.seed)
    start = {name: layer._replace(c=layer.c + 1) for name, layer in world.task.weights.items()}
    task = world.task._replace(weights=start, shards=(0.0,) * case.heads)  # an empty shard has a zero gradient
    end = run(World(case, task, plan).method(variant, reduction="batch"), case.heads, case.steps)[-1].main.weights
    kept = np.prod([1 - task.rate(step) * case.decay for step in range(case.steps)])
    errors = []
    for name, layer in start.items():
        low = sum(plan.scales[n][name] * product(plan.draw(n, 0)[name]) for n in range(case.heads)) / case.heads
        errors += [gap([end[name].W], [layer.W + kept**2 * low]), gap([end[name].c], [kept * layer.c])]
    return worst(errors)


@law(
    "L14",
    "With A frozen a reset of B changes nothing",
    "A frozen, no decay, optimizer state kept: reset B = reset-less, for any T",
    lambda: cases(decay=0.0, reset_optimizer=False, activation=SMOOTH, reset="none"),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def reset_with_frozen_A(case, variant):
    """A head sees s (B - B') A, which depends on the difference of the B's alone, and dB holds no B at all; decay would,
    and is left out. So the B's differ by a constant, and all else is equal."""
    world = build(case)
    task = world.task._replace(optimizer=frozen_A(world.task.optimizer))
    a, b = (World(case._replace(reset=how), task, world.plan).method(variant) for how in ("none", "b"))
    return same_path(a, b, case.heads, case.steps)


def regauged(case: Case, k: float, kind: str, variant) -> float:
    """Gap between a run and the same run in another gauge (L17): "A" moves k between s and A, "all" into every rate."""
    adam = case.optimizer == "adamw"
    world = build(case)
    world = world._replace(task=world.task._replace(optimizer=optimizer(case.optimizer, 0.0, 1e-300)))
    of_A, of_B, s_by, A_by = {
        "A": (k if adam else k * k, 1.0, 1 / k, k),
        "all": (1 / k if adam else 1 / k**2, 1 / k if adam else 1 / k**2, k * k, 1 / k),
        "unscaled": (1 / k**2, 1 / k**2, k, 1.0),
    }[kind]

    def draw(n, step):
        return {name: pair._replace(A=A_by * pair.A) for name, pair in world.plan.draw(n, step).items()}

    scales = tuple({name: s_by * s for name, s in head.items()} for head in world.plan.scales)
    other = World(
        case,
        world.task._replace(optimizer=rates(world.task.optimizer, of_A, of_B)),
        world.plan._replace(scales=scales, draw=draw),
    )
    return same_path(world.method(variant), other.method(variant), case.heads, case.steps)


GAUGE = dict(decay=0.0, reset="none", reset_optimizer=False, activation=SMOOTH, ranks=heads(3))


@law(
    "L17",
    "Gauge",
    "with B_0 = 0 and no decay, (s/k, kA, k^2 eta_A) at the same eta_B and (k^2 s, A/k, eta/k^2) take the same path with SGD; with Adam (eps to 0) k eta_A and eta/k",
    lambda: cases(**GAUGE, bias=False, optimizer=st.sampled_from(["sgd", "momentum", "adamw"])),
    1e-8,
    STEPS + "; Adam without eps divides by roots of any size",
)
def gauge(case, variant):
    """s B A is the same in both, and every gradient scales so that the moves do: dB by 1, dA by 1/k; and both by k."""
    return worst([regauged(case, k, kind, variant) for kind in ("A", "all") for k in (0.7, 3.0)])


@law(
    "L18",
    "Balance, and rotations",
    "one plain SGD step changes B^T B - A A^T by exactly eta^2 (dB^T dB - dA dA^T); (B Q^T, Q A) follows the same W",
    lambda: cases(),
    1e-11,
    PRODUCTS,
)
def balance(case, variant):
    """dB^T B = s A G^T B is the transpose of dA A^T = s B^T G A^T, so the terms of first order cancel. Q drops out of
    B A, and of every gradient but for the rotation itself."""
    _, _, _, _, (A, B), _ = one_layer(case)
    new, grad = sgd_step(case, Adapter(A, B), eta := 0.1)
    before, after = B.T @ B - A @ A.T, new.B.T @ new.B - new.A @ new.A.T
    Q = lora.semi_orthogonal(stream(case.seed, "check", 1), len(A), len(A))
    turned, _ = sgd_step(case, Adapter(Q @ A, B @ Q.T), eta)
    return worst(
        [
            gap([after - before], [eta**2 * (grad.B.T @ grad.B - grad.A @ grad.A.T)]),
            gap([product(turned)], [product(new)]),
        ]
    )
