"""Flags and files of settings: every way in gives the same values, and nothing is guessed."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import KNOBS, configs, words

from minilte.commands import report, verify
from minilte.commands.train import Options
from minilte.core.errors import BadInput
from minilte.settings.config import Config
from minilte.settings.flags import parse, parser
from minilte.settings.knob import flag_name, item_type
from minilte.settings.part import every_part
from minilte.settings.places import PLACES

MADE = parser("prog", "what it does", settings=True)
FIELDS = {knob.name: knob for _, knob in KNOBS.values()}.values()
CHOICES = {place: spec for place, spec in PLACES.items() if spec.flag}
FLAGS = {option for action in MADE._actions for option in action.option_strings if option.startswith("--")}
NUMBERS = [f"--{flag_name(knob.name)}" for knob in FIELDS if item_type(knob.type)[0] in (int, float)]


def refused(argv):
    with pytest.raises(BadInput) as caught:
        parse(MADE, argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(configs())
def test_any_settings_written_as_flags_are_read_as_the_same(config):
    assert Config(**parse(MADE, words(**config.flat()))) == config


def test_what_is_not_given_is_absent():
    assert parse(MADE, []) == {} and parse(MADE, ["--lr", "0.5"]) == {"lr": 0.5}


def test_every_field_has_its_flag_and_every_switch_its_opposite():
    plain = {f"--{flag_name(knob.name)}" for knob in FIELDS} | {
        f"--{flag_name(one.flag)}" for one in CHOICES.values()
    }
    opposites = {f"--no-{flag_name(knob.name)}" for knob in FIELDS if knob.type is bool}
    assert FLAGS == plain | opposites | {"--help"}


def test_no_part_of_a_flag_stands_for_it():
    for flag in FLAGS:
        for length in range(3, len(flag)):
            if (part := flag[:length]) not in FLAGS:
                assert refused([part, "1"]).startswith(f"{part}: unknown option")


@pytest.mark.parametrize("again", ["--lr=2", "--lr"])
def test_a_flag_is_given_once(again):
    assert refused(["--lr", "1", again, "2"][: 4 - ("=" in again)]) == "--lr: given twice; give it once"


@pytest.mark.parametrize("pair", ["--bias --no-bias", "--no-bias --bias", "--no-bias --no-bias"])
def test_a_switch_and_its_opposite_are_one_flag(pair):
    assert refused(pair.split()) == "--bias: given twice; give it once"


@given(st.sampled_from(NUMBERS), st.text() | st.from_regex(r"[+-]?[0-9._eEnaif]{1,6}", fullmatch=True))
def test_any_text_for_a_number_is_a_plain_number_or_refused_by_the_flag(flag, text):
    try:
        (value,) = parse(MADE, [f"{flag}={text}"]).values()
    except BadInput as error:
        assert str(error).startswith(f"{flag}: expected ") and "\n" not in str(error)
    else:
        assert re.fullmatch(r"[-+.,0-9eE]*", text) and isinstance(value, (int, float, list))


@pytest.mark.parametrize("text", ["1_0", "nan", "inf", " 8", "8 ", "\u0668", "0x8", "1e", "", "8\n"])
def test_what_python_reads_as_a_number_and_people_do_not_is_refused(text):
    assert refused([f"--lr={text}"]) == f"--lr: expected a number, got {text!r}"
    assert refused([f"--heads={text}"]) == f"--heads: expected a whole number, got {text!r}"


@pytest.mark.parametrize("text", ["5,,4", ",5", "5,", ","])
def test_a_list_with_a_hole_is_refused(text):
    assert refused([f"--widths={text}"]).startswith("--widths: expected a whole number, got ''")


LISTED = [f"--{flag_name(knob.name)}" for knob in FIELDS if isinstance(knob.default, (str, tuple))]


@pytest.mark.parametrize("flag", [*LISTED, *(f"--{flag_name(one.flag)}" for one in CHOICES.values())])
@pytest.mark.parametrize("glue", ["=", " "])
def test_an_empty_value_is_refused_for_it_would_mean_that_none_is_given(flag, glue):
    argv = f"{flag}{glue}".split(" ")
    assert refused(argv) == f"{flag}: expected a value, got nothing; leave it out, or name one"


def test_an_empty_word_is_refused_and_no_word_is_not():
    made = parser("prog", "what it does", report.Options)
    with pytest.raises(BadInput, match="^RUN: expected a value, got nothing"):
        parse(made, ["a", ""])
    made = parser("prog", "what it does", verify.Options)
    assert "laws" not in {name for name, value in parse(made, []).items() if value}
    with pytest.raises(BadInput, match="^L1: expected a value, got nothing"):
        parse(made, [""])


@pytest.mark.parametrize("text", ["-1", "-.5", "-1e-3", "-inf", "-x"])
def test_what_looks_like_a_short_flag_is_refused_by_the_flag_before_it(text):
    try:
        assert parse(MADE, ["--lr", text]) == {"lr": float(text)}
    except BadInput as error:
        assert str(error).startswith("--lr: expected one argument")


def test_a_number_of_any_length_is_read_or_refused_in_one_line():
    assert refused(["--rank=" + "1" * 5000]).startswith("--rank: expected a whole number")


@given(st.lists(st.text() | st.sampled_from(sorted(FLAGS - {"--help"})), max_size=4))
def test_any_command_line_gives_values_or_one_line(argv):
    if "-h" in argv or any(word.startswith("--h") for word in argv):
        return  # argparse prints the help itself
    try:
        parse(MADE, argv)
    except BadInput as error:
        assert "\n" not in str(error)


def test_the_help_names_every_flag_default_and_choice_in_plain_ascii():
    text = MADE.format_help()
    assert text.isascii()  # a terminal of any encoding can show it
    joined = " ".join(text.split())
    for knob in FIELDS:
        assert f"--{flag_name(knob.name)}" in text
        assert knob.metadata["help"] in joined
        assert ", ".join(knob.metadata.get("choices", ())) in joined
    for spec in CHOICES.values():
        names = ", ".join(name for name in spec.names if name != spec.other)
        line = f"--{flag_name(spec.flag)} NAME {spec.help} [{spec.default}] ({names})"
        assert line.replace(" ", "") in "".join(text.split())  # lines break at hyphens too


def test_the_help_is_grouped_by_part_and_says_whose_a_flag_is():
    text = parser("prog", "what it does", Options, settings=True).format_help()
    titles = [f"\n{spec.title}:\n" for spec in PLACES.values()]
    assert sorted(titles, key=text.index) == titles and text.index("where it lives and how it speaks:") > text.index(
        titles[-1]
    )
    joined = " ".join(text.split())
    assert "part of a head's change that is kept; of ties [0.2]" in joined
    assert "heads that suffice for a merge; who misses it is left out; 0: all; of server [0]" in joined
    assert "fraction of the steps with a rising rate [0.05]" in joined  # every schedule has it
    for place in PLACES:
        for cls in every_part(place):
            assert cls.name in joined or cls.name == PLACES[place].other


def test_a_near_flag_is_offered_and_a_far_one_is_not():
    assert refused(["--hedas", "3"]) == "--hedas: unknown option, did you mean --heads?; --help lists all"
    assert refused(["--zzz", "3"]) == "--zzz: unknown option; --help lists all"


def test_a_command_without_settings_has_its_own_flags_alone():
    made = parser("prog", "what it does", Options)
    assert parse(made, ["--quiet", "--out", "x"]) == {"quiet": True, "out": "x"}
    options = {option for action in made._actions for option in action.option_strings if option.startswith("--")}
    switches = {f"--no-{flag_name(knob.name)}" for knob in dataclasses.fields(Options) if knob.type is bool}
    assert options == {f"--{flag_name(knob.name)}" for knob in dataclasses.fields(Options)} | switches | {"--help"}
