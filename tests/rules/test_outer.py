"""The outer step against its recurrence, written out over several rounds and the whole tree."""

import math

import numpy as np
import pytest
import tiny
from dense import dense_start, up_to_merges
from support import OPTIMIZERS, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.lte import MEAN, lte
from minilte.core.types import Rule
from minilte.laws import LAWS, Variant, oracle, try_law
from minilte.laws.exact import redrawn
from minilte.laws.telescoping import telescoped
from minilte.laws.world import Case, apart, build, gap, matrices, run, weights_along
from minilte.optimizers.polar import response
from minilte.rules.outer import outer
from minilte.rules.ties import ties
from minilte.run.build import build as built
from minilte.settings.config import Config
from minilte.settings.flags import parse, parser
from minilte.steps.adamw import adamw

CASE = Case(widths=(4, 3, 2), ranks=(2, 1), every=2, steps=8)


def path(rule):
    return weights_along(build(CASE).method(rule=rule), CASE.heads, CASE.steps)


def test_rate_one_is_the_plain_merge():
    assert apart(path(outer(1.0, 0.0)), path(MEAN)) < 1e-12  # W - (W - new) rounds once more than new


@pytest.mark.parametrize("rate, momentum", [(0.7, 0.9), (0.5, 0.0), (1.0, 0.5)])
def test_it_is_the_nesterov_step_of_diloco(rate, momentum):
    # d = W - mean; buf <- mu buf + d; W <- W - e (d + mu buf): matrices and replicas alike
    goals = []

    def watched(state, *work):
        goal, state = MEAN.merge(state, *work)
        goals.append(goal)
        return goal, state

    got = path(outer(rate, momentum, Rule(MEAN.init, watched)))
    buf = tree.map(lambda leaf: 0.0 * leaf, got[0])
    for before, goal, after in zip(got[:-1], goals, got[1:], strict=True):
        d = tree.map(lambda now, goal: now - goal, before, goal)
        buf = tree.map(lambda b, d: momentum * b + d, buf, d)
        expected = tree.map(lambda now, d, b: now - rate * (d + momentum * b), before, d, buf)
        assert apart([before, after], [before, expected]) < 1e-12  # rounding of a few sums
    assert len(goals) == 4


# ---------------------------------------------------------------------------------- whole runs

W = [0.5, 0.2, 0.3]
KINDS = {"nesterov": (0.7, 0.9), "sgd": (0.8, 0.5), "adam": (0.01, 0.9), "muon": (0.02, 0.8)}  # rate, momentum


def plain(kind, mu):
    """The outer step of one array: d -> what is subtracted at rate 1; it remembers."""
    memory = dict(buf=0.0, m=0.0, v=0.0, t=0)

    def of_buf(d):
        memory["buf"] = mu * memory["buf"] + d
        return d + mu * memory["buf"] if kind != "sgd" else memory["buf"]

    def of_moments(d):
        memory["m"], memory["v"] = mu * memory["m"] + (1 - mu) * d, 0.99 * memory["v"] + 0.01 * d**2
        memory["t"] += 1
        m, v = memory["m"] / (1 - mu ** memory["t"]), memory["v"] / (1 - 0.99 ** memory["t"])
        return m / (np.sqrt(v) + 1e-3)

    def of_polar(d):
        U, S, Vt = np.linalg.svd(of_buf(d), full_matrices=False)
        return math.sqrt(max(1, d.shape[0] / d.shape[1])) * (U * response(S / np.linalg.norm(S))) @ Vt

    if kind == "muon":
        return lambda d: of_polar(d) if d.ndim == 2 else of_moments(d)
    return of_moments if kind == "adam" else of_buf


def elected(moves, w):
    """TIES without trimming: the mean of those whose sign is that of the sum."""
    sign = np.sign(sum(w_n * D for w_n, D in zip(w, moves)))
    agree = [w_n * (np.sign(D) == sign) for w_n, D in zip(w, moves)]
    return sum(part * D for part, D in zip(agree, moves)) / np.maximum(sum(agree), 1e-300)


INNER = {"mean": (MEAN, None), "ties": (ties(1.0), elected)}


def dense(task, plan, settings, kind, rate, momentum, merged=None):
    """LTE by matrices, whose main weights and biases take an outer step at every merge; merged is as in `by_rule`."""
    run = oracle.Explorer(*dense_start(task, plan), settings, W, redraw=redrawn(plan))
    step = {(i, k): plain(kind, momentum) for i in run.L for k in (0, 1)}
    for t in up_to_merges(run, task.batch):
        before, changes = run.weights(), [
            [run.scales[n][i] * (run.B[n][i] @ run.A[n][i] - run.V[n][i]) for n in range(run.N)] for i in run.L
        ]  # fmt: skip
        run.merge(t)
        for i, (goal, bias) in enumerate(run.weights()):
            goal = before[i][0] + merged(changes[i], W) if merged else goal
            run.W[i], run.c[i] = (
                now - rate * step[i, k](now - there) for k, (now, there) in enumerate(zip(before[i], (goal, bias)))
            )
            for own in run.bias:
                own[i] = run.c[i].copy()
        yield run.weights()


def assert_dense(kind, inner, reset, every, name):
    (optimizer, lr, extra), (rule, merged), (rate, momentum) = OPTIMIZERS[name], INNER[inner], KINDS[kind]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    reference = dense(
        task, plan, oracle.Settings(task.rate, every=every, reset=reset, **extra), kind, rate, momentum, merged
    )
    method = lte(task, plan, every, reset, w=W, rule=outer(rate, momentum, rule, kind))
    assert_same(trajectory(method, 3), list(reference))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("reset", ["none", "b", "ab"])
def test_it_follows_the_dense_method(reset, every, name):
    assert_dense("nesterov", "mean", reset, every, name)


@pytest.mark.parametrize(("reset", "every", "name"), [("none", 1, "adamw"), ("b", 3, "momentum"), ("ab", 10, "sgd")])
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_over_every_rule_follows_the_dense_method(kind, inner, reset, every, name):
    assert_dense(kind, inner, reset, every, name)


@pytest.mark.parametrize(
    ("kind", "inner"), [("nesterov", MEAN), ("sgd", ties(0.4)), ("adam", MEAN), ("muon", ties(0.4))], ids=[*KINDS]
)
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(kind, inner):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, w=W, rule=outer(*KINDS[kind], inner, kind)), 3, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_move_stays_to_the_bit(kind):
    task, _ = make_task(adamw(), 0.01)
    still = lte(task, make_plan(task), 4, rule=outer(*KINDS[kind], kind=kind))
    heads = [still.enter(n) for n in range(3)]
    main = still.merge(still.begin(), [still.tell(head) for head in heads], 4, map)
    assert all(map(np.array_equal, tree.leaves(main.weights), tree.leaves(task.weights)))


def test_the_rule_inside_keeps_its_own_state():
    counting = Rule(lambda weights: 0, lambda state, *work: (MEAN.merge(None, *work)[0], state + 1))
    last = run(build(CASE).method(rule=outer(rule=counting)), CASE.heads, CASE.steps)[-1].main
    assert last.rule[0] == CASE.steps // CASE.every


# ---------------------------------------------------------------------------------- settings


def test_the_command_line_chooses_step_and_rule_inside():
    words = "--merge-rule outer --outer-over ties --density 0.5 --outer-rate 0.03 --outer-momentum 0.6".split()
    for kind in KINDS:
        settings = parse(parser("prog", "words", settings=True), [*words, "--outer-step", kind])
        assert Config(**settings).inner_rule.density == 0.5
        given = built(tiny.config(model="mlp", widths=(5,), dtype="float64", **settings))
        by_hand = lte(given.task, make_plan_of(settings, given), 2, rule=outer(0.03, 0.6, ties(0.5), kind))
        assert all(map(np.array_equal, tree.leaves(ends(given.method)), tree.leaves(ends(by_hand))))


def make_plan_of(settings, given):
    return tiny.config(model="mlp", widths=(5,), dtype="float64", **settings).adapters.plan(given.task.weights, 2, 0)


def ends(method):
    return weights_along(method, 2, 6)[1:]


def test_what_does_not_fit_is_refused():
    for settings, words in (
        (dict(merge_rule="mean", outer_over="ties"), "outer-over: belongs to --merge-rule outer"),
        (dict(merge_rule="outer", density=0.5), "density: belongs to --merge-rule ties or --outer-over ties"),
        (dict(merge_rule="outer", outer_over="outer"), "outer-over: expected one of mean, .*, got 'outer'"),
        (dict(merge_rule="outer", outer_over="telescope"), "outer-over: expected one of mean, .*, got 'telescope'"),
        (
            dict(merge_rule="outer", outer_step="lion"),
            "outer-step: expected one of nesterov, sgd, adam, muon, got 'lion'",
        ),
        (dict(merge_rule="outer", topology="allreduce"), "outer: needs what every head sends"),
    ):
        with pytest.raises(BadInput, match=words):
            tiny.config(**settings)


# ---------------------------------------------------------------------------------- laws

ALONG = [("nesterov", 1.0, 0.0), ("nesterov", 0.6, 0.0), ("nesterov", 1.0, 0.5), ("sgd", 0.6, 0.0), ("sgd", 1.0, 0.5)]
OTHERS = [(kind, rate, mu) for kind, rate in (("adam", 0.01), ("muon", 0.02)) for mu in (0.0, 0.9)]


@pytest.mark.parametrize(("kind", "rate", "mu"), ALONG + OTHERS)
def test_it_claims_the_laws_that_it_keeps(kind, rate, mu):
    rule, plain = outer(rate, mu, kind=kind), kind in ("nesterov", "sgd") and mu == 0
    keeps = {
        name: try_law(LAWS[name], 10, variant=Variant(rule), shrink=False)
        for name in ("L1", "L2", "L3", "L10", "L13")
    }
    assert not any(verdict.trouble for verdict in keeps.values())
    assert rule.bounded == keeps["L2"].holds == plain
    assert rule.telescopes == keeps["L1"].holds == (plain and rate == 1)
    assert {keeps[name].holds for name in ("L3", "L10", "L13")} == {plain and rate == 1}
    # law L12
    world = build(CASE)
    last = run(world.method(rule=rule), CASE.heads, CASE.steps)[-1].main
    start, goal = matrices(world.task.weights), telescoped(world.task.weights, world.plan, [0.5, 0.5], last.then)
    expected = {name: W + rate * (goal[name] - W) for name, W in start.items()}
    assert (gap(matrices(last.weights), expected) < 1e-12) == plain


def test_only_without_momentum_the_rank_is_bounded_as_by_the_rule_inside():
    assert outer(0.5, 0.0).bounded and not outer(0.5, 0.9).bounded and not outer(0.5, 0.0, ties()).bounded
    task, _ = make_task(adamw(), 0.01)
    states = [outer(0.5, mu).init(task.weights) for mu in (0.0, 0.9)]
    assert states[0] == (None, (None,)) and not any(leaf.any() for leaf in tree.leaves(states[1]))
    assert tree.size(states[1]) == tree.size(task.weights)
