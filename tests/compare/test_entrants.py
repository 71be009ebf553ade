"""Entries: what their words choose, what they read of the settings that all share, and what is refused."""

import pytest

from minilte.compare.entrants import OF_ALL, OF_LADDER, entrants, entry, named
from minilte.core.errors import BadInput
from minilte.core.lte import MEAN
from minilte.optimizers.muon import Muon
from minilte.optimizers.sgd import SGD
from minilte.settings.config import Config
from minilte.settings.places import PLACES, RULES

AXES = {"lr": [], "weight_decay": [0.0, 0.1]}


@pytest.mark.parametrize("method", PLACES["method"].names)
def test_every_method_is_an_entry_by_its_name(method):
    (made,) = entrants({method: entry(method)}, {}, AXES)
    assert made.config == Config(method=method) and made.axes["lr"] == list(
        made.config.method.rates or made.config.optimizer.rates
    )


@pytest.mark.parametrize("rule", [name for name in PLACES["rule"].names if name != "gram"])  # that needs a reset
def test_every_rule_is_an_entry_after_a_plus(rule):
    assert entrants({"x": entry(f"lte+{rule}")}, {}, AXES)[0].config.rule.name == rule


@pytest.mark.parametrize("rule", [name for name in RULES if name != "gram"])
def test_a_rule_after_an_outer_step_is_the_rule_inside_it(rule):
    (made,) = entrants({"x": entry(f"lte+outer+{rule}")}, {}, AXES)
    assert (made.config.rule.name, made.config.inner_rule.name) == ("outer", rule)


@pytest.mark.parametrize(
    "words, chosen",
    [
        ("full+muon+server", dict(method="full", optimizer="muon", topology="server")),
        ("lte+bfloat16+server", dict(method="lte", wire="bfloat16", topology="server")),
        ("lte+nf4+server+linear", dict(method="lte", quant="nf4", topology="server", schedule="linear")),
        ("full", dict(method="full")),
        ("lte+full", dict(method="lte", wire="full")),
        ("lte+int8+nf4", dict(method="lte", quant="int8", wire="nf4")),
    ],
)
def test_words_choose_the_parts_of_their_names(words, chosen):
    assert named(words) == chosen


@pytest.mark.parametrize(
    "words, complaint",
    [
        ("lti", "method: no method 'lti', did you mean lte?"),
        ("", "method"),
        ("lte+tis", "no part 'tis', did you mean ties?"),
        ("lte+ties+dare+svd", "no part 'svd'"),
        ("lte+fedavg", "no part 'fedavg'"),
        ("ties", "no method 'ties'"),
    ],
)
def test_words_that_name_nothing_are_refused(words, complaint):
    with pytest.raises(BadInput, match="^(?s:.*)") as trouble:
        named(words)
    assert complaint in str(trouble.value) and "\n" not in str(trouble.value)


def test_an_entry_reads_of_what_all_share_what_belongs_to_it():
    shared = dict(rank=4, alpha=8.0, merge_every=5, steps=30, outer_momentum=0.5)
    full, lte, outer = entrants({name: entry(name) for name in ("full", "lte", "lte+outer")}, shared, AXES)
    assert full.config.own() == {"method": "full", "steps": 30}
    assert (lte.config.rank, lte.config.merge_every) == (4, 5) and "outer_momentum" not in lte.config.flat()
    assert outer.config.rule.outer_momentum == 0.5


def test_what_no_entry_reads_is_refused():
    with pytest.raises(BadInput, match="^rank: belongs to"):
        entrants({"full": entry("full")}, {"rank": 4}, AXES)


def test_what_is_set_is_not_tuned_and_what_has_a_grid_is():
    made = dict(
        a=entry("lte", lr=0.01), b=entry("lte+outer", grid={"outer_momentum": [0.9, 0.5, 0.9]}), c=entry("full+muon"), d=entry("full+sgd")
    )  # fmt: skip
    a, b, c, d = entrants(made, {}, AXES)
    assert a.axes == {"weight_decay": [0.0, 0.1]} and a.config.lr == 0.01
    assert b.axes["outer_momentum"] == [0.5, 0.9] and b.axes["weight_decay"] == [0.0, 0.1]
    assert c.axes["lr"] == list(Muon.rates) and d.axes["lr"] == list(SGD.rates)
    assert entrants({"a": entry("lte")}, {"weight_decay": 0.3}, AXES)[0].axes.keys() == {"lr"}
    assert entrants({"a": entry("lte")}, {}, AXES | {"lr": [0.5, 1.0]})[0].axes["lr"] == [0.5, 1.0]


@pytest.mark.parametrize("name", [*OF_ALL, *(name for name in OF_LADDER if name != "method")])
def test_what_all_share_or_the_ladder_sets_is_not_an_entrys_own(name):
    value = Config().flat().get(name, "somewhere")
    with pytest.raises(BadInput, match=f"^mine: {name.replace('_', '-')}: expected none here"):
        entrants({"mine": entry("lte", **{name: value})}, {}, AXES)


@pytest.mark.parametrize("name", OF_LADDER)
def test_what_the_ladder_sets_is_not_shared(name):
    with pytest.raises(BadInput, match=f"^{name.replace('_', '-')}: expected none here"):
        entrants({"mine": entry("lte")}, {name: Config().flat()[name]}, AXES)


@pytest.mark.parametrize(
    "own, complaint",
    [
        (dict(grid={"lr": []}), "grid of lr: expected a list of numbers"),
        (dict(grid={"lr": 0.1}), "grid of lr: expected a list of numbers"),
        (dict(grid={"lr": ["a"]}), "grid of lr: expected a list of numbers"),
        (dict(grid={"lr": [True]}), "grid of lr: expected a list of numbers"),
        (dict(grid={"lr": [0.0]}), "lr: expected a number above 0"),
        (dict(grid={"rnak": [1.0]}), "unknown setting 'rnak', did you mean rank?"),
        (dict(density=0.3), "density: belongs to"),
        (dict(rank=0), "rank: expected"),
        (dict(words="lte+ties+dare"), "outer-over: belongs to --merge-rule outer"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_by_its_name(own, complaint):
    with pytest.raises(BadInput, match=f"^mine: {complaint}"):
        entrants({"mine": entry(**{"words": "lte"} | own)}, {}, AXES)


def test_parts_of_ones_own_are_kept_by_their_places_and_held_to_their_kinds():
    assert entry("lte", rule=MEAN, schedule=abs).own == {"rule": MEAN, "schedule": abs}
    with pytest.raises(BadInput, match="^rule: expected a Rule"):
        entry("lte", rule=abs)


def test_the_point_of_a_grid_is_admitted_if_the_settings_take_it():
    (made,) = entrants({"x": entry("lte+trimmed")}, {}, AXES)
    assert made.admits({"lr": 0.1}) and not made.admits({"lr": -0.1}) and not made.admits({"trim": 0.7})
    assert made.at({"lr": 0.1}, steps=3).steps == 3 and made.config.steps == Config().steps
