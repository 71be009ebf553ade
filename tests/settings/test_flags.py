"""Flags and files of settings: every way in gives the same values, and nothing is guessed."""

import dataclasses
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import configs, words

from minilte.core.errors import BadInput
from minilte.settings.config import Config
from minilte.settings.knob import flag_name, item_type
from minilte.settings.flags import nearest, parse, parser, read_toml

MADE = parser("prog", "what it does", Config)
FIELDS = dataclasses.fields(Config)
FLAGS = {option for action in MADE._actions for option in action.option_strings if option.startswith("--")}
NUMBERS = [f"--{flag_name(knob.name)}" for knob in FIELDS if item_type(knob.type)[0] in (int, float)]


def refused(argv):
    with pytest.raises(BadInput) as caught:
        parse(MADE, argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(configs())
def test_any_settings_written_as_flags_are_read_as_the_same(config):
    assert Config(**parse(MADE, words(**dataclasses.asdict(config)))) == config


def test_what_is_not_given_is_absent():
    assert parse(MADE, []) == {} and parse(MADE, ["--lr", "0.5"]) == {"lr": 0.5}


def test_every_field_has_its_flag_and_every_switch_its_opposite():
    plain = {f"--{flag_name(knob.name)}" for knob in FIELDS}
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


def test_a_near_name_is_offered_and_a_far_one_is_not():
    assert nearest("--hedas", FLAGS) == ", did you mean --heads?" and nearest("--zzz", FLAGS) == ""


# ---------------------------------------------------------------- files of settings


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("toml") / "run.toml"


def bad_file(file, content):
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput) as caught:
        read_toml(str(file), Config)
    assert str(caught.value).startswith(f"config {file}: ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_gives_what_flags_give(file):
    file.write_text('merge-every = 5\nlr = 1e-2\nbias = false\nwidths = [3, 4]\nmethod = "full"')
    expected = Config(merge_every=5, lr=1e-2, bias=False, widths=(3, 4), method="full")
    assert Config(**read_toml(str(file), Config)) == expected


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.text("alrbsetp=[]{}.'\"\n#0123456789_-einfnat", max_size=40).map(str.encode)
)
def test_any_content_gives_settings_or_one_line_that_names_the_file(file, content):
    file.write_bytes(content)
    try:
        values = read_toml(str(file), Config)
    except BadInput as error:
        assert str(error).startswith(f"config {file}: ") and "\n" not in str(error)
    else:
        assert values.keys() <= {knob.name for knob in FIELDS}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lrr = 1", "unknown key 'lrr', did you mean lr?"),
        ("zzz = 1", "unknown key 'zzz'"),
        ("out = 'x'", "unknown key 'out'"),
        ("lr = 1\nlr = 2", "not a TOML file"),
        ("merge-every = 1\nmerge_every = 2", "'merge_every' is given twice, with a hyphen and with an "),
        ("lr 1", "not a TOML file"),
        (b"\x89PNG\r\n\x1a\n", "not a TOML file"),
        (b"lr = 1 # \xff", "not a TOML file"),
        ("lr = " + "[" * 20_000, "not a TOML file"),
        ("lr = " + "1" * 5000, "not a TOML file"),
    ],
    ids=lambda text: repr(text)[:30],
)
def test_a_file_that_is_wrong_is_refused_by_name(file, content, message):
    assert message in bad_file(file, content)


def test_a_table_where_a_value_belongs_is_refused_by_its_name(file):
    file.write_text("[data]\nlr = 1")
    with pytest.raises(BadInput, match="^data: expected text, got {'lr': 1}"):
        Config(**read_toml(str(file), Config))


@pytest.mark.parametrize("place", ["missing.toml", "", "file/under"])
def test_what_cannot_be_opened_is_refused_by_name(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="^config .*: "):
        read_toml(str(tmp_path / place), Config)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="^config .*pipe: "):
        read_toml(str(tmp_path / "pipe"), Config)
