"""The end of a run: its completion record comes last, of a folder that is whole, whatever becomes of the pictures."""

import json
import os
import shutil

import pytest
import tiny

from minilte.comm.solo import Solo
from minilte.core.errors import BadInput, DiskTrouble
from minilte.job import job


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def taking(step, take):
    """A watch under which `take()` happens when the run has come to a step."""
    return tiny.quiet(lambda record, _: take() if record.step == step else None)


LOST = ["config.json", "env.json", "metrics.jsonl"]


@pytest.mark.parametrize("step", [0, 4, 6])
@pytest.mark.parametrize("name", LOST)
def test_a_file_that_goes_during_a_run_is_named_and_the_run_is_not_done(tmp_path, name, step):
    path, away = tiny.begin(tmp_path / "run"), tmp_path / "away"
    with pytest.raises(DiskTrouble, match=f"run/?.*{name}|cannot write .*run: No such file"):
        tiny.go_on(path, watch=taking(step, lambda: (path / name).rename(away)))
    assert not (path / "summary.json").exists()
    away.rename(path / name)
    assert tiny.go_on(path)["weights_sha256"] == tiny.go_on(tiny.begin(tmp_path / "whole"))["weights_sha256"]


@pytest.mark.parametrize("step", [0, 4, 6])
def test_a_run_folder_that_goes_during_a_run_does_not_come_back_as_half_of_one(tmp_path, step):
    path = tiny.begin(tmp_path / "run")
    with pytest.raises(DiskTrouble):
        tiny.go_on(path, watch=taking(step, lambda: shutil.rmtree(path)))
    assert not path.exists()


@pytest.mark.parametrize("name", LOST)
def test_a_file_that_goes_while_pictures_are_drawn_is_missed_too(tmp_path, name):
    path = tiny.begin(tmp_path / "run")
    with pytest.raises(DiskTrouble, match=f"{name}: it has gone while the run went on; put it back"):
        tiny.go_on(path, watch=job.SILENT._replace(draw=lambda *_: (path / name).unlink()))
    assert not (path / "summary.json").exists()


def test_records_that_go_before_the_end_are_missed(tmp_path):
    path = tiny.begin(tmp_path / "run")
    log = path / "metrics.jsonl"
    with pytest.raises(DiskTrouble, match="metrics.jsonl: expected records of step 0 to 6; some have gone"):
        tiny.go_on(path, watch=taking(6, lambda: log.write_bytes(log.read_bytes().split(b"\n", 1)[1])))
    assert not (path / "summary.json").exists()


@pytest.mark.parametrize("step", [4, 6])
def test_checkpoints_that_go_during_a_run_are_made_anew(tmp_path, step):
    path = tiny.begin(tmp_path / "run", save_every=2)
    done = tiny.go_on(path, watch=taking(step, lambda: shutil.rmtree(path / "ckpt")))
    assert done["weights_sha256"] == tiny.go_on(tiny.begin(tmp_path / "whole"))["weights_sha256"]
    assert tiny.steps_saved(path)[-1] == 6


TROUBLES = [
    ValueError("Key backend: 'nonsense'\nis not valid"),
    OSError(24, "Too many open files"),
    OverflowError(),
    MemoryError(),
    DiskTrouble("cannot write plots/loss.svg: No space left on device; free space, then --resume"),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: type(trouble).__name__)
def test_a_picture_that_fails_is_a_note_and_costs_nothing_else(tmp_path, trouble):
    def draw(*_):
        raise trouble

    path, said = tiny.begin(tmp_path / "run"), []
    done = tiny.go_on(path, watch=tiny.quiet()._replace(say=said.append, draw=draw))
    assert tiny.the_summary(path) == done and done["steps"] == 6
    (note,) = said
    assert note.startswith(f"note: not all pictures are drawn ({type(trouble).__name__}: ") and "\n" not in note


def test_a_stop_while_a_picture_is_drawn_is_no_picture_that_fails(tmp_path):
    def draw(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.go_on(tiny.begin(tmp_path / "run"), watch=job.SILENT._replace(draw=draw))


def contents(path):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("settings", [{}, dict(versus="full"), dict(steps=0)], ids=str)
def test_a_run_that_has_ended_keeps_every_file_and_draws_nothing_again(tmp_path, settings):
    path = tiny.begin(tmp_path / "run", **settings)
    done = tiny.go_on(path)
    before = contents(path)
    watch = tiny.quiet()._replace(draw=lambda *_: pytest.fail("drawn again"))
    assert tiny.go_on(path, watch=watch) == done and contents(path) == before


def test_final_weights_that_were_lost_come_back_from_the_checkpoint_and_the_record_stays(tmp_path):
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path)
    before = contents(path)
    (path / "final.safetensors").unlink()
    tiny.go_on(path)
    after = contents(path)
    assert {file: content for file, (_, content) in after.items()} == {file: old for file, (_, old) in before.items()}
    assert after[path / "summary.json"] == before[path / "summary.json"]


def test_a_record_of_other_weights_is_refused_and_not_written_over(tmp_path):
    path = tiny.begin(tmp_path / "run")
    done = tiny.go_on(path)
    (path / "final.safetensors").unlink()
    (path / "summary.json").write_text(json.dumps(done | {"weights_sha256": "0" * 64}))
    with pytest.raises(BadInput, match="summary.json: of other weights than those of the last checkpoint"):
        tiny.go_on(path)
    assert not (path / "final.safetensors").exists()


@pytest.mark.parametrize(
    "change",
    [
        dict(steps="x"),
        dict(steps=True),
        dict(test_loss="x"),
        dict(samples=None),
        dict(bytes_sent=7),
        dict(bytes_sent={}),
        dict(memory={}),
        dict(versus=[]),
        dict(weights_sha256="a\nb"),
    ],
    ids=str,
)
def test_a_damaged_completion_record_is_one_line(tmp_path, change):
    path = tiny.begin(tmp_path / "run")
    done = tiny.go_on(path)
    (path / "summary.json").write_text(json.dumps(done | change))
    for steps in (None, 12):
        with pytest.raises(BadInput, match=f"summary.json: {next(iter(change))} is .*, which minilte never writes"):
            job.run(path, job.opened(job.settings(path, Solo(), steps=steps), Solo()), job.SILENT)
    (path / "summary.json").write_text('{"a": 1e400}')
    with pytest.raises(BadInput, match="summary.json: test_accuracy is None"):
        tiny.go_on(path)


def test_too_little_memory_while_training_is_bad_input_with_the_remedy(tmp_path):
    def record(record, _):
        if record.step:
            raise MemoryError

    path = tiny.begin(tmp_path / "run")
    with pytest.raises(
        BadInput, match="^memory: there is not enough; ask for smaller --widths or a smaller --batch$"
    ):
        tiny.go_on(path, watch=tiny.quiet(record))
    assert tiny.go_on(path)["steps"] == 6
