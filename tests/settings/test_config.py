"""Settings: what is accepted survives every way of writing it down, what is not is refused by name."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import configs

from minilte.core.errors import BadInput
from minilte.settings.config import Config
from minilte.settings.knob import BOUNDS, flag_name, item_type

KNOBS = {knob.name: knob for knob in dataclasses.fields(Config)}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)


def kind_of(name):
    return item_type(KNOBS[name].type)[0]


def having(bound):
    return [name for name, knob in KNOBS.items() if bound in knob.metadata]


def refused(**values):
    with pytest.raises(BadInput) as caught:
        Config(**values)
    message = str(caught.value)
    assert "\n" not in message
    return message


@given(configs())
def test_any_settings_written_as_json_are_read_as_the_same(config):
    assert Config(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@given(configs())
def test_settings_that_were_accepted_are_accepted_again(config):
    assert dataclasses.replace(config) == config


@given(st.sampled_from(list(KNOBS)), JSON)
def test_any_value_at_all_is_taken_in_the_type_of_its_field_or_refused_by_its_name(name, value):
    try:
        got = getattr(Config(**{name: value}), name)
    except BadInput as error:
        # a good value can still fail to fit the default of another field
        names = (flag_name(name), "batch", "alpha", "nesterov", "head-ranks")
        assert str(error).startswith(tuple(f"{name}: " for name in names))
        assert "\n" not in str(error)
    else:
        assert all(type(one) is kind_of(name) for one in (got if isinstance(got, tuple) else [got]))


@pytest.mark.parametrize("name", KNOBS)
def test_the_default_has_the_type_of_its_field(name):
    default = getattr(Config(), name)
    assert all(type(one) is kind_of(name) for one in (default if isinstance(default, tuple) else [default]))


@pytest.mark.parametrize("name", [name for name in KNOBS if kind_of(name) is int])
@pytest.mark.parametrize("value", [True, 8.0, 2.5, "8", None, math.nan, [8, True], {}], ids=repr)
def test_only_a_whole_number_is_a_whole_number(name, value):
    assert refused(**{name: value}).startswith(f"{flag_name(name)}: expected a whole number, got ")


@pytest.mark.parametrize("name", [name for name in KNOBS if KNOBS[name].type is float])
@pytest.mark.parametrize(
    "value", [True, "8", None, math.nan, math.inf, -math.inf, 10**400, [0.5]], ids=lambda value: str(value)[:5]
)
def test_only_a_finite_number_is_a_number(name, value):
    assert refused(**{name: value}).startswith(f"{flag_name(name)}: expected a number, got ")


@pytest.mark.parametrize("name", [name for name in KNOBS if kind_of(name) is bool])
@pytest.mark.parametrize("value", [1, 0, "true", None], ids=repr)
def test_only_true_and_false_are_a_choice_of_two(name, value):
    assert refused(**{name: value}).startswith(f"{flag_name(name)}: expected true or false, got ")


@pytest.mark.parametrize("name", [name for name in KNOBS if kind_of(name) is str])
@pytest.mark.parametrize("value", [1, True, None, b"mlp", ["mlp", 1]], ids=repr)
def test_only_text_is_text(name, value):
    assert refused(**{name: value}).startswith(f"{flag_name(name)}: expected text, got ")


@pytest.mark.parametrize("name", having("choices"))
def test_a_word_that_is_no_choice_is_refused_with_all_that_are(name):
    assert refused(**{name: "zzz"}) == (
        f"{flag_name(name)}: expected one of {', '.join(KNOBS[name].metadata['choices'])}, got 'zzz'"
    )


@pytest.mark.parametrize(("name", "bound"), [(name, bound) for bound in BOUNDS for name in having(bound)])
def test_every_bound_holds_to_the_last_number(name, bound):
    kind, limit = kind_of(name), KNOBS[name].metadata[bound]
    away = math.inf if bound in ("most", "below") else -math.inf
    beyond = limit + (1 if away > 0 else -1) if kind is int else math.nextafter(limit, away)
    outside = limit if bound in ("above", "below") else beyond
    assert refused(**{name: kind(outside)}).startswith(f"{flag_name(name)}: expected ")


@pytest.mark.parametrize("name", [name for name in KNOBS if kind_of(name) is int])
def test_no_whole_number_is_so_large_that_arithmetic_with_it_fails(name):
    assert refused(**{name: 10**400}).startswith(f"{flag_name(name)}: ")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(head_ranks=(4, 4)), "head-ranks: expected one for each of 8 heads, got 2"),
        (dict(alpha=1e20), "alpha: expected alpha / rank of at most 1e+06, got 3.125e+18"),
        (dict(alpha=4e6, rank=2), "got 2e+06"),
        (dict(alpha=4e6, rank=2, scaling="sqrt-rank"), "alpha: expected alpha / sqrt-rank of at most 1e+06"),
        (dict(alpha=4e6, heads=2, head_ranks=(8, 2)), "got 2e+06"),
        (dict(batch=7), "batch: expected at least one sample for each of 8 heads, got 7"),
        (dict(nesterov=True, momentum=0.9), "nesterov: expected --optimizer sgd"),
        (dict(nesterov=True, optimizer="sgd"), "nesterov: expected --optimizer sgd and a --momentum above 0"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_each_other_are_refused(values, message):
    assert message in refused(**values)


def test_heads_on_the_same_data_may_be_more_than_samples():
    assert Config(batch=7, head_data="same").batch == 7


def test_one_value_stands_for_a_list_of_one():
    assert Config(widths=5).widths == (5,) and Config(adapt="layer1").adapt == ("layer1",)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().lr = 2


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_evaluations_and_checkpoints_are_at_least_a_step_apart(steps, every):
    config = Config(steps=steps, eval_every=every, save_every=every)
    assert config.eval_steps == (every or max(1, steps // 20))
    assert config.save_steps == (every or max(1, steps // 10))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(quant="int3"), "quant: expected one of none, int8, int4, nf4, got 'int3'"),
        (dict(method="full", stack=4), "stack: full sums gradients"),
        (dict(method="lora", bad_heads="skip"), "bad-heads: lora sums gradients"),
        (dict(quant_block=32), "quant-block: expected a --quant"),
        (dict(quant_rounding="stochastic"), "quant-rounding: expected a --quant"),
        (dict(wire="float16", bad_heads="clip"), "wire: expected full or bfloat16 with --bad-heads"),
        (dict(quant="int4", quant_block=48), "quant-block: expected a power of two, got 48"),
        (dict(topology="ring"), "topology: expected one of default, auto"),
        (dict(topology="server", method="full"), "topology: full sums gradients and merges no factors"),
        (dict(quant="nf4", method="mhlora"), "quant: mhlora sums gradients"),
        (dict(topology="allreduce", wire="float16"), "allreduce sends dense changes, which needs wire full"),
        (dict(topology="allreduce", quant="nf4"), "allreduce sends dense changes, which needs quant none"),
        (dict(topology="allreduce", merge_rule="telescope"), "needs merge-rule mean, got telescope"),
        (dict(heads=2, shares=(0.5, 0.4)), "shares: expected 2 shares of at least 0 that sum to 1, got 0.5, 0.4"),
        (dict(heads=2, shares=(1.0,)), "shares: expected 2 shares"),
        (dict(quant="nf4", correction="absorbed"), "correction: expected factors with --quant"),
        (dict(quant="nf4", merge_rule="telescope"), "merge-rule: expected mean with --quant"),
        (dict(correction="absorbed", reset="b"), "correction: expected factors with a reset"),
        (dict(merge_rule="telescope", reset="b"), "merge-rule: expected mean with --reset b"),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_named(settings, words):
    assert words in refused(**settings)


def test_a_baseline_merges_nothing():
    config = Config(quant="nf4", wire="float16", stack=2, shares=(1 / 8,) * 8, versus="full")
    plain = config.without_merging("full")
    assert (plain.method, plain.versus, plain.quant, plain.topology, plain.shares) == (
        "full",
        "none",
        "none",
        "default",
        (),
    )
    assert plain.seed == config.seed and plain.batch == config.batch
