"""An outer step of rate 1 is the plain merge; with momentum it goes on where the last one went."""

import numpy as np

from minilte.laws.world import Case, apart, build, weights_along
from minilte.merging.outer import outer

CASE = Case(widths=(4, 3), ranks=(2, 1), every=2, steps=6)


def path(**rule):
    return weights_along(build(CASE).method(**rule), CASE.heads, CASE.steps)


def test_rate_one_is_the_plain_merge():
    assert apart(path(rule=outer(1.0, 0.0)), path()) < 1e-12  # W - (W - new) rounds once more than new


def test_momentum_is_that_of_diloco():
    # theta_old - mean theta = d; buf <- mu buf + d; theta <- theta_old - e (d + mu buf), replicas and matrices alike
    first = path(rule=outer(1.0, 0.0))
    start, merged = first[0]["layer1"].W, first[1]["layer1"].W
    d = start - merged
    np.testing.assert_allclose(path(rule=outer(0.7, 0.9))[1]["layer1"].W, start - 0.7 * (d + 0.9 * d), atol=1e-14)
