"""Pairs are measured in turn, and ratios are taken pair by pair."""

from unittest import mock

from minilte.bench import timing


def test_ratios_are_taken_pair_by_pair_and_warm_pairs_are_left_out():
    clock = iter([0, 9, 10, 11, 20, 22, 30, 31, 40, 43, 50, 51])  # a: 9 2 3, b: 1 1 1
    calls = []
    with mock.patch.object(timing.time, "perf_counter", lambda: next(clock)):
        pair = timing.paired(lambda: calls.append("a"), lambda: calls.append("b"), runs=2, warm=1)
    assert calls == ["a", "b"] * 3
    assert pair.ratio == timing.Spread(2.5, 2, 3, 2) and pair.a.median == 2.5 and pair.b.median == 1
