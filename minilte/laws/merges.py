"""Laws about a single merge: concatenation, its memory, and the functions that it must not change."""

import tracemalloc
from collections.abc import Iterator

import numpy as np

from minilte.core import lora, tree
from minilte.core.lte import merged
from minilte.core.method import Method
from minilte.core.networks import forward
from minilte.core.types import Adapter, Head, Linear, Main, Sent
from minilte.laws.law import law
from minilte.laws.strategies import cases, heads, networks
from minilte.laws.world import (
    ROUNDING,
    Case,
    V,
    build,
    dense,
    first_head,
    gap,
    matrices,
    moved_plan,
    run,
    same_path,
    uneven,
    worst,
)
from minilte.measure.score import evaluate
from minilte.methods import mhlora


def wide(least: int):
    """Networks of 1 or 2 layers, no width below `least`."""
    return networks(least, least + 3, 2)


def merges(method: Method, case: Case) -> Iterator[tuple[Main, list[Head], Main]]:
    """The loop written out: main before a merge, the heads before it, main after it."""
    main, heads = method.begin(), [method.enter(n) for n in range(case.heads)]
    for step in range(0, case.steps, case.every):
        stop = min(step + case.every, case.steps)
        heads = [method.local(main, head, step, stop) for head in heads]
        after = method.merge(main, [method.tell(head) for head in heads], stop, map)
        yield main, heads, after
        main, heads = after, [method.hear(after, head, stop) for head in heads]


@law(
    "L5",
    "Concatenation",
    "sum_n w_n s_n B_n A_n = [w_1 s_1 B_1 …] [A_1; …], and MHLoRA(N, r) is LoRA(N r) at scale s / N",
    lambda: cases(ranks=heads(rank=2), widths=wide(6)),
    1e-10,
    ROUNDING + "; Adam divides by small roots",
)
def concatenation(case, variant):
    """Block matrices multiply block by block; gradients, elementwise optimizers and the forward pass of a block are
    those of its rows and columns, so the two trainings take the same steps."""
    case = case._replace(ranks=(case.ranks[0],) * case.heads, data="same")
    world, w = build(case), uneven(case.heads)
    pairs = [moved_plan(world.plan, case.seed).draw(n, 0)["layer1"] for n in range(case.heads)]
    scales = [w_n * (1.0 + n) for n, w_n in enumerate(w)]
    algebra = gap([lora.product(lora.stack(pairs, scales))], [sum(s * B @ A for s, (A, B) in zip(scales, pairs))])

    def side_by_side(_, step):
        drawn = [world.plan.draw(k, step) for k in range(case.heads)]
        joined = lambda name, k, axis: np.concatenate([head[name][k] for head in drawn], axis)  # noqa: E731
        return {name: Adapter(joined(name, 0, 0), joined(name, 1, 1)) for name in drawn[0]}

    scale = ({name: s / case.heads for name, s in world.plan.scales[0].items()},)
    single = first_head(world.plan)._replace(scales=scale, draw=side_by_side)
    many = mhlora.mhlora(world.task, world.plan)
    return worst([algebra, same_path(many, mhlora.lora(world.task, single), case.heads, case.steps)])


@law(
    "L5-memory",
    "A merge in O(mn) memory",
    "merging N heads allocates at most 2 m n numbers beside the factors, whatever N",
    lambda: cases(widths=(200, 200), ranks=heads(8, 1).filter(lambda ranks: len(ranks) > 5)),
    2.0,
    "the product, into which W is added in place, is m n numbers; a matrix a head would be 6 m n or more",
)
def memory_of_a_merge(case, variant):
    """The factors are stacked before they are multiplied: one m x n product, not N."""
    world, rule = build(case), variant.rule
    factors = [world.plan.draw(n, 0) for n in range(case.heads)]
    sent, w = [Sent(each, {}) for each in factors], [1 / case.heads] * case.heads
    tracemalloc.start()
    try:
        rule.merge(rule.init(world.task.weights), world.task.weights, sent, factors, world.plan.scales, w, map)
        return tracemalloc.get_traced_memory()[1] / (8 * case.widths[0] * case.widths[1])
    finally:
        tracemalloc.stop()


@law(
    "L10",
    "A merge keeps the function of a single head",
    "N = 1: the head's outputs before a merge are the main weights' after it",
    lambda: cases(ranks=heads(1)),
    1e-12,
    ROUNDING,
)
def a_single_head_is_kept(case, variant):
    """W + s (B A - V) is both the head's weight and the merged weight; a single replica is its own mean."""
    world, x = build(case), build(case).task.batch(0, case.steps)[0]
    outputs = lambda params: forward(world.task.net, params, x)[0]  # noqa: E731
    return worst(
        [
            gap(outputs(after.weights), outputs(world.eyes(main, head)))
            for main, (head,), after in merges(world.method(variant), case)
        ]
    )


@law(
    "L10-all",
    "After a merge all heads agree",
    "right after a merge every head computes exactly the main function, replicas too",
    lambda: cases(),
    0.0,
    "exact: a difference of equal factors is zero, and a product with zero adds nothing",
)
def all_heads_agree(case, variant):
    """B A - V is formed as [B - B', B'] [A; A - A']; after a merge B = B' and A = A', so the sum is exactly zero. After
    a reset B is zero."""
    world, x = build(case), build(case).task.batch(0, case.steps)[0]
    last = run(world.method(variant), case.heads, case.steps)[-1]
    outputs = lambda params: forward(world.task.net, params, x)[0]  # noqa: E731
    main = outputs(last.main.weights)
    return worst([gap(outputs(world.eyes(last.main, head)), main) for head in last.heads])


@law(
    "L13",
    "The merged weight is the heads' mean",
    "with shares that sum to one the merged W is sum_n w_n W_n^eff; so with shares of at least 0 a convex loss of one layer is at most the mean of the heads'",
    lambda: cases(widths=wide(2).map(lambda widths: widths[:2])),
    1e-11,
    ROUNDING,
)
def mean_of_heads(case, variant):
    """W + sum w_n s_n (B_n A_n - V_n) = sum w_n (W + s_n (B_n A_n - V_n)) when the w_n sum to one; Jensen does the rest."""
    world, w, errors = build(case), uneven(case.heads), []
    x, y = world.task.batch(0, case.steps)
    loss = lambda weights: evaluate(world.task.net, weights, x, y)[0]  # noqa: E731
    for main, all_heads, after in merges(world.method(variant, w=w), case):
        own = [effective(main, head, world.plan.scales[head.index]) for head in all_heads]
        mean = tree.map(lambda *leaves: sum(w_n * leaf for w_n, leaf in zip(w, leaves)), *own)
        errors += [gap(after.weights, mean), loss(after.weights) - sum(w_n * loss(W_n) for w_n, W_n in zip(w, own))]
    return worst([0.0, *errors])


def effective(main: Main, head: Head, scales: dict[str, float]) -> dict:
    """The effective layers of a head: W + s (B A - V), and its own biases."""
    now, then = dense(head.now, scales), dense(V(main, head.index) or {}, scales)
    return {
        name: Linear(layer.W + now[name] - then.get(name, 0.0), head.replica[name].c)
        for name, layer in main.weights.items()
    }


def unnormalised(case) -> float:
    """The other side of L13: shares that sum to 1.5 do not give the mean of the heads. Returns how far they miss."""
    world = build(case)
    sent = [Sent(moved_plan(world.plan, case.seed).draw(n, 0), {}) for n in range(case.heads)]
    w = [1.5 / case.heads] * case.heads
    new = merged(world.task.weights, sent, None, world.plan.scales, w)
    own = [dense(head.factors, scales) for head, scales in zip(sent, world.plan.scales)]
    mean = {
        name: sum(w_n * (W + own[n][name]) for n, w_n in enumerate(w))
        for name, W in matrices(world.task.weights).items()
    }
    return gap(matrices(new), mean)
