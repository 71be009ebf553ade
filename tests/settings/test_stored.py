"""Settings that were written down: the config.json of a run folder, and a user's TOML file."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import configs

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.settings.config import Config, all_settings, defaults
from minilte.settings.knob import flag_name
from minilte.settings.stored import FORMAT, absolute, read_settings, read_toml, write_settings


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def no_run(path):
    with pytest.raises(BadInput) as caught:
        read_settings(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(configs())
def test_the_settings_of_a_run_folder_are_those_it_was_created_with(run, config):
    write_settings(run, config)
    assert read_settings(run) == config


def test_a_run_folder_says_its_format_and_all_its_settings(run):
    write_settings(run, config := Config(data="least-squares", steps=3))
    written = json.loads((run / "config.json").read_text())
    assert written.pop("seal") == folder.seal(written)
    assert written == {"format": FORMAT} | json.loads(json.dumps(config.flat()))


@pytest.mark.parametrize("other", [{}, {"format": 1}, {"format": 3}, {"format": "2"}, {"format": None}], ids=str)
def test_a_run_folder_of_another_format_gets_one_clear_line(run, other):
    old = {"data": "least-squares", "model": "linear", "correction": "factors", "stack": 1, "steps": 6}
    (run / "config.json").write_text(json.dumps(old | other))
    found = other.get("format", 1)
    assert no_run(run) == (
        f"{run}/config.json: a run folder of format {found!r}, expected 2; read it with the minilte that wrote it"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"format": FORMAT, "stesp": 3},
            "/config.json: unknown key 'stesp'; expected the settings that minilte wrote",
        ),
        ({"format": FORMAT, "steps": "many"}, "steps: expected a whole number, got 'many'"),
        ({"format": FORMAT, "method": "full", "rank": 3}, "rank: belongs to --method "),
        ([], "/config.json: not the JSON that minilte wrote (no object)"),
        ({"format": FORMAT, "lr": 0}, "lr: expected a number above 0"),
        ({"format": FORMAT, "bias": 1}, "bias: expected true or false"),
    ],
    ids=str,
)
def test_settings_that_minilte_did_not_write_are_refused_by_name(run, content, message):
    (run / "config.json").write_text(json.dumps(content))
    assert message in no_run(run)


def test_settings_left_out_have_their_default(run):
    (run / "config.json").write_text(json.dumps({"format": FORMAT, "lr": 0.5}))
    assert read_settings(run) == Config(lr=0.5)


def test_what_is_no_run_folder_is_refused_by_name(tmp_path):
    assert no_run(tmp_path / "gone") == f"{tmp_path}/gone: no such folder; give the folder of a run"
    assert no_run(tmp_path).endswith(
        "config.json: cannot be read: No such file or directory; expected a run folder of minilte"
    )
    (tmp_path / "away").symlink_to("/etc")
    assert "away: a link that leads out of the run folder" in no_run(tmp_path)


# ---------------------------------------------------------------- files of settings


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("toml") / "run.toml"


def bad_file(file, content):
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput) as caught:
        read_toml(str(file))
    assert str(caught.value).startswith(f"config {file}: ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_gives_what_flags_give(file):
    file.write_text('merge-every = 5\nlr = 1e-2\nbias = false\nwidths = [3, 4]\nmethod = "fedavg"')
    expected = Config(merge_every=5, lr=1e-2, bias=False, widths=(3, 4), method="fedavg")
    assert Config(**read_toml(str(file))) == expected != Config()


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.text("alrbsetp=[]{}.'\"\n#0123456789_-einfnat", max_size=40).map(str.encode)
)
def test_any_content_gives_settings_or_one_line_that_names_the_file(file, content):
    file.write_bytes(content)
    try:
        values = read_toml(str(file))
    except BadInput as error:
        assert str(error).startswith(f"config {file}: ") and "\n" not in str(error)
    else:
        assert values.keys() <= set(all_settings())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lrr = 1", "unknown key 'lrr', did you mean lr?"),
        ("zzz = 1", "unknown key 'zzz'"),
        ("out = 'x'", "unknown key 'out'"),
        ("path = 'x'", "unknown key 'path'"),
        ("a." * 40 + "b = 1", "not a TOML file"),
        ("lr = 1\nlr = 2", "not a TOML file"),
        ("merge-every = 1\nmerge_every = 2", "'merge_every' is given twice, with a hyphen and with an "),
        ("merge_every = 1\nmerge-every = 2", "'merge-every' is given twice, with a hyphen and with an "),
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
    with pytest.raises(BadInput, match="^config .*: data: expected one of .*, got {'lr': 1}"):
        Config(**read_toml(str(file)))


@pytest.mark.parametrize("place", ["missing.toml", "", "file/under"])
def test_what_cannot_be_opened_is_refused_by_name(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="^config .*: "):
        read_toml(str(tmp_path / place))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lr = 0", "lr: expected a number above 0, got 0"),
        ("heads = 1.5", "heads: expected a whole number, got 1.5"),
        ('method = "lro"', "method: expected one of full, "),
        ('data = ""', "data: expected a value, got nothing"),
        ('quant_rounding = "up"', "quant-rounding: expected one of "),
        ("widths = [3, 0]", "widths: expected a whole number of at least 1, got 0"),
        ("widths = 3", ""),
        ("density = 0.3", ""),  # of a part that a flag may choose
    ],
)
def test_a_value_that_no_setting_takes_is_refused_where_it_stands_though_a_flag_may_win(file, content, message):
    if message:
        assert f"config {file}: {message}" in bad_file(file, content)
    else:
        file.write_text(content)
        assert len(read_toml(str(file))) == 1


@pytest.mark.parametrize("name", [name for name, usual in defaults().items() if isinstance(usual, (str, tuple))])
def test_an_empty_value_is_refused_by_its_name(file, name):
    for empty in ('""', "[]", '[""]'):
        assert f"{flag_name(name)}: expected a value, got nothing; leave it out, or name one" in bad_file(
            file, f"{name} = {empty}"
        )


def test_a_file_is_small(file):
    begun = time.monotonic()
    assert "expected at most 262144" in bad_file(file, "[[a]]\n" * 100_000)
    bad_file(file, "[[a]]\n" * 40_000)
    assert time.monotonic() - begun < 5  # seconds; it takes tenths


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="no /proc on this system")
def test_a_file_that_says_that_it_is_empty_and_is_not_is_no_settings():
    with pytest.raises(BadInput, match="^config /proc/self/environ: more bytes than the 0 of its size"):
        read_toml("/proc/self/environ")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="^config .*pipe: "):
        read_toml(str(tmp_path / "pipe"))


@pytest.mark.parametrize("change", [dict(lr=0.5), dict(heads=4), dict(seal="0" * 64), dict(seal=None)], ids=str)
def test_settings_changed_since_minilte_wrote_them_are_refused(run, change):
    write_settings(run, config := Config(data="least-squares"))
    file = run / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert no_run(run).startswith(f"{run}/config.json: changed since minilte wrote it (its seal is broken)")
    write_settings(run, config)
    written = json.loads(file.read_text())
    del written["seal"]  # a folder of before there were seals
    file.write_text(json.dumps(written))
    assert read_settings(run) == config


def test_a_folder_that_is_no_run_is_not_walked_through(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "away").symlink_to("/etc")
    assert "config.json: cannot be read" in no_run(tmp_path)


def test_paths_are_kept_absolute_and_what_is_no_path_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = absolute(Config(data="a/../x.csv", init_from="w.safetensors", target="x.csv"))
    assert (made.data.path, made.init_from, made.target) == (
        f"{tmp_path}/x.csv",
        f"{tmp_path}/w.safetensors",
        "x.csv",
    )
    above = Config(data="../x.csv", init_from="../w.safetensors", target="x.csv")
    assert absolute(made) == made == absolute(above, f"{tmp_path}/b")
    assert absolute(Config(data="fashion-mnist", data_dir="d")).flat()["data_dir"] == f"{tmp_path}/d"
    named = Config(data="fashion-mini", steps=3)
    assert absolute(named) is named
