"""Intervals and verdicts: known numbers, what must hold for all, and a claim that is false by construction."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.experiments import CLAIMS
from minilte.experiments.claim import Claim, Prediction, rows, verdict

numbers = st.floats(-1e6, 1e6)
bounds = st.floats().filter(lambda value: not math.isnan(value))


def claim(measure, *predictions):
    return Claim("C0", "nowhere", "as measured", predictions, measure)


# ---------------------------------------------------------------- the verdict


@given(st.tuples(bounds, bounds).map(sorted), st.tuples(bounds, bounds).map(sorted))
def test_a_verdict_is_inside_apart_or_neither(found, predicted):
    (low, high), (least, most) = found, predicted
    inside, apart = least <= low <= high <= most, high < least or most < low
    assert verdict(low, high, least, most) == ("holds" if inside else "fails" if apart else "undecided")


@given(st.tuples(bounds, bounds, bounds, bounds).map(sorted), st.tuples(bounds, bounds).map(sorted))
def test_a_wider_interval_never_decides_more_or_otherwise(ends, predicted):
    wide, narrow = verdict(ends[0], ends[3], *predicted), verdict(ends[1], ends[2], *predicted)
    assert wide in ("undecided", narrow)


@given(st.tuples(bounds, bounds).map(sorted), st.tuples(bounds, bounds).map(sorted))
def test_a_claim_and_its_mirror_image_have_one_verdict(found, predicted):
    (low, high), (least, most) = found, predicted
    assert verdict(low, high, least, most) == verdict(-high, -low, -most, -least)


# ---------------------------------------------------------------- rows


def test_what_is_false_by_construction_fails_and_what_is_true_holds():
    draw = lambda seed: float(stream(seed, "check").normal(1.0, 0.01))  # noqa: E731
    predictions = (
        Prediction("a", "one", "paper", most=0.5),
        Prediction("b", "one", "paper", least=0.5),
        Prediction("c", "one", "paper", 1, 1),
    )
    found = rows(claim(lambda seed: dict.fromkeys("abc", draw(seed)), *predictions), range(5))
    assert [(row.name, row.verdict) for row in found] == [("C0a", "fails"), ("C0b", "holds"), ("C0c", "undecided")]


def test_a_claim_is_measured_once_at_each_seed_and_its_numbers_stay_together():
    noise, seeds = {5: 100.0, 3: -40.0, 4: 7.0}, []  # far larger than what sets two methods apart

    def measure(seed):
        seeds.append(seed)
        return {"a": noise[seed] + 1 - noise[seed], "b": noise[seed]}

    of_a, of_b = rows(claim(measure, Prediction("a", "", "paper", least=0), Prediction("b", "", "paper")), [5, 3, 4])
    assert seeds == [5, 3, 4] and of_b.values == (100.0, -40.0, 7.0)
    assert of_a.verdict == "holds" and (of_a.low, of_a.high) == (1, 1)


def test_a_row_tells_every_seed():
    (row,) = rows(claim(lambda seed: {"a": float(seed)}, Prediction("a", "seed", "ours")), [3, 5])
    assert row.values == (3.0, 5.0) and row.mean == 4.0 and row.verdict == "holds"


@pytest.mark.parametrize("seeds", [[], [0]])
def test_one_seed_has_no_interval(seeds):
    with pytest.raises(BadInput, match=f"expected at least 2, or there is no interval, got {len(seeds)}"):
        rows(claim(lambda seed: {"a": 0.0}, Prediction("a", "", "paper")), seeds)


# ---------------------------------------------------------------- the registry


def test_claims_are_in_the_order_of_their_numbers_and_say_where_they_stand():
    assert list(CLAIMS) == sorted(CLAIMS, key=lambda name: int(name[1:]))
    for name, one in CLAIMS.items():
        assert one.name == name and one.where and one.says and one.measure.__doc__


def test_every_part_predicts_something_and_has_a_key_of_its_own():
    for one in CLAIMS.values():
        assert [said.key for said in one.predictions] == list("abcdefghijklm"[: len(one.predictions)])
        for said in one.predictions:
            assert said.least <= said.most and not (math.isinf(said.least) and math.isinf(said.most)), said
