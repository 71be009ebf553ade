"""Every way in which a stopped run may be found, and words that the one line about it must hold; see FAULTS in faults.py.

Nothing in the folder changes, and what was right before still is: mended, the run ends in the same bits.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import tiny

from minilte.commands import train
from minilte.disk import folder
from minilte.job import checkpoint
from minilte.show import pictures

CKPT = Path("run", "ckpt")
STATE = Path("step-4", "state.safetensors")


def cut(length):
    """The newest state, cut."""
    return lambda: os.truncate(CKPT / STATE, length)


def flipped():
    """One bit of the newest state."""
    data = bytearray((CKPT / STATE).read_bytes())
    data[-1] ^= 1
    (CKPT / STATE).write_bytes(data)


def without(*parts):
    """A file or folder is gone."""

    def remove():
        path = Path("run", *parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def both():
    """Neither checkpoint is whole."""
    flipped()
    os.truncate(CKPT / "step-2" / STATE.name, 0)


def renamed():
    """A checkpoint under another step."""
    (CKPT / "step-4").rename(CKPT / "step-5")


def as_folder(name):
    """A folder in place of a file."""

    def make():
        Path("run", name).unlink()
        Path("run", name).mkdir()

    return make


def rewritten(name, **changes):
    """Other values in a JSON file."""

    def write():
        path = Path("run", name)
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return write


def linked():
    """The newest checkpoint is a link to a folder elsewhere."""
    shutil.move(CKPT / "step-4", "elsewhere")
    (CKPT / "step-4").symlink_to(Path("elsewhere").resolve())


def written(name, text):
    return lambda: Path("run", name).write_text(text)


GO_ON = "--resume-latest-good goes on from step-2, which is whole"
CASES = {
    "state empty": (cut(0), ["step-4/state.safetensors: damaged", GO_ON]),
    "state cut in its header": (cut(20), ["step-4/state.safetensors: damaged", GO_ON]),
    "state one byte short": (lambda: cut((CKPT / STATE).stat().st_size - 1)(), ["damaged", GO_ON]),
    "state one byte long": (lambda: cut((CKPT / STATE).stat().st_size + 1)(), ["damaged", GO_ON]),
    "state one bit off": (flipped, ["step-4/state.safetensors: damaged", GO_ON]),
    "state of many gigabytes": (cut(2**40), [f"step-4/state.safetensors: {2**40} bytes, expected at most", GO_ON]),
    "state gone": (without("ckpt", *STATE.parts), ["state.safetensors: cannot be read: No such file", GO_ON]),
    "manifest gone": (without("ckpt", "step-4", "manifest.json"), ["manifest.json: cannot be read", GO_ON]),
    "manifest text": (written("ckpt/step-4/manifest.json", "text"), ["manifest.json: not the JSON", GO_ON]),
    "manifest not sealed": (rewritten("ckpt/step-4/manifest.json", facts={}), ["its seal is broken", GO_ON]),
    "manifest newer": (rewritten("ckpt/step-4/manifest.json", format=99), ["expected format 2, got 99"]),
    "both damaged": (both, ["damaged", "--resume-latest-good goes on from step 0"]),
    "another step": (renamed, ["step-5/manifest.json: damaged", "--resume-latest-good goes on from step-2"]),
    "checkpoint a file": (
        lambda: (without("ckpt", "step-4")(), (CKPT / "step-4").touch()),
        ["Not a directory", GO_ON],
    ),
    "checkpoint elsewhere": (linked, ["run/ckpt/step-4: a link that leads out of the run folder"]),
    "other settings": (rewritten("config.json", lr=0.5), ["made with lr 0.001, but the run has 0.5"]),
    "settings of no run": (rewritten("config.json", zzz=1), ["run/config.json: unknown key 'zzz'"]),
    "settings out of range": (
        rewritten("config.json", heads=0),
        ["heads: expected a whole number of at least 1, got 0"],
    ),
    "settings of another format": (
        rewritten("config.json", format=1),
        ["run/config.json: a run folder of format 1, expected 2; read it with the minilte that wrote it"],
    ),
    "settings of a part not chosen": (
        rewritten("config.json", density=0.5),
        ["density: belongs to --merge-rule ties"],
    ),
    "settings gone": (without("config.json"), ["run/config.json: cannot be read: No such file"]),
    "settings a folder": (as_folder("config.json"), ["run/config.json: expected a file"]),
    "settings not finite": (
        written("config.json", '{"format": 2, "lr": NaN}'),
        ["run/config.json: not the JSON", "NaN"],
    ),
    "metrics text": (written("metrics.jsonl", "text\n"), ["run/metrics.jsonl line 1: not the JSON"]),
    "metrics a folder": (as_folder("metrics.jsonl"), ["run/metrics.jsonl: expected a file"]),
    "machine text": (written("env.json", "text"), ["run/env.json: not the JSON"]),
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A run that was stopped with two checkpoints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pictures, "run_pictures", lambda *_: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(train.command, "catch_signals", lambda: lambda: 0)
    tiny.go_on(tiny.begin(Path("run"), save_every=2), watch=tiny.stop_after(2))
    assert tiny.steps_saved(Path("run")) == [2, 4]


def files() -> dict:
    """What is in the folder, but for the contents of what is too large to be read."""
    found = {path: path.stat().st_size for path in Path().rglob("*") if path.is_file()}
    return {path: path.read_bytes() if size < 10**6 else size for path, size in found.items()}


@pytest.mark.parametrize(("damage", "words"), CASES.values(), ids=CASES)
def test_a_run_that_cannot_go_on_says_why_in_one_line_and_changes_nothing(damage, words, capsys):
    damage()
    before = files()
    code, err = train.main(["--resume=run"]), capsys.readouterr().err
    assert code == 2 and err.startswith("minilte: error: ") and err.count("\n") == 1
    for each in words:
        assert each in err
    assert files() == before


def test_with_the_newest_damaged_the_remedy_of_the_line_leads_to_the_same_bits(capsys):
    expected = tiny.go_on(tiny.begin(Path("whole"), save_every=2))
    flipped()
    assert train.main(["--resume=run"]) == 2
    assert "; --resume-latest-good goes on from step-2" in capsys.readouterr().err
    assert train.main(["--resume=run", "--resume-latest-good"]) == 0
    assert tiny.the_summary(Path("run"))["weights_sha256"] == expected["weights_sha256"]


@pytest.mark.parametrize("call", ["builtins.open", "os.replace"])
def test_a_folder_that_has_become_read_only_is_a_trouble_of_the_disk_and_goes_on_later(capsys, monkeypatch, call):
    def refuse(path, *rest, **options):
        if call == "os.replace" or str(rest[:1]) in ("('xb',)", "('a',)"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest, **options)

    real = open
    with monkeypatch.context() as patch:
        patch.setattr(call, refuse)
        code, err = train.main(["--resume=run"]), capsys.readouterr().err
    assert code == 74 and err.count("\n") == 1 and "Permission denied; mend that, then --resume" in err
    assert train.main(["--resume=run"]) == 0


def test_two_runs_in_one_folder_are_one_too_many(capsys, monkeypatch):
    monkeypatch.setattr(folder, "PATIENCE", 0)
    with folder.alone(Path("run")):
        assert train.main(["--resume=run"]) == 2
    assert "run: another process is running it" in capsys.readouterr().err
    assert checkpoint.listed(Path("run"))[-1].name == "step-4"


def test_a_new_run_in_its_folder_is_refused(capsys):
    assert train.main([*tiny.flags(), "--out=run"]) == 2
    assert "out run: expected an empty or new folder; name another, or --resume run" in capsys.readouterr().err
