"""Telescoping is the mean, without resets."""

import numpy as np
import pytest
from hypothesis import given
from traffic import assert_the_same_anywhere

from minilte.core.errors import BadInput
from minilte.laws.strategies import SMOOTH, cases
from minilte.laws.world import Case, apart, build, weights_along
from minilte.rules.telescope import TELESCOPE


@given(cases(reset="none", activation=SMOOTH))
def test_telescoping_follows_the_mean(case):
    world = build(case)
    paths = [weights_along(world.method(**rule), case.heads, case.steps) for rule in ({}, {"rule": TELESCOPE})]
    assert apart(*paths) < 1e-8  # rounding of a dozen steps; Adam divides by roots as small as eps


@given(cases(reset="none", steps=1))
def test_one_merge_is_the_same(case):
    world = build(case)
    a, b = (weights_along(world.method(**rule), case.heads, 1)[-1] for rule in ({}, {"rule": TELESCOPE}))
    for name in a:
        np.testing.assert_allclose(a[name].W, b[name].W, atol=1e-13)  # rounding of one product


def test_after_a_reset_it_refuses():
    world = build(Case(reset="b"))
    with pytest.raises(BadInput, match="without resets"):
        weights_along(world.method(rule=TELESCOPE), 2, 2)


def test_bits_and_bytes_do_not_depend_on_processes_and_meeting():
    world = build(Case(ranks=(2, 1, 2), optimizer="adamw", every=3))
    assert_the_same_anywhere(world.method(rule=TELESCOPE), 3, 7)
