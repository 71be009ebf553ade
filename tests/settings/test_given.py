"""Parts of a program's own: in the place of any that a name stands for, and empty when they come from a file."""

import pytest

from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.core.networks import mlp
from minilte.settings.config import Config
from minilte.settings.given import MAY, OWN, Given


@pytest.mark.parametrize("place", [place for place in MAY if place not in ("method", "network")])
def test_what_is_given_is_what_is_built(place):
    config = Config().holding(**{place: len})
    assert config.parts[place] == Given(place, len) and config.parts[place].build("anything") is len
    assert config.parts[place].load(0, "float32") is len
    assert Config().parts[place] != config.parts[place]  # what it was made from is as it was


def test_a_method_is_made_of_the_task_and_the_settings():
    asked, made = [], Method(*[None] * 12)
    config = Config().holding(method=lambda *of: (asked.append(of), made)[1])
    assert config.method.build("task", config) is made and asked == [("task", config)]
    with pytest.raises(BadInput, match="^method: expected a function of .* that returns a Method, got 'a word'"):
        Config().holding(method=lambda task, config: "a word").method.build("task", config)


@pytest.mark.parametrize(
    ("widths", "loss", "words"),
    [
        ((4, 3), "squared-error", "its loss is squared-error, the data need cross-entropy"),
        ((5, 3), "cross-entropy", "takes no rows of 4 numbers, as the data have"),
        ((4, 3, 2), "cross-entropy", "gives 2 numbers a row, expected 3, as the data have"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused(widths, loss, words):
    build = Config().holding(network=mlp(widths, loss=loss)).network.build
    with pytest.raises(BadInput, match=f"^net: {words}"):
        build(4, 3, "cross-entropy")
    assert build(widths[0], widths[-1], loss).loss == loss


@pytest.mark.parametrize("place", MAY)
def test_from_a_file_it_comes_empty_and_says_so_where_it_is_used(place):
    config = Config(**Config().holding(**{place: len}).flat())
    flag = {"network": "model", "rule": "merge-rule"}.get(place, place)
    assert config.parts[place] == Given(place) and config.parts[place].name == OWN
    with pytest.raises(
        BadInput, match=f"^{flag}: this run has one of its own, which the program that made it must give"
    ):
        config.parts[place].build()


def test_a_method_of_ones_own_keeps_the_settings_that_it_can_read():
    for config in (Config(method="full"), Config(rank=3, heads=2), Config(method="lora", rank=2)):
        held = config.holding(method=len)
        assert Config(**held.flat()).flat() == held.flat() and held.parts.keys() <= config.parts.keys()
        assert held.replace(steps=3).flat() == held.flat() | {"steps": 3} and held.heads == config.heads
        assert "rule" not in held.parts and ("adapters" in held.parts) == ("adapters" in config.parts)


@pytest.mark.parametrize(
    "values", [dict(merge_every=3), dict(merge_rule="ties"), dict(quant="nf4"), dict(method="diloco", outer_rate=0.5)]
)
def test_a_setting_that_a_method_of_ones_own_would_not_read_is_refused(values):
    name = list(values)[-1].replace("_", "-")
    with pytest.raises(BadInput, match=f"^{name}: a method of your own does not read it, got "):
        Config(**values).holding(method=len)
    with pytest.raises(BadInput, match="^rule: a method of your own takes none"):
        Config().holding(method=len, rule=len)


def test_what_was_given_stays_in_other_settings_of_the_run_until_its_place_is_filled_anew():
    held = Config().holding(data=len, rule=len)
    assert held.replace(steps=3).data == Given("data", len)
    assert held.replace(data="fashion-mini", steps=3).data.name == "fashion-mini"
    assert "rule" not in held.replace(method="full").parts
    outer = Config(merge_rule="outer", outer_over="ties", density=0.3).holding(rule=len)  # with what the rule brings
    assert outer.flat() == held.flat() | {"data": "fashion-mini"} and Config(**outer.flat()).flat() == outer.flat()
    assert Config().replace(data=OWN).data == Given("data")  # named, and not given


@pytest.mark.parametrize("flag", ["optimizer", "quant", "topology", "wire", "bad_heads", "local_steps"])
def test_no_other_place_can_be_given(flag):
    with pytest.raises(BadInput, match=f"^{flag.replace('_', '-')}: expected one of .*, got 'own'"):
        Config(**{flag: "own"})


def test_what_has_no_place_in_the_run_is_refused():
    with pytest.raises(BadInput, match="^rule: method full takes none, got "):
        Config(method="full").holding(rule=len)
    with pytest.raises(BadInput, match="^optimizer: "):
        Config().holding(optimizer=len)
    assert Config(method="full").holding(rule=None).parts == Config(method="full").parts


def test_a_data_set_of_ones_own_gives_nothing_that_a_method_must():
    with pytest.raises(BadInput, match="^topology allgather: needs a method that merges factors"):
        Config(**Config(method="full").holding(data=len).flat() | {"topology": "allgather"})
