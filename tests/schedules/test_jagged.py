"""The jagged schedule, step by step."""

from minilte.schedules.jagged import jagged


def test_the_rate_climbs_anew_after_every_merge_and_after_a_warm_start():
    flat = lambda step: 2.0  # noqa: E731
    rates = lambda *settings: [jagged(flat, *settings)(step) for step in range(9)]  # noqa: E731
    assert rates(4, 2, 0) == [2, 2, 2, 2, 1, 2, 2, 2, 1]  # not in the first round
    assert rates(4, 2, 3) == [2, 2, 2, 1, 2, 2, 2, 1, 2]
    assert rates(2, 100, 0) == [2, 2, 1, 2, 1, 2, 1, 2, 1]  # never longer than a round
    assert rates(4, 0, 0) == rates(4, 1, 3) == [2] * 9
