"""Streams differ wherever their keys do, and only there."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.random import NUMBERED, stream

purposes = st.sampled_from(NUMBERED) | st.sampled_from(["dropout", "shuffle", "luck", ""])
keys = st.tuples(st.integers(0, 2**63 - 1), purposes, st.integers(0, 2**31), st.integers(0, 2**31))


@given(keys, keys)
def test_streams_are_equal_exactly_where_their_keys_are(a, b):
    same = np.array_equal(stream(*a).integers(0, 2**63, 4), stream(*b).integers(0, 2**63, 4))
    assert same == (a == b)


def test_a_trailing_zero_is_not_lost():
    assert stream(5, "weights", 7, 0).random() != stream(5, "weights", 0, 7).random() != stream(5, "weights").random()


def test_any_word_is_a_purpose_of_its_own_the_same_on_every_machine():
    words = [*NUMBERED, "luck", "dropout", "", "weight", "ein-Maß"]
    assert len({stream(0, word).random() for word in words}) == len(words)
    drawn = [stream(3, word, 1, 2).integers(0, 10**9) for word in ("weights", "rounding", "luck")]
    assert drawn == [413266349, 814364755, 26290140]  # they never change: runs and figures are pinned to them


def test_the_streams_of_a_run_have_numbers_of_their_own():
    expected = np.random.Generator(np.random.Philox(np.random.SeedSequence(3, spawn_key=(2, 5, 7))))
    assert np.array_equal(stream(3, "batch", 5, 7).integers(0, 2**63, 4), expected.integers(0, 2**63, 4))


def test_head_and_step_are_zero_unless_given():
    assert stream(7, "batch").random() == stream(7, "batch", 0).random() == stream(7, "batch", 0, 0).random()
