"""Knobs: a value is taken in the type of its field and within its bounds, or refused by its flag's name."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import KNOBS, chosen

from minilte.core.errors import BadInput
from minilte.settings.config import Config
from minilte.settings.knob import (
    BOUNDS,
    checked,
    flag_name,
    item_type,
    knob,
    of_knobs,
    plain,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
WITH = ("batch", "alpha", "nesterov", "head-ranks", "shares", "quant-block", "quorum", "grace")  # that fit others


def kind_of(knob):
    return item_type(knob.type)[0]


def of_kind(kind):
    return [name for name, (_, knob) in KNOBS.items() if kind_of(knob) is kind]


def having(bound):
    return [name for name, (_, knob) in KNOBS.items() if bound in knob.metadata]


def with_value(name, value):
    """(flag, the settings that choose the part of a knob and give it a value)."""
    cls, knob = KNOBS[name]
    return flag_name(knob.name), chosen(cls) | {knob.name: value}


def refused(**values):
    with pytest.raises(BadInput) as caught:
        Config(**values)
    message = str(caught.value)
    assert "\n" not in message
    return message


@given(st.sampled_from(list(KNOBS)), JSON)
def test_any_value_at_all_is_taken_in_the_type_of_its_field_or_refused_by_its_name(name, value):
    flag, values = with_value(name, value)
    try:
        got = getattr(Config(**values), KNOBS[name][1].name)
    except BadInput as error:
        # a good value can still fail to fit the default of another field
        assert str(error).startswith(tuple(f"{one}: " for one in (flag, *WITH)))
        assert "\n" not in str(error)
    else:
        assert all(type(one) is kind_of(KNOBS[name][1]) for one in (got if isinstance(got, tuple) else [got]))


@pytest.mark.parametrize("name", KNOBS)
def test_the_default_has_the_type_of_its_field_and_fits(name):
    cls, knob = KNOBS[name]
    assert getattr(Config(**chosen(cls)), knob.name) == cls.usual.get(knob.name, knob.default)
    values = knob.default if isinstance(knob.default, tuple) else [knob.default]
    assert all(type(one) is kind_of(knob) for one in values)


@pytest.mark.parametrize("name", of_kind(int))
@pytest.mark.parametrize("value", [True, 8.0, 2.5, "8", None, math.nan, [8, True], {}], ids=repr)
def test_only_a_whole_number_is_a_whole_number(name, value):
    flag, values = with_value(name, value)
    assert refused(**values).startswith(f"{flag}: expected a whole number, got ")


@pytest.mark.parametrize("name", [name for name, (_, knob) in KNOBS.items() if knob.type is float])
@pytest.mark.parametrize(
    "value", [True, "8", None, math.nan, math.inf, -math.inf, 10**400, [0.5]], ids=lambda value: str(value)[:5]
)
def test_only_a_finite_number_is_a_number(name, value):
    flag, values = with_value(name, value)
    assert refused(**values).startswith(f"{flag}: expected a number, got ")


@pytest.mark.parametrize("name", of_kind(bool))
@pytest.mark.parametrize("value", [1, 0, "true", None], ids=repr)
def test_only_true_and_false_are_a_choice_of_two(name, value):
    flag, values = with_value(name, value)
    assert refused(**values).startswith(f"{flag}: expected true or false, got ")


@pytest.mark.parametrize("name", of_kind(str))
@pytest.mark.parametrize("value", [1, True, None, b"mlp", ["mlp", 1]], ids=repr)
def test_only_text_is_text(name, value):
    flag, values = with_value(name, value)
    assert refused(**values).startswith(f"{flag}: expected text, got ")


@pytest.mark.parametrize("name", having("choices"))
def test_a_word_that_is_no_choice_is_refused_with_all_that_are(name):
    flag, values = with_value(name, "zzz")
    choices = ", ".join(KNOBS[name][1].metadata["choices"])
    assert refused(**values) == f"{flag}: expected one of {choices}, got 'zzz'"


@pytest.mark.parametrize(("name", "bound"), [(name, bound) for bound in BOUNDS for name in having(bound)])
def test_every_bound_holds_to_the_last_number(name, bound):
    knob = KNOBS[name][1]
    kind, limit = kind_of(knob), knob.metadata[bound]
    away = math.inf if bound in ("most", "below") else -math.inf
    beyond = limit + (1 if away > 0 else -1) if kind is int else math.nextafter(limit, away)
    outside = limit if bound in ("above", "below") else beyond
    flag, values = with_value(name, kind(outside))
    assert refused(**values).startswith(f"{flag}: expected ")


@pytest.mark.parametrize("name", of_kind(int))
def test_no_whole_number_is_so_large_that_arithmetic_with_it_fails(name):
    flag, values = with_value(name, 10**400)
    assert refused(**values).startswith(f"{flag}: ")


def test_one_value_stands_for_a_list_of_one():
    assert Config(widths=5).widths == (5,) and Config(adapt="layer1").adapt == ("layer1",)


@pytest.mark.parametrize("name", [name for name, (_, knob) in KNOBS.items() if knob.type in (int, float)])
def test_a_scalar_of_numpy_is_taken_as_a_number(name):
    knob = KNOBS[name][1]
    for scalar in {int: (np.int64, np.int32), float: (np.float64,)}[knob.type]:
        got = getattr(Config(**with_value(name, scalar(knob.default))[1]), knob.name)
        assert type(got) is knob.type and got == knob.default


def test_arrays_and_paths_are_taken_as_lists_and_as_text():
    config = Config(
        heads=2, shares=np.array([0.25, 0.75]), widths=np.array([3, 4]), init_from=Path("a") / "b", bias=np.True_
    )
    assert (config.shares, config.widths, config.init_from, config.bias) == ((0.25, 0.75), (3, 4), "a/b", True)
    assert type(config.shares[0]) is float and type(config.widths[0]) is int and type(config.bias) is bool


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(widths=np.array([3.0, 4.0])), "widths: expected a whole number, got 3.0"),
        (dict(widths=np.array([[3, 4]])), "widths: expected a whole number, got [3, 4]"),
        (dict(lr=np.array([0.5])), "lr: expected a number, got [0.5]"),
        (dict(lr=np.float64("nan")), "lr: expected a number, got nan"),
        (dict(steps=np.True_), "steps: expected a whole number, got True"),
        (dict(dtype=np.float64), "dtype: expected text, got <class 'numpy.float64'>"),
    ],
    ids=str,
)
def test_a_value_of_numpy_of_another_kind_is_refused_as_pythons_own_is(settings, words):
    assert refused(**settings) == words


def test_a_value_of_numpy_becomes_pythons_own_and_any_other_stays():
    got = plain((np.int8(3), np.float32(0.5), "text", None, [np.float64(1)]))
    assert got == [3, 0.5, "text", None, [1.0]] and [type(item) for item in got[:2]] == [int, float]
    assert plain(np.eye(2)) == [[1.0, 0.0], [0.0, 1.0]] and plain(Path("a") / "b") == "a/b" and plain(None) is None


# ---------------------------------------------------------------- a dataclass of one's own


@of_knobs
class Two:
    part_of: float = knob(0.5, "a fraction", above=0.0, most=1.0)
    sizes: tuple[int, ...] = knob((), "any", least=1)


def test_any_dataclass_of_knobs_is_checked_by_its_fields():
    assert Two(1, [2, 3]) == Two(1.0, (2, 3)) and type(Two(1).part_of) is float
    with pytest.raises(BadInput, match="^part-of: expected a number above 0, got 0.0$"):
        Two(0)
    with pytest.raises(BadInput, match="^sizes: expected a whole number of at least 1, got 0$"):
        Two(sizes=(1, 0))


def test_a_field_can_be_checked_alone():
    assert checked(dataclasses.fields(Two)[1], 4) == (4,)
    assert item_type(tuple[int, ...]) == (int, True) and item_type(float) == (float, False)


@given(st.text("abz_", min_size=1))
def test_a_flag_is_the_name_with_hyphens(name):
    assert flag_name(name).replace("-", "_") == name


@pytest.mark.parametrize(
    "name", [name for name, (_, knob) in KNOBS.items() if isinstance(knob.default, (tuple, str))]
)
def test_an_empty_value_is_the_default_or_refused(name):
    flag, values = with_value(name, empty := type(KNOBS[name][1].default)())
    if KNOBS[name][1].default == empty:
        assert getattr(Config(**values), KNOBS[name][1].name) == empty
    else:
        assert refused(**values).startswith(f"{flag}: expected ")
