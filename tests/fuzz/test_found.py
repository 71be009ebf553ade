"""What fuzzing has found, in its shortest form: each was a foreign exception, a second line, a hang or a full memory."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tiny
from fuzz.inputs import npy_of, saved
from fuzz.readers import CONFIG, LIKE, STATE, sealed
from safetensors.numpy import save

from minilte.core.errors import BadInput, DiskTrouble
from minilte.data.idx import IMAGES, read_idx
from minilte.data.sources import load
from minilte.disk import folder
from minilte.disk.files import TEXT
from minilte.disk.weights import read_weights
from minilte.job import checkpoint, result
from minilte.run.machine import changed
from minilte.settings import stored
from minilte.settings.config import Config
from minilte.settings.flags import parse, parser
from minilte.settings.stored import LARGEST, read_toml
from minilte.show.page import read_all


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(read, *words) -> None:
    with pytest.raises(BadInput) as caught:
        read()
    assert len(str(caught.value).splitlines()) == 1
    for word in words:
        assert word in str(caught.value)


def put(name: str, content: bytes | str) -> str:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("argv", [["--\n"], ["--a\u2028b=1"], ["a\nb"], ["-x\r"], ["--lr=1", "\x1e"]], ids=repr)
def test_a_line_break_in_a_word_stays_out_of_the_line(argv):
    refused(lambda: parse(parser("p", "", settings=True), argv), repr(argv[-1])[1:-1].split("=")[0])


def test_a_key_of_100_000_parts_is_refused_at_once():
    refused(lambda: read_toml(put("a.toml", "a" + ".a" * 100_000)), "a.toml: not a TOML file")


@pytest.mark.parametrize(
    "text", ["data" + ".a" * 3000 + "=1", "[data" + ".a" * 3000 + "]", "data.'a'" + ' . "a"' * 40 + "=1"]
)
def test_a_deep_key_is_refused(text):
    refused(lambda: read_toml(put("a.toml", text)), "a.toml: not a TOML file")


@pytest.mark.parametrize("text", ["data = '../../a.b/../c.d.e'", "shares = [0.5, 0.25, 0.25]"])
def test_dots_in_values_pass(text):
    read_toml(put("a.toml", text))


def test_a_number_too_long_to_show_is_refused_by_its_field():
    refused(
        lambda: Config(rank=10**5000), "rank: expected a whole number of at most 1e+09, got a whole number too long"
    )


def test_a_list_too_deep_to_show_is_refused_by_its_field():
    deep = []
    for _ in range(5000):
        deep = [deep]
    refused(lambda: Config(data=deep), "data: expected one of ", "got list too long to show")
    refused(lambda: Config(shares=deep), "shares: expected a number, got list too long to show")
    refused(lambda: Config(dtype=deep), "dtype: expected text, got list too long to show")


@pytest.mark.parametrize(
    ("read", "most"), [(lambda: read_toml("big"), LARGEST), (lambda: folder.read_json(Path("big")), TEXT)]
)
def test_a_file_larger_than_any_settings_is_refused_unread(read, most):
    with open("big", "wb") as file:
        file.truncate(2**40)  # without a byte on disk
    refused(read, f"big: {2**40} bytes, expected at most {most}")


# ---------------------------------------------------------------- data


@pytest.mark.parametrize("name", ["\ud800.csv", "\ud800.npz", "a\0.csv"], ids=ascii)
def test_a_path_that_no_system_has_is_refused(name):
    refused(lambda: load(name), "expected a path without a zero byte")


@pytest.mark.parametrize("shape", ["(" + "1," * 65 + ")", "(True,)"])
def test_an_array_of_65_axes_or_of_a_true_length_is_refused(shape):
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    x = b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + bytes(8)
    assert npy_of(np.ones(1))[:8] == x[:8]
    import zipfile

    with zipfile.ZipFile("t.npz", "w") as archive:
        archive.writestr("x.npy", x)
        archive.writestr("y.npy", npy_of(np.ones(1)))
    refused(lambda: load("t.npz"), "t.npz: array x has shape", "expected at most 64 whole numbers")


def test_a_small_npz_that_would_fill_the_memory_is_refused_unpacked():
    content = saved(x=np.zeros((8, 2 * 10**6)), y=np.arange(8))
    refused(lambda: load(put("t.npz", content)), "declare to unpack to 128", "expected at most 200 times as many")


def test_a_small_gzip_that_would_fill_the_memory_is_refused_unpacked():
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(struct.pack(">4I", IMAGES, 100, 1000, 1000))]
    parts += [packer.compress(bytes(10**6)) for _ in range(100)]
    content = b"".join([*parts, packer.flush()])
    refused(lambda: read_idx(put("a.gz", content), IMAGES), "declare to unpack to 100000000")


# ---------------------------------------------------------------- the run folder


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b"], ids=ascii)
def test_no_folder_has_such_a_name(path):
    refused(lambda: folder.create(Path(path)), "out 'a", "expected a path")
    refused(lambda: stored.read_settings(Path(path)), "no such folder")
    refused(lambda: read_all([Path(path)]), "expected a path")


def test_a_key_with_a_line_break_is_shown_on_one_line():
    Path("run").mkdir()
    put("run/config.json", '{"format": 2, "a\\nb": 1}')
    refused(lambda: stored.read_settings(Path("run")), r"unknown key 'a\nb'")


def test_a_log_that_is_a_folder_is_refused():
    Path("metrics.jsonl").mkdir()
    refused(lambda: folder.read_lines(Path("metrics.jsonl")), "metrics.jsonl: expected a file")


@pytest.mark.parametrize("read", [folder.read_json, folder.read_lines, lambda path: read_weights(path, LIKE)])
def test_a_pipe_is_refused_and_not_waited_for(read):
    os.mkfifo("pipe")
    refused(lambda: read(Path("pipe")), "pipe: expected a file")


def test_a_line_longer_than_any_record_is_refused():
    with open("metrics.jsonl", "wb") as file:
        file.truncate(2**40)
    refused(lambda: folder.read_lines(Path("metrics.jsonl")), f"metrics.jsonl: a line of more than {TEXT} bytes")


@pytest.mark.parametrize("name", ["kernel", "numpy"])
def test_a_machine_with_an_odd_name_is_told_on_one_line(name):
    now = {"numpy": "2", "blas": "b", "kernel": "k", "blas_threads": 1, "machine": "m"}
    (told,) = changed(now | {name: "a\nb"}, now)
    assert told == rf"{name} 'a\nb' -> {now[name]}"


@pytest.mark.parametrize(
    "odd", [{"inputs": None}, {"inputs": 10**12}, {"outputs": True}, {"classes": "2"}, {"inputs": 0}, {"classes": -1}]
)
def test_sizes_in_a_summary_that_none_can_have_are_refused(odd):
    tiny.go_on(tiny.begin(Path("run")))
    put("run/summary.json", json.dumps(tiny.the_summary(Path("run")) | odd))
    refused(lambda: result.load("run"), f"summary.json: {next(iter(odd))} is ")


def test_sizes_in_a_summary_that_are_not_those_of_the_weights_cost_no_memory():
    tiny.go_on(tiny.begin(Path("run")))
    put("run/summary.json", json.dumps(tiny.the_summary(Path("run")) | {"inputs": 10**9}))
    refused(lambda: result.load("run"), "final.safetensors: layer1.weight has shape (4, 6), expected (4, 1000000000)")


# ---------------------------------------------------------------- tensors


def test_a_tensors_name_with_a_line_break_is_shown_on_one_line():
    refused(lambda: read_weights(put("w", save({"a\nb": np.ones(1)})), LIKE), r"it holds ['a\nb']")


def test_weights_larger_than_any_of_the_network_are_refused_unread():
    with open("w", "wb") as file:
        file.truncate(2**40)
    refused(lambda: read_weights("w", LIKE), f"w: {2**40} bytes, expected at most")


@pytest.fixture
def saved_state():
    return checkpoint.save(Path("saved"), STATE, CONFIG)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("facts", None),
        ("facts", {"seconds": "1"}),
        ("facts", {"seconds": -1.0}),
        ("facts", {"seconds": True}),
        ("facts", {"sent": 7}),
        ("facts", {"sent": {"factors": 0.5}}),
        ("config", None),
        ("sha256", {}),
        ("sha256", None),
        ("step", "3"),
    ],
)
def test_a_manifest_that_is_sealed_but_odd_is_refused(saved_state, key, value):
    refused(lambda: sealed({key: value}, None), f"manifest.json: {key} is ")


def test_a_manifest_without_a_step_is_refused(saved_state):
    refused(lambda: sealed({"step": None}, None), "manifest.json: damaged")


def test_a_state_larger_than_any_of_the_run_is_refused_unread(saved_state):
    os.truncate(saved_state / "state.safetensors", 2**40)
    refused(
        lambda: checkpoint.load(saved_state, STATE.main, STATE.heads, CONFIG),
        f"state.safetensors: {2**40} bytes, expected",
    )


def test_a_folder_that_cannot_be_written_does_not_ask_for_space(monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DiskTrouble, match="Permission denied; mend that$"):
        folder.write(Path("a"), b"")
