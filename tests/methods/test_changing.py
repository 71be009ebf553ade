"""What changes at a merge: which heads come next, and how many directions a change has."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.random import stream
from minilte.methods.changing import HEADS, between, directions


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1))
def test_heads_join_and_leave_and_some_are_always_there(N, few, done):
    few = min(N, few)
    for kind, choose in HEADS.items():
        active = choose(N, few, done, stream(0, "check"))
        assert active.shape == (N,) and active.sum() >= 1
        assert active.sum() == {"all": N, "drawn": few}.get(kind, active.sum())
        assert few <= active.sum() <= N
    assert HEADS["growing"](N, few, 0, None).sum() == HEADS["shrinking"](N, few, 1, None).sum() == few
    assert HEADS["growing"](N, few, 1, None).all() and HEADS["shrinking"](N, few, 0, None).all()


def test_directions_are_the_effective_rank_or_those_that_hold_the_energy():
    change = np.diag([3.0, 2.0, 1.0, 0.0])
    p = np.array([3, 2, 1]) / 6
    assert directions(change, None) == math.ceil(np.exp(-(p * np.log(p)).sum())) == 3
    assert [directions(change, energy) for energy in (0.1, 9 / 14, 0.65, 13 / 14, 0.95, 1.0)] == [1, 1, 2, 2, 3, 3]
    for nothing in (0 * change, np.inf * np.ones((3, 4)), np.full((3, 4), np.nan)):
        assert directions(nothing, 0.5) == directions(nothing, None) == 0
    assert [between(4, 8, done) for done in (0, 0.5, 1)] == [4, 6, 8] and between(8, 4, 0.75) == 5
