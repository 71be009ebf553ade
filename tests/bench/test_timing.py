"""Pairs are measured in turn, and ratios are taken pair by pair."""

from unittest import mock

from minilte.bench import timing


def test_ratios_are_taken_pair_by_pair_over_blocks_of_calls():
    # warm-up: a takes 1 and 0.125 s, b 0.0625 and 0.3 s, so a block of 0.2 s is 2 calls of a and 4 of b
    clock = iter([0, 1, 10, 10.125, 20, 20.0625, 30, 30.3, 40, 44, 50, 54, 60, 66, 70, 74])
    calls = []
    with mock.patch.object(timing.time, "perf_counter", lambda: next(clock)):
        pair = timing.paired(lambda: calls.append("a"), lambda: calls.append("b"), runs=2, warm=2)
    assert "".join(calls) == "aabb" + "aabbbb" * 2
    assert pair.a.median == 2.5 and pair.b.median == 1 and pair.ratio == timing.Spread(2.5, 2, 3, 2)


def test_a_spread_is_the_median_and_the_ends():
    assert timing.spread([5.0, 1.0, 2.0]) == timing.Spread(2.0, 1.0, 5.0, 3)
