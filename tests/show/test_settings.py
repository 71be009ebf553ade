"""The command in a report asks for the same settings again."""

import dataclasses
import shlex

import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.show.settings import command, settings, words_of
from minilte.settings.config import Config
from minilte.settings.flags import parse, parser


@given(tiny.configs(), st.integers(0, 64))
def test_the_command_gives_the_settings_back(config, ranks):
    words = shlex.split(command(config, {"ranks": ranks}))
    start = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    assert words[: len(start) + 3] == [*start, "python", "-m", "minilte.train"]
    assert Config(**parse(parser("prog", "", Config), words[len(start) + 3 :])) == config


def test_what_is_said_of_ranks_must_be_a_number():
    assert command(Config(), {"ranks": "8; rm"}) == command(Config(), {}) == "python -m minilte.train"


def test_every_setting_is_told_once():
    text = "".join(part.text for part in settings(tiny.config()))
    for field in dataclasses.fields(Config):
        assert text.count(f"<code>--{field.name.replace('_', '-')}</code>") == 1


def test_values_read_as_a_person_writes_them():
    assert [words_of(value) for value in ((), (3, 4), True, False, "", 0.001, 8)] == [
        "none", "3, 4", "yes", "no", "none", "0.001", "8",
    ]  # fmt: skip
