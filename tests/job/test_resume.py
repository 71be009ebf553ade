"""Where a run goes on from: the newest state that is whole, with what is kept beside it."""

import json
import os

import pytest
import tiny

from minilte.core.errors import BadInput
from minilte.job import checkpoint, job, resume
from minilte.job.records import read_records
from minilte.run.observe import Record
from minilte.settings.stored import write_settings


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without waiting for the disk: no test here pulls the plug."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_with_the_newest_damaged_the_run_goes_on_from_the_one_before_when_asked_to(tmp_path):
    whole, cut = tiny.begin(tmp_path / "whole"), tiny.begin(tmp_path / "cut")
    expected = tiny.go_on(whole)
    assert isinstance(tiny.go_on(cut, watch=tiny.stop_after(2)), job.Stopped)
    older, newest = checkpoint.listed(cut)
    (newest / "state.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=f"--resume-latest-good goes on from {older.name}, which is whole"):
        tiny.go_on(cut)
    said = []
    watch = job.SILENT._replace(say=said.append, latest_good=True)
    assert tiny.go_on(cut, watch=watch)["weights_sha256"] == expected["weights_sha256"]
    assert any("state.safetensors: damaged" in line for line in said)
    assert (newest.with_name(f"damaged-{newest.name}") / "manifest.json").exists()  # set aside, not lost


def test_the_best_checkpoint_is_kept_beside_the_last(tmp_path):
    path = tiny.begin(
        tmp_path / "run",
        steps=24,
        save_every=2,
        eval_every=2,
        optimizer="sgd",
        alpha=2.0,
        lr=0.15,
        schedule="constant",
    )
    tiny.go_on(path)
    losses = {record.step: record.test_loss for record in read_records(path / "metrics.jsonl") if record.step}
    best = min(losses, key=losses.get)
    kept = [int(one.name[5:]) for one in checkpoint.listed(path)]
    assert kept == sorted({best, 22, 24}) and best < 22  # the loss goes up and down at this rate


def test_the_best_checkpoint_is_the_best_of_those_that_were_saved(tmp_path):
    losses = {0: 3.0, 2: 2.0, 3: 0.5, 4: 2.5, 6: 1.5}  # the best evaluation is of step 3, which has no checkpoint
    lines = [Record(step, 8 * step, 0.1, [1.0], 1.0, loss).plain() for step, loss in losses.items()]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for step in (2, 4):
        (tmp_path / "ckpt" / f"step-{step}").mkdir(parents=True)
    assert resume.best_saved(tmp_path, 4) == 2 and resume.best_saved(tmp_path, 6) == 6


def test_with_all_checkpoints_damaged_the_run_begins_anew_when_asked_to(tmp_path):
    cut, whole = tiny.begin(tmp_path / "cut"), tiny.begin(tmp_path / "whole")
    assert isinstance(tiny.go_on(cut, watch=tiny.stop_after(2)), job.Stopped)
    for one in checkpoint.listed(cut):
        (one / "state.safetensors").write_bytes(b"")
    got = tiny.go_on(cut, watch=job.SILENT._replace(latest_good=True))
    assert got["weights_sha256"] == tiny.go_on(whole)["weights_sha256"]


def test_checkpoints_of_other_settings_are_not_damaged_and_stay_where_they_are(tmp_path):
    cut = tiny.begin(tmp_path / "cut")
    assert isinstance(tiny.go_on(cut, watch=tiny.stop_after(2)), job.Stopped)
    before = checkpoint.listed(cut)
    write_settings(cut, tiny.config(lr=0.5))
    with pytest.raises(BadInput, match="made with lr 0.001, but the run has 0.5"):
        tiny.go_on(cut, watch=job.SILENT._replace(latest_good=True))
    assert checkpoint.listed(cut) == before


def test_checkpoints_after_the_step_that_a_run_goes_on_from_are_set_aside_and_not_lost(tmp_path):
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path)
    for _ in range(2):  # what was set aside before under the same name goes
        (path / "ckpt" / "step-9").mkdir()
        resume.set_aside(path, 6)
    assert sorted(found.name for found in (path / "ckpt").iterdir()) == ["damaged-step-9", "step-4", "step-6"]
