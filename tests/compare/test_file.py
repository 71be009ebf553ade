"""A ladder in a file: what it says is what is climbed, and what is wrong is said in one line that names the place."""

import pytest

from minilte.compare.entrants import entry
from minilte.compare.file import read_ladder
from minilte.core.errors import BadInput


def read(tmp_path, text):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return read_ladder(str(file))


def test_a_file_is_rules_shared_settings_and_entries_in_their_order(tmp_path):
    entries, settings = read(
        tmp_path,
        """
        seeds = 3
        tune-seeds = 1
        rates = [0.1, 0.2]
        steps = 40
        merge-every = 4
        [entries.full]
        parts = "full+muon"
        [entries."LTE, wide"]
        parts = "lte+outer"
        rank = 6
        grid = {lr = [0.01], outer-momentum = [0.5, 0.9]}
        [entries.plain]
        method = "lte"
        """,
    )
    assert settings == dict(seeds=3, tune_seeds=1, rates=[0.1, 0.2], steps=40, merge_every=4)
    assert list(entries) == ["full", "LTE, wide", "plain"]
    assert entries["full"] == entry("full+muon") and entries["plain"] == entry(method="lte")
    assert entries["LTE, wide"] == entry("lte+outer", rank=6, grid={"lr": [0.01], "outer_momentum": [0.5, 0.9]})


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("steps = 1\nsteps = 2\n[entries.a]\nparts = 'lte'", "not a TOML file"),
        ("[entries.a]\nparts = 'lte'\n[entries.a]\nparts = 'full'", "not a TOML file"),
        ("steps = 1", "expected [entries.NAME] tables"),
        ("entries = 3", "expected [entries.NAME] tables"),
        ("[entries]\na = 1", "a: expected a table"),
        ("stesp = 1\n[entries.a]\nparts = 'lte'", "unknown key 'stesp', did you mean steps?"),
        ("[entries.a]\nparts = 'lti'", "a: method: no method 'lti', did you mean lte?"),
        ("[entries.a]\nparts = 'lte'\nrnak = 3", "a: unknown key 'rnak', did you mean rank?"),
        ("[entries.a]\nparts = 'lte'\nrank = 0", "a: rank: expected"),
        ("[entries.a]\nparts = 'lte'\ngrid = 3", "a: grid: expected a table of lists"),
        ("[entries.a]\nparts = 3", "a: parts: expected text"),
        ("merge-every = 1\nmerge_every = 2\n[entries.a]\nparts = 'lte'", "given twice"),
        ("tune-seeds = 1\ntune_seeds = 2\n[entries.a]\nparts = 'lte'", "given twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, complaint):
    with pytest.raises(BadInput) as trouble:
        read(tmp_path, text)
    words = str(trouble.value)
    assert words.startswith("ladder ") and "mine.toml" in words and complaint in words and "\n" not in words


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="^ladder .*nothing.toml: cannot be read"):
        read_ladder(str(tmp_path / "nothing.toml"))
