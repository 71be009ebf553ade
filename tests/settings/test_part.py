"""Parts: what each needs, some other gives; a setting of a part that was not chosen is refused, naming its owners."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import PARTS, chosen

from minilte.core.errors import BadInput
from minilte.settings import part as parts
from minilte.settings.config import Config
from minilte.settings.knob import flag_name, knob
from minilte.settings.part import FACTS, every_part, find, knobs, owners, words_of
from minilte.settings.places import PLACES


def refused(**values):
    with pytest.raises(BadInput) as caught:
        Config(**values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def having(name):
    """The methods that have a setting, as an error lists them."""
    return ", ".join(cls.name for cls in every_part("method") if name in knobs(cls))


def bringing(place):
    """The methods that a place comes with."""
    return ", ".join(cls.name for cls in every_part("method") if place in cls.brings)


@pytest.mark.parametrize("cls", PARTS.values(), ids=PARTS)
def test_a_part_says_what_it_is_and_takes_its_place_when_it_is_chosen(cls):
    assert cls.__doc__ and find(cls.place, cls.name) is cls
    config = Config(**chosen(cls))
    assert type(config.parts[cls.place]) is cls
    assert getattr(config, cls.place) is config.parts[cls.place]
    for word in config.parts[cls.place].needs | config.parts[cls.place].gives:
        assert word in FACTS


def test_what_is_needed_is_given_by_some_part():
    parts = [part for cls in PARTS.values() for part in Config(**chosen(cls)).parts.values()]
    given = frozenset().union(*(part.gives for part in parts))
    assert given >= frozenset().union(*(cls.needs for cls in PARTS.values() if isinstance(cls.needs, frozenset)))


@pytest.mark.parametrize("place", [place for place, spec in PLACES.items() if not spec.always and bringing(place)])
def test_what_a_method_does_not_bring_is_refused_with_the_methods_that_do(place):
    spec, method_of = PLACES[place], {cls.name: cls for cls in every_part("method")}
    names = [spec.flag] if spec.flag else list(knobs(every_part(place)[0]))
    having = [name for name, cls in method_of.items() if place in cls.brings]
    assert having
    for method in method_of.keys() - set(having):
        assert place not in Config(method=method).parts
        for name in names:
            value = spec.default if spec.flag else knobs(every_part(place)[0])[name].default
            assert refused(method=method, **{name: value}) == (
                f"{flag_name(name)}: belongs to --method {', '.join(having)}; leave it out, or choose that"
            )


def test_what_a_rule_does_not_bring_is_refused_with_the_rule_that_does():
    for rule in ("mean", "telescope", "ties"):
        assert "inner_rule" not in Config(merge_rule=rule).parts
        words = "outer-over: belongs to --merge-rule outer; leave it out, or choose that"
        assert refused(merge_rule=rule, outer_over="mean") == words
    config = Config(merge_rule="outer", outer_over="ties", density=0.7)
    assert config.inner_rule.density == config.density == 0.7 and config.rule.name == "outer"
    assert Config(**config.flat()) == config and "inner_rule" not in config.replace(merge_rule="mean").parts


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(stack=4), "stack: belongs to --local-steps stacked; leave it out, or choose that"),
        (dict(quant_block=32), "quant-block: belongs to --quant int8, int4, nf4; leave it out, or choose that"),
        (dict(quant_rounding="stochastic"), "quant-rounding: belongs to --quant int8, int4, nf4; "),
        (dict(quorum=3), "quorum: belongs to --topology server; leave it out, or choose that"),
        (dict(grace=1.0), "grace: belongs to --topology server; leave it out, or choose that"),
        (
            dict(density=0.3),
            "density: belongs to --merge-rule ties or --outer-over ties; leave it out, or choose that",
        ),
        (dict(outer_rate=0.3), "outer-rate: belongs to --method diloco, shared-basis or --merge-rule outer; "),
        (dict(momentum=0.9), "momentum: belongs to --optimizer sgd; leave it out, or choose that"),
        (dict(optimizer="sgd", beta1=0.9), "beta1: belongs to --optimizer adamw, muon; leave it out, or choose that"),
        (dict(nesterov=True), "nesterov: belongs to --optimizer sgd; leave it out, or choose that"),
        (dict(inputs=3), "inputs: belongs to --data least-squares; leave it out, or choose that"),
        (dict(data="x.csv", data_dir="y"), "data-dir: belongs to --data fashion-mnist; leave it out, or choose that"),
        (dict(model="linear", widths=3), "widths: belongs to --model mlp, deep-linear, residual-mlp; "),
        (dict(method="lora", merge_every=3), f"merge-every: belongs to --method {having('merge_every')}; "),
        (dict(method="full", rank=3), f"rank: belongs to --method {bringing('adapters')}; "),
        (
            dict(method="lora", bad_heads="skip"),
            f"bad-heads: belongs to --method {bringing('guard')}; leave it out, or choose that",
        ),
        (
            dict(method="mhlora", quant="nf4"),
            f"quant: belongs to --method {bringing('quant')}; leave it out, or choose that",
        ),
        (dict(method="full", stack=4), "stack: belongs to --local-steps stacked; leave it out, or choose that"),
        (dict(method="full", local_steps="plain"), f"local-steps: belongs to --method {bringing('local_steps')}; "),
        (dict(method="fedavg", shares=(0.5, 0.5)), "shares: belongs to --method lte; leave it out, or choose that"),
    ],
    ids=str,
)
def test_a_setting_of_a_part_that_was_not_chosen_is_refused_with_its_owners(values, message):
    assert refused(**values).startswith(message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            dict(wire="float16", bad_heads="clip"),
            "bad-heads clip: needs --wire full or bfloat16, which carry any number",
        ),
        (dict(topology="allgather", method="full"), "topology allgather: needs a method that merges factors"),
        (dict(topology="auto", method="mhlora"), "topology auto: needs a method that merges factors"),
        (
            dict(topology="allreduce", method="fedex"),
            "topology allreduce: needs a method whose merge needs sums alone",
        ),
        (dict(topology="allreduce", wire="float16"), "wire float16: needs factors that travel: "),
        (dict(topology="allreduce", wire="bfloat16"), "wire bfloat16: needs factors that travel: "),
        (dict(topology="allreduce", quant="nf4"), "quant nf4: needs what every head sends, one by one: "),
        (dict(topology="allreduce", bad_heads="skip"), "bad-heads skip: needs what every head sends, one by one: "),
        (dict(topology="allreduce", merge_rule="telescope"), "merge-rule telescope: needs what every head sends"),
        (dict(topology="allreduce", merge_rule="ties"), "merge-rule ties: needs what every head sends, one by one: "),
        (
            dict(topology="allreduce", merge_rule="outer"),
            "merge-rule outer: needs what every head sends, one by one: ",
        ),
        (dict(quant="nf4", local_steps="absorbed"), "local-steps absorbed: needs --quant none"),
        (dict(quant="nf4", merge_rule="telescope"), "merge-rule telescope: needs --quant none"),
        (dict(local_steps="absorbed", reset="b"), "local-steps absorbed: needs --reset none"),
        (dict(merge_rule="telescope", reset="b"), "merge-rule telescope: needs --reset none"),
        (dict(merge_rule="gram"), "merge-rule gram: needs --reset b or ab"),
        (
            dict(merge_rule="factor-mean", heads=2, head_ranks=(2, 3)),
            "merge-rule factor-mean: needs one rank for all heads",
        ),
        (dict(merge_rule="telescope", bad_heads="skip"), "merge-rule telescope: needs --bad-heads stop"),
        (dict(topology="server", quorum=3), "quorum: needs --bad-heads skip or clip"),
    ],
    ids=str,
)
def test_what_a_part_needs_and_no_other_gives_is_named_with_the_way_to_have_it(values, message):
    assert refused(**values).startswith(message)


def test_no_part_is_asked_for_more_than_it_needs():
    Config(topology="server", method="full")
    Config(topology="allreduce", method="fedavg")
    Config(wire="bfloat16", bad_heads="clip", topology="server", quorum=3)
    Config(local_steps="absorbed", wire="float16", merge_rule="telescope")


@given(st.sampled_from(list(PLACES)), st.data())
def test_owners_name_the_choices_that_take_a_setting(place, data):
    cls = data.draw(st.sampled_from(every_part(place)))
    if not (mine := list(knobs(cls))):
        return
    found = owners(data.draw(st.sampled_from(mine)))
    if flag := PLACES[place].flag:
        name = "PATH" if cls.name == PLACES[place].other else cls.name
        assert any(
            one.startswith(f"--{flag_name(flag)} ") and name in one.split(" ", 1)[1].split(", ") for one in found
        )


def test_a_part_in_words_is_the_flag_that_chose_it():
    config = Config(merge_rule="ties")
    assert words_of(config.rule) == "merge-rule ties" and words_of(config.adapters) == "adapters"


def test_a_new_part_is_a_class_of_knobs_that_is_checked_where_it_is_made(monkeypatch):
    monkeypatch.setattr(parts, "PARTS", {"rule": {}})

    @parts.part("rule", "mine", needs={"each"})
    class Mine:
        """A rule."""

        density: float = knob(0.2, "of what is kept", above=0.0, most=1.0)

        def check(self):
            if self.density == 0.5:
                raise BadInput("density: not a half")

    assert find("rule", "mine") is Mine and Mine(1).density == 1.0
    assert Mine.needs == {"each"} and Mine.gives == frozenset()
    for density in (0.0, 0.5):
        with pytest.raises(BadInput, match="^density: "):
            Mine(density)
