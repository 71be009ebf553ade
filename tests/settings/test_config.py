"""Settings: what is accepted survives every way of writing it down, what does not fit is refused by name."""

import copy
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import KNOBS, PARTS, chosen, configs

from minilte.core.errors import BadInput
from minilte.settings.config import Config, all_settings, nearest
from minilte.settings.knob import flag_name
from minilte.settings.part import knobs
from minilte.settings.places import PLACES


def refused(**values):
    with pytest.raises(BadInput) as caught:
        Config(**values)
    message = str(caught.value)
    assert "\n" not in message
    return message


@given(configs())
def test_any_settings_written_as_json_are_read_as_the_same(config):
    assert Config(**json.loads(json.dumps(config.flat()))) == config


@given(configs())
def test_settings_that_were_accepted_are_accepted_again(config):
    assert config.replace() == config


@given(configs())
def test_what_is_not_as_usual_says_it_all(config):
    own = config.own()
    assert Config(**own) == config
    for name in own:  # and no more than that
        rest = {key: value for key, value in own.items() if key != name}
        try:
            assert Config(**rest) != config
        except BadInput:  # without a choice, what belongs to it is refused
            continue


@given(configs())
def test_it_reads_as_it_was_made(config):
    assert eval(repr(config)) == config
    assert copy.copy(config) == copy.deepcopy(config) == config


@given(configs())
def test_no_two_parts_of_a_run_have_a_setting_of_the_same_name(config):  # one of the two would not hear of it
    names = [name for part in config.parts.values() for name in knobs(part)]
    assert len(names) == len(set(names))


@given(configs())
def test_a_setting_is_read_by_its_flat_name_and_from_its_part(config):
    flat = config.flat()
    for place, part in config.parts.items():
        assert getattr(config, place) is part
        for name in knobs(part):
            assert getattr(config, name) == getattr(part, name) == flat[name]
        if spec := PLACES[place].flag:
            assert flat[spec] == part.name


def test_what_is_no_setting_of_the_run_is_no_attribute():
    for name in ("merge_every", "rank", "wire", "stesp"):
        with pytest.raises(
            AttributeError, match=f"no setting '{name}' in a run of these parts: data, network, method"
        ):
            getattr(Config(method="full"), name)
    assert not hasattr(Config(), "momentum") and Config(optimizer="sgd").momentum == 0.0


def test_the_defaults_are_the_defaults_of_the_parts():
    config = Config()
    assert (config.method.name, config.data.name, config.heads, config.rank) == ("lte", "fashion-mini", 8, 32)
    assert config.own() == {} and repr(config) == "Config()"
    for _, (cls, knob) in KNOBS.items():
        assert getattr(Config(**chosen(cls)), knob.name) == cls.usual.get(knob.name, knob.default)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("stesp", "steps"),
        ("hedas", "heads"),
        ("merge_evry", "merge_every"),
        ("qourum", "quorum"),
        ("optimiser", "optimizer"),
    ],
)
def test_a_name_that_is_nearly_a_setting_is_answered_with_it(name, meant):
    assert refused(**{name: 3}) == f"unknown setting {name!r}, did you mean {meant}?"


def test_a_name_that_is_like_no_setting_is_refused_as_it_is():
    assert refused(zzz=3) == "unknown setting 'zzz'"
    assert refused(**{"a\nb": 3}) == "unknown setting 'a\\nb'"
    assert refused(path="x").startswith("unknown setting 'path'")  # a hidden one


@pytest.mark.parametrize("place", [place for place, spec in PLACES.items() if spec.flag])
@pytest.mark.parametrize("value", ["", "zzz", 3, None, True, ["mlp"], {}], ids=repr)
def test_a_word_that_chooses_nothing_is_refused_with_all_that_do(place, value):
    spec = PLACES[place]
    if spec.other and value == "zzz":
        assert Config(**{spec.flag: value}).parts[place].path == "zzz"
        return
    names = ", ".join(name for name in spec.names if name != spec.other)
    words, _, meant = refused(**{spec.flag: value}).partition(", did you mean ")
    assert words == f"{flag_name(spec.flag)}: expected one of {names}, got {value!r}"
    assert meant.rstrip("?") in ("", *spec.names)


def test_a_choice_that_is_nearly_a_name_is_answered_with_it():
    assert refused(quant="int3") == "quant: expected one of none, int8, int4, nf4, got 'int3', did you mean int8?"
    assert refused(method="lta").endswith("got 'lta', did you mean lte?")
    assert (
        refused(topology="ring")
        == "topology: expected one of default, auto, allgather, allreduce, server, got 'ring'"
    )


def test_a_path_is_data_and_comes_back_as_it_was(tmp_path):
    config = Config(data=tmp_path / "mine.npz")  # a Path is as good as text
    assert config.data.path == config.flat()["data"] == str(tmp_path / "mine.npz")
    assert Config(**config.flat()) == config and config.own() == {"data": str(tmp_path / "mine.npz")}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(head_ranks=(4, 4)), "head-ranks: expected a rank for each of 8 heads, got 2"),
        (dict(alpha=1e20), "alpha: expected alpha / rank of at most 1e+06, got 3.125e+18"),
        (dict(alpha=4e6, rank=2), "got 2e+06"),
        (dict(alpha=4e6, rank=2, scaling="sqrt-rank"), "alpha: expected alpha / sqrt-rank of at most 1e+06"),
        (dict(alpha=4e6, heads=2, head_ranks=(8, 2)), "got 2e+06"),
        (dict(batch=7), "batch: expected at least one sample for each of 8 heads, got 7"),
        (dict(nesterov=True, momentum=0.9), "belongs to --optimizer sgd"),
        (dict(nesterov=True, optimizer="sgd"), "nesterov: expected a --momentum above 0"),
        (dict(quant="int4", quant_block=48), "quant-block: expected a power of two, got 48"),
        (dict(heads=2, shares=(0.5, 0.4)), "shares: expected 2 shares of at least 0 that sum to 1, got 0.5, 0.4"),
        (dict(heads=2, shares=(1.0,)), "shares: expected 2 shares"),
        (dict(heads=2, method="fedit", head_ranks=(1, 2)), "one rank for all heads: --head-ranks of equal"),
        (dict(topology="server", grace=1.0), "grace: expected a --quorum, without which all are waited for"),
        (
            dict(topology="server", bad_heads="skip", quorum=9),
            "quorum: expected at most the 8 heads there are, got 9",
        ),
        (dict(topology="server", bad_heads="skip", quorum=2, versus="full"), "versus: "),
        (dict(data={"lr": 1}), "data: expected one of fashion-mini, fashion-mnist, least-squares, got {'lr': 1}"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_each_other_are_refused(values, message):
    assert message in refused(**values)


def test_heads_on_the_same_data_may_be_more_than_samples():
    assert Config(batch=7, head_data="same").batch == 7


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().lr = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().optimizer.lr = 2


# ---------------------------------------------------------------- other settings of the same run


@given(configs(), st.sampled_from([cls for cls in PARTS.values() if PLACES[cls.place].flag]))
def test_a_choice_is_replaced_with_what_belongs_to_it_and_the_rest_stays(config, cls):
    try:
        made = config.replace(**chosen(cls))
    except BadInput:
        return  # they do not fit
    before, after = config.flat(), made.flat()
    assert after[PLACES[cls.place].flag] == chosen(cls)[PLACES[cls.place].flag]
    known = knobs(type(made.parts[cls.place])) | {name: None for part in made.parts.values() for name in knobs(part)}
    assert after.keys() == known.keys() | {
        spec.flag for place, spec in PLACES.items() if spec.flag and place in made.parts
    }
    for name in before.keys() & after.keys() - chosen(cls).keys():
        assert after[name] == before[name]


def test_a_baseline_merges_nothing():
    config = Config(
        quant="nf4", wire="bfloat16", local_steps="stacked", shares=(1 / 8,) * 8, versus="full", batch=64, seed=3
    )
    plain = config.replace(method="full", versus="none")
    assert plain == Config(method="full", batch=64, seed=3)
    assert plain.parts.keys().isdisjoint({"quant", "wire", "rule", "local_steps", "adapters", "guard"})


def test_what_is_asked_for_must_fit_what_stays():
    config = Config(method="full")
    with pytest.raises(BadInput, match="^rank: belongs to --method "):
        config.replace(rank=3)
    with pytest.raises(BadInput, match="^unknown setting 'stesp', did you mean steps?"):
        config.replace(stesp=3)
    with pytest.raises(BadInput, match="^steps: expected a whole number"):
        config.replace(steps=2.5)


def test_two_runs_are_the_same_where_all_their_settings_are():
    assert Config(method="lte", rank=32) == Config() != Config(rank=31)
    assert Config(topology="server") != Config(topology="allgather")


# ---------------------------------------------------------------- names


def test_all_settings_are_the_choices_and_the_knobs():
    choices = {spec.flag for spec in PLACES.values() if spec.flag}
    assert set(all_settings()) == choices | {knob.name for _, knob in KNOBS.values()}
    assert len(set(all_settings())) == len(all_settings())


def test_a_near_name_is_offered_and_a_far_one_is_not():
    assert nearest("hedas", all_settings()) == ", did you mean heads?" and nearest("zzz", all_settings()) == ""
    assert nearest(3, all_settings()) == ""
