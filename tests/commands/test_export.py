"""The export command as a person uses it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file

import minilte as ml
from minilte.commands import export
from minilte.disk.weights import tensors

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own with a finished run in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    tiny.go_on(tiny.begin(tmp_path / "run"))
    return tmp_path


@pytest.fixture
def command(capsys):
    """The command in this process: arguments -> (code, stdout, stderr)."""

    def call(*argv):
        code = export.main(argv)
        return code, *capsys.readouterr()

    return call


def test_each_format_is_written_where_it_was_asked_for(place, command):
    held = load_file("run/final.safetensors")
    assert command("run", "--to", "npz", "--out", "w.npz") == (0, "npz of run in w.npz\n", "")
    assert command("run", "--out=w.safetensors") == (0, "safetensors of run in w.safetensors\n", "")
    assert command("run", "--out=by_name.NPZ") == (0, "npz of run in by_name.NPZ\n", "")
    assert command("run", "--to=npz", "--out=any.name")[0] == 0
    for name in ("w.npz", "by_name.NPZ", "any.name"):
        with np.load(name, allow_pickle=False) as arrays:
            assert all(np.array_equal(arrays[key], held[key]) for key in held) and len(arrays) == len(held)
    assert command("--to=peft", "--out=adapter", "run") == (0, "peft of run in adapter\n", "")
    assert all(np.array_equal(array, held[name]) for name, array in load_file("w.safetensors").items())
    assert sorted(os.listdir()) == ["adapter", "any.name", "by_name.NPZ", "run", "w.npz", "w.safetensors"]


def test_base_plus_adapter_is_the_final_weight_of_the_run(command):
    assert command("run", "--to", "peft", "--out", "adapter")[0] == 0
    base, factors = load_file("adapter/base.safetensors"), load_file("adapter/adapter_model.safetensors")
    A, B = (factors[f"base_model.model.layer1.lora_{letter}.weight"] for letter in "AB")
    with open("adapter/adapter_config.json") as file:
        config = json.load(file)
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (
        4,
        2048,
        ["layer1"],
    )  # two heads of rank 2
    final = tensors(ml.load("run").weights)
    whole = base["layer1.weight"] + config["lora_alpha"] / config["r"] * B @ A
    # 1e-5: three merges, each rounding a float32 W with entries of about 1, which moved by about 1
    np.testing.assert_allclose(whole, final["layer1.weight"], rtol=0, atol=1e-5)
    assert np.array_equal(base["layer1.bias"], final["layer1.bias"])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("", "required: RUN"),
        ("run", "--out: expected a path"),
        ("run --out=", "--out: expected a value, got nothing"),
        ("run --to onnx --out x", "to: expected one of suffix, npz, safetensors, peft, got 'onnx'"),
        ("run --out x", "out x: expected a name in .npz or .safetensors, or --to and a format"),
        ("run --out x.pt", "out x.pt: expected a name in .npz or .safetensors, or --to and a format"),
        ("run --to npz --out x.safetensors", "out x.safetensors: the name of a file --to safetensors, got --to npz"),
        ("run --to peft --out x.npz", "out x.npz: the name of a file --to npz, got --to peft; change either"),
        ("run --too npz --out x", "did you mean --to?"),
        ("run more --out x", "unrecognized arguments: more"),
        ("nowhere --out x.npz", "nowhere: no such folder"),
        ("run --to peft --out run", "run: it exists already"),
        ("run --out no/x.npz", "no folder no"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(command, argv, words):
    code, out, err = command(*argv.split())
    assert (code, out) == (2, "") and err.startswith("minilte: error: ") and err.count("\n") == 1
    assert words in err and os.listdir() == ["run"]


def test_a_run_with_resets_or_unfinished_is_exit_code_2(place, command):
    tiny.go_on(tiny.begin(place / "reset", reset="b"))
    tiny.go_on(tiny.begin(place / "half"), watch=tiny.stop_after(2))
    assert command("reset", "--to", "peft", "--out", "x")[0] == command("half", "--out", "x.npz")[0] == 2
    assert command("reset", "--to", "npz", "--out", "x.npz")[0] == 0


def test_help_names_run_and_formats_and_the_module_is_a_command():
    heavy = "{'scipy', 'matplotlib', 'mpi4py.MPI'} & set(sys.modules)"
    code = f"import sys; from minilte import export; export.main(['--help']); assert not {heavy}"
    here = dict(capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)})
    done = subprocess.run([sys.executable, "-c", code], **here)
    assert done.returncode == 0 and "(suffix, npz, safetensors, peft)" in " ".join(done.stdout.split()), done.stderr
    module = [sys.executable, "-m", "minilte.export", "run", "--out", "w.npz"]
    done = subprocess.run(module, **here)
    assert (done.returncode, done.stdout) == (0, "npz of run in w.npz\n"), done.stderr
