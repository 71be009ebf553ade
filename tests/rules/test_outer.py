"""The outer step against its recurrence, written out over several rounds and the whole tree."""

import pytest
from support import OPTIMIZERS, assert_same, dense_start, make_plan, make_task, trajectory, up_to_merges
from traffic import assert_the_same_anywhere

from minilte.core import tree
from minilte.core.lte import MEAN, lte
from minilte.core.types import Rule
from minilte.laws import oracle
from minilte.laws.exact import redrawn
from minilte.laws.world import Case, apart, build, weights_along
from minilte.rules.outer import outer
from minilte.rules.ties import ties
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


def dense(task, plan, settings, rate, momentum):
    """LTE by matrices, whose main weights and biases take an outer step at every merge."""
    run = oracle.Explorer(*dense_start(task, plan), settings, W, redraw=redrawn(plan))
    buf = {(i, k): 0.0 for i in run.L for k in (0, 1)}
    for t in up_to_merges(run, task.batch):
        before = run.weights()
        run.merge(t)
        for i, goal in enumerate(run.weights()):
            moved = []
            for k in (0, 1):
                d = before[i][k] - goal[k]
                buf[i, k] = momentum * buf[i, k] + d
                moved.append(before[i][k] - rate * (d + momentum * buf[i, k]))
            run.W[i], run.c[i] = moved
            for bias in run.bias:
                bias[i] = moved[1].copy()
        yield run.weights()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("reset", ["none", "b", "ab"])
def test_it_follows_the_dense_method(reset, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    reference = dense(task, plan, oracle.Settings(task.rate, every=every, reset=reset, **extra), 0.7, 0.9)
    assert_same(trajectory(lte(task, plan, every, reset, w=W, rule=outer(0.7, 0.9)), 3), list(reference))


@pytest.mark.parametrize("inner", [MEAN, ties(0.4)], ids=["mean", "ties"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(inner):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, w=W, rule=outer(rule=inner)), 3, 10)


def test_only_without_momentum_the_rank_is_bounded_as_by_the_rule_inside():
    assert outer(0.5, 0.0).bounded and not outer(0.5, 0.9).bounded and not outer(0.5, 0.0, ties()).bounded
    task, _ = make_task(adamw(), 0.01)
    states = [outer(0.5, mu).init(task.weights) for mu in (0.0, 0.9)]
    assert states[0] == (None, (None,)) and not any(leaf.any() for leaf in tree.leaves(states[1]))
    assert tree.size(states[1]) == tree.size(task.weights)
