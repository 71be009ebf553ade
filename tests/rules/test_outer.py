"""The outer step against its recurrence, written out over several rounds and the whole tree."""

import pytest

from minilte.core import tree
from minilte.core.merge import MEAN
from minilte.core.types import Rule
from minilte.laws.world import Case, apart, build, weights_along
from minilte.rules.outer import outer

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
