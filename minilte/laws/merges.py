"""Laws about merging: telescoping, concatenation, what a merge may not change."""

import tracemalloc

import numpy as np

from minilte.methods import data_parallel
from minilte.comm.communicator import Ranks
from minilte.comm.solo import Solo
from minilte.core import lora, networks, tree
from minilte.core.head import seen
from minilte.core.merge import MEAN, merged
from minilte.core.types import Adapter, Linear, Main, Sent
from minilte.laws.law import law
from minilte.laws.strategies import SMOOTH, cases, heads, networks
from minilte.laws.world import apart, build, dense, gap, matrices, moved_plan, run, uneven, weights_along, worst
from minilte.rules.outer import outer

ROUNDING = "rounding of at most a few hundred operations on numbers of size 1 to 100"


def telescoped(weights, plan, w, now) -> dict:
    """W_0 + sum_n w_n s_n V_n for every layer."""
    moved = [dense(head, scales) for head, scales in zip(now, plan.scales)]
    return {name: W + sum(w_n * moved[n][name] for n, w_n in enumerate(w)) for name, W in matrices(weights).items()}


@law(
    "L1",
    "Telescoping",
    "reset-less with constant w_n and s_n, W_t = W_0 + sum_n w_n s_n V_n right after every merge, for any T and optimizer",
    lambda: cases(reset="none"),
    1e-11,
    ROUNDING,
)
def telescoping(case, variant):
    """By induction, from V_n = 0: a merge adds w_n s_n (B_n A_n - V_n) and then sets V_n to B_n A_n, so what was added
    before is taken out exactly when the new product is put in."""
    world, w = build(case), uneven(case.heads)
    rounds = run(world.method(variant, w=w), case.heads, case.steps)
    return worst([
        gap(matrices(done.main.weights), telescoped(world.task.weights, world.plan, w, done.main.then)) for done in rounds
    ])  # fmt: skip


@law(
    "L1-one",
    "One head is plain LoRA",
    "N = 1, reset-less: LTE is plain LoRA for any T and any optimizer",
    lambda: cases(reset="none", reset_optimizer=False, ranks=heads(1), activation=SMOOTH),
    1e-8,
    "rounding of a dozen steps; Adam divides by roots as small as eps",
)
def one_head_is_lora(case, variant):
    """By L1 the head computes with W_0 + s B A at every step, whenever it was merged."""
    world = build(case)
    plain = weights_along(data_parallel.lora(world.task, world.plan), 1, case.steps)
    merged_at = [0, *(done.step for done in run(world.method(variant), 1, case.steps))]
    return apart(weights_along(world.method(variant), 1, case.steps), [plain[step] for step in merged_at])


@law(
    "L1-skip",
    "Telescoping with heads that miss a merge",
    "L1 holds when a head is left out of a merge: its V_n stays, the other weights are not renormalised",
    lambda: cases(reset="none", bias=False, ranks=heads().filter(lambda ranks: len(ranks) > 1)),
    1e-11,
    ROUNDING,
)
def skipping(case, variant):
    """The induction of L1 runs for each head by itself: nothing in head n's term mentions another head."""
    world = build(case)
    w, method = [1 / case.heads] * case.heads, world.method(variant)
    main, everyone = method.begin(), [method.enter(n) for n in range(case.heads)]
    errors = []
    for step in range(case.steps):
        everyone = method.local(main, everyone, step, step + 1, map)
        there = [n for n in range(case.heads) if (n + step) % case.heads]  # one head misses every merge
        sent = [Sent(everyone[n].now, {}) for n in there]
        pick = lambda values: [values[n] for n in there]  # noqa: E731
        weights, rule = variant.rule.merge(
            main.rule, main.weights, sent, pick(main.then), pick(world.plan.scales), pick(w), map
        )
        then = tuple(everyone[n].now if n in there else main.then[n] for n in range(case.heads))
        main = Main(weights, then, rule)
        everyone = [head._replace(then=main.then[head.index]) for head in everyone]
        errors.append(gap(matrices(main.weights), telescoped(world.task.weights, world.plan, w, main.then)))
    return worst(errors)


@law(
    "L5",
    "Concatenation",
    "sum_n w_n s_n B_n A_n = [w_1 s_1 B_1 …] [A_1; …], and MHLoRA(N, r) is LoRA(N r) at scale s / N",
    lambda: cases(ranks=heads(rank=2), widths=cases_widths(6)),
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

    def wide(_, step):
        drawn = [world.plan.draw(k, step) for k in range(case.heads)]
        side_by_side = lambda name, k, axis: np.concatenate([head[name][k] for head in drawn], axis)  # noqa: E731
        return {name: Adapter(side_by_side(name, 0, 0), side_by_side(name, 1, 1)) for name in drawn[0]}

    scale = ({name: s / case.heads for name, s in world.plan.scales[0].items()},)
    one = world.plan._replace(ranks=world.plan.ranks[:1], scales=scale, draw=wide)
    paths = [
        weights_along(method, case.heads, case.steps)
        for method in (data_parallel.mhlora(world.task, world.plan), data_parallel.lora(world.task, one))
    ]
    return worst([algebra, apart(*paths)])


def cases_widths(least: int):
    """Networks of one or two layers, each at least so wide."""
    return networks(least, least + 3, 2)


@law(
    "L5-memory",
    "A merge in O(mn) memory",
    "merging N heads allocates at most 2 m n numbers beside the factors, whatever N",
    lambda: cases(widths=(200, 200), ranks=heads(8, 1).filter(lambda ranks: len(ranks) > 5)),
    2.0,
    "the product, into which W is added in place, makes one; a matrix a head would make 6 or more",
)
def memory_of_a_merge(case, variant):
    """The factors are stacked before they are multiplied: one m x n product, not N."""
    world = build(case)
    sent = [Sent(world.plan.draw(n, 0), {}) for n in range(case.heads)]
    w = [1 / case.heads] * case.heads
    tracemalloc.start()
    try:
        variant.rule.merge(
            variant.rule.init(world.task.weights),
            world.task.weights,
            sent,
            [one.factors for one in sent],
            world.plan.scales,
            w,
            map,
        )
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
    """W + s (B A - V) is both what the head computed with and what the merge makes of W; its replica is the mean of one."""
    world, x = build(case), build(case).task.batch(0, case.steps)[0]
    method, scales, errors = world.method(variant), world.plan.scales[0], []
    main, head = method.begin(), method.enter(0)
    for step in range(0, case.steps, case.every):
        stop = min(step + case.every, case.steps)
        (head,) = method.local(main, [head], step, stop, map)
        before, _ = networks.forward(world.task.net, seen(main.weights, head, scales), x)
        main, _ = method.merge(Ranks(Solo(), 1), main, [head], stop)
        errors.append(gap(networks.forward(world.task.net, main.weights, x)[0], before))
        head = method.restart(main, head, stop)
    return worst(errors)


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
    main, _ = networks.forward(world.task.net, last.main.weights, x)
    return worst(
        [
            gap(
                networks.forward(world.task.net, seen(last.main.weights, head, world.plan.scales[head.index]), x)[0],
                main,
            )
            for head in last.heads
        ]
    )


@law(
    "L12",
    "Outer rate",
    "outer rate e without momentum: W = W_0 + e sum_n w_n s_n B_n A_n; rate 1 is the plain merge",
    lambda: cases(reset="none"),
    1e-11,
    ROUNDING,
)
def outer_rate(case, variant):
    """Every merge is scaled by e, so the telescoping sum is; a multiple of it has its rank (L2)."""
    world, w = build(case), [1 / case.heads] * case.heads
    paths = [
        weights_along(world.method(variant, **rule), case.heads, case.steps)
        for rule in ({}, dict(rule=outer(1.0, 0.0, variant.rule)))
    ]
    errors = [apart(*paths)]
    for rate in (1.0, 0.6):
        last = run(world.method(variant, rule=outer(rate, 0.0, variant.rule)), case.heads, case.steps)[-1]
        start = matrices(world.task.weights)
        goal = telescoped(world.task.weights, world.plan, w, last.main.then)
        expected = {name: W + rate * (goal[name] - W) for name, W in start.items()}
        errors.append(gap(matrices(last.main.weights), expected))
    return worst(errors)


@law(
    "L13",
    "The merged weight is the heads' mean",
    "with shares that sum to one the merged W is sum_n w_n W_n^eff; so with shares of at least 0 a convex loss of one layer is at most the mean of the heads'",
    lambda: cases(widths=cases_widths(2).map(lambda widths: widths[:2])),
    1e-11,
    ROUNDING,
)
def mean_of_heads(case, variant):
    """W + sum w_n s_n (B_n A_n - V_n) = sum w_n (W + s_n (B_n A_n - V_n)) when the w_n sum to one; Jensen does the rest."""
    world, w, errors = build(case), uneven(case.heads), []
    method, (x, y) = world.method(variant, w=w), world.task.batch(0, case.steps)
    loss = lambda weights: networks.evaluate(world.task.net, weights, x, y)[0]  # noqa: E731
    main, everyone = method.begin(), [method.enter(n) for n in range(case.heads)]
    for step in range(0, case.steps, case.every):
        stop = min(step + case.every, case.steps)
        everyone = method.local(main, everyone, step, stop, map)
        own = [effective(main.weights, head, world.plan.scales[head.index]) for head in everyone]
        main, _ = method.merge(Ranks(Solo(), case.heads), main, everyone, stop)
        mean = tree.map(lambda *leaves: sum(w_n * leaf for w_n, leaf in zip(w, leaves)), *own)
        errors += [gap(main.weights, mean), loss(main.weights) - sum(w_n * loss(one) for w_n, one in zip(w, own))]
        everyone = [method.restart(main, head, stop) for head in everyone]
    return worst([0.0, *errors])


def effective(weights, head, scales) -> dict:
    """The dense layers that a head computes with: W + s (B A - V), and its own biases."""
    now, then = dense(head.now, scales), dense(head.then, scales) if head.then else {}
    return {
        name: Linear(layer.W + now[name] - then.get(name, 0.0), head.replica[name].c)
        for name, layer in weights.items()
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


def outer_momentum(case) -> float:
    """The other side of L12: with outer momentum W is no longer W_0 plus the factors' sum. Returns how far it is."""
    world, w = build(case), [1 / case.heads] * case.heads
    last = run(world.method(rule=outer(1.0, 0.9, MEAN)), case.heads, case.steps)[-1]
    return gap(matrices(last.main.weights), telescoped(world.task.weights, world.plan, w, last.main.then))
