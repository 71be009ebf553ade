"""Laws about sums of merges: telescoping, a single head, heads that miss a merge, an outer rate."""

from minilte.core.lte import MEAN
from minilte.core.types import Main, Sent
from minilte.laws.law import law
from minilte.laws.strategies import SMOOTH, cases, heads
from minilte.laws.world import ROUNDING, apart, build, dense, gap, matrices, run, uneven, weights_along, worst
from minilte.methods.mhlora import lora
from minilte.rules.outer import outer


def telescoped(weights, plan, w, then) -> dict:
    """W_0 + sum_n w_n s_n V_n for every layer."""
    moved = [dense(V, scales) for V, scales in zip(then, plan.scales)]
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
    """By induction, from V_n = 0: a merge adds w_n s_n (B_n A_n - V_n) and then sets V_n to B_n A_n, so it
    subtracts what the last merge added and adds the new product."""
    world, w = build(case), uneven(case.heads)
    mains = [done.main for done in run(world.method(variant, w=w), case.heads, case.steps)]
    expected = [telescoped(world.task.weights, world.plan, w, main.then) for main in mains]
    return worst([gap(matrices(main.weights), goal) for main, goal in zip(mains, expected)])


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
    plain = weights_along(lora(world.task, world.plan), 1, case.steps)
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
    main, heads = method.begin(), [method.enter(n) for n in range(case.heads)]
    errors = []
    for step in range(case.steps):
        heads = [method.local(main, head, step, step + 1) for head in heads]
        there = [n for n in range(case.heads) if (n + step) % case.heads]  # one head misses every merge
        sent = [Sent(heads[n].now, {}) for n in there]
        pick = lambda values: [values[n] for n in there]  # noqa: E731
        weights, state = variant.rule.merge(
            main.rule, main.weights, sent, pick(main.then), pick(world.plan.scales), pick(w), map
        )
        then = tuple(heads[n].now if n in there else main.then[n] for n in range(case.heads))
        main = Main(weights, then, state)
        errors.append(gap(matrices(main.weights), telescoped(world.task.weights, world.plan, w, main.then)))
    return worst(errors)


@law(
    "L12",
    "Outer rate",
    "outer rate e without momentum: W = W_0 + e sum_n w_n s_n B_n A_n; rate 1 is the plain merge",
    lambda: cases(reset="none"),
    1e-11,
    ROUNDING,
)
def outer_rate(case, variant):
    """Every merge is scaled by e, hence so is the telescoping sum, whose rank (L2) does not change."""
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


def outer_momentum(case) -> float:
    """The other side of L12: with outer momentum W is no longer W_0 plus the factors' sum. Returns how far it is."""
    world, w = build(case), [1 / case.heads] * case.heads
    last = run(world.method(rule=outer(1.0, 0.9, MEAN)), case.heads, case.steps)[-1]
    return gap(matrices(last.main.weights), telescoped(world.task.weights, world.plan, w, last.main.then))
