"""Where a run starts: with the data it began with, and from a folder that is brought back to its step."""

import json
import os

import numpy as np
import pytest
import tiny

import minilte as ml
from minilte.comm import threads
from minilte.comm.solo import Solo
from minilte.core.errors import BadInput, DiskTrouble, ProcessesDisagree
from minilte.disk.weights import write_weights
from minilte.job import job, start
from minilte.run.inputs import sha256
from minilte.settings.config import Config


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own, no waiting for the disk, no pictures."""
    monkeypatch.setattr("minilte.library.run_pictures", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)


def data(path="data.npz", seed=0, flip=False, unit=1.0):
    """A file of 40 rows of two classes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, 3))
    np.savez(path, x=unit * x, y=(x[:, 0] > 0) ^ flip)
    return path


def config(**changes):
    settings = dict(
        data="data.npz", widths=(4,), heads=2, rank=2, alpha=4.0, batch=8, steps=6, merge_every=2, lr=0.01
    )
    return Config(**settings | changes)


def begun(**changes):
    """A run that a signal stopped."""
    path = job.begin(tiny.Path("run"), config(**changes), Solo())
    assert isinstance(tiny.go_on(path, watch=tiny.stop_after(0)), job.Stopped)
    return path


def bytes_of(path):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.rglob("*") if file.is_file()}


OTHERS = {"rows": dict(seed=1), "labels": dict(flip=True), "unit": dict(unit=1000.0)}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_stopped_run_does_not_go_on_with_other_data(change):
    data()
    before = bytes_of(path := begun())
    data(**change)
    with pytest.raises(BadInput, match="^data data.npz: not what the run began with .* put that back, or begin anew"):
        tiny.go_on(path)
    assert bytes_of(path) == before
    data()  # written again: the same numbers
    assert tiny.go_on(path)["steps"] == 6


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_run_that_has_ended_is_not_rewritten_whatever_is_in_its_data_file_now(change):
    data()
    tiny.go_on(path := begun())
    before = bytes_of(path)
    assert tiny.go_on(path) == tiny.the_summary(path) and bytes_of(path) == before
    data(**change)
    with pytest.raises(BadInput, match="not what the run began with"):
        tiny.go_on(path)
    with pytest.raises(BadInput, match="not what the run began with"):  # for more steps neither
        job.run(path, job.opened(job.settings(path, Solo(), steps=12), Solo()), job.SILENT)
    assert bytes_of(path) == before


def test_weights_to_start_from_that_changed_are_refused():
    data()
    net = tiny.open_session(config()).built.task.weights
    write_weights(tiny.Path("start.safetensors"), net)
    path = begun(init_from="start.safetensors")
    write_weights(
        tiny.Path("start.safetensors"), {name: layer._replace(W=2 * layer.W) for name, layer in net.items()}
    )
    with pytest.raises(BadInput, match="^init-from start.safetensors: not what the run began with"):
        tiny.go_on(path)


def test_data_of_the_callers_own_are_held_to_what_the_run_began_with():
    made = ml.fit(config(data="least-squares", inputs=3), out="run")
    own = tiny.open_session(made.config).built.data
    settings = Config(widths=(4,), heads=2, rank=2, alpha=4.0, batch=8, steps=6)
    ml.fit(settings, data=own, out="own")
    ml.fit(settings, data=own, out="own")
    with pytest.raises(BadInput, match="^data own: not what the run began with"):
        ml.fit(settings, data=own._replace(y_train=-own.y_train), out="own")


def test_the_folder_holds_the_sum_of_the_arrays_that_were_read():
    data()
    path = begun()
    held = json.loads((path / "env.json").read_text())["sha256"]
    assert held == {"data": sha256(config().data.load(0))}


def test_processes_that_read_other_data_part_before_the_first_step():
    data(), data("other.npz", flip=True)
    path = job.begin(tiny.Path("run"), config(), Solo())

    def process(transport):
        mine = config(data="other.npz") if transport.process == 1 else config()
        with pytest.raises(
            ProcessesDisagree, match="^process 1: has as SHA-256 of its data '.*, process 0 has '"
        ) as caught:
            job.run(path, job.opened(mine, transport), job.SILENT)
        return caught.value.agreed

    assert threads.run(3, process) == [True] * 3
    assert not (path / "metrics.jsonl").exists() and not (path / "env.json").exists()


def test_data_that_another_machine_draws_in_other_bits_are_a_warning():
    path, said = tiny.begin(tiny.Path("run")), []
    tiny.go_on(path, watch=tiny.stop_after(0))
    env = json.loads((path / "env.json").read_text())
    (path / "env.json").write_text(json.dumps(env | {"sha256": {"data": "0" * 64}}))
    with pytest.raises(BadInput, match="^data least-squares: not what the run began with"):
        tiny.go_on(path)
    (path / "env.json").write_text(json.dumps(env | {"sha256": {"data": "0" * 64}, "kernel": "other"}))
    assert tiny.go_on(path, watch=tiny.quiet()._replace(say=said.append))["steps"] == 6
    assert any("bits may differ" in line for line in said)


@pytest.mark.parametrize("content", ['{"sha256": 7}', '{"sha256": {"data": [1]}}', "[]"])
def test_a_damaged_record_of_the_machine_is_one_line_on_every_process(content):
    data()
    path = begun()
    (path / "env.json").write_text(content)

    def process(transport):
        try:
            job.run(path, job.opened(config(), transport), job.SILENT)
        except BadInput as trouble:
            return str(trouble), trouble.agreed

    outcomes = threads.run(2, process)
    assert outcomes[0] == outcomes[1] and (content == '{"sha256": 7}' or outcomes[0][1])


@pytest.mark.parametrize("kind", ["summary", "log", "disk"])
def test_what_process_0_alone_finds_in_the_folder_all_hear(kind, monkeypatch):
    data()
    path = begun()
    if kind == "log":
        (path / "metrics.jsonl").write_text("text\n")
    elif kind == "disk":
        monkeypatch.setattr(start.atomic, "clear", lambda _: os.remove("nowhere"))
    else:
        (path / "summary.json").write_text('{"steps": "x"}')
        (path / "final.safetensors").touch()

    def process(transport):
        with pytest.raises((BadInput, DiskTrouble)) as caught:
            job.run(path, job.opened(config(), transport), job.SILENT)
        return str(caught.value), caught.value.agreed

    first, *others = threads.run(2, process)
    assert first[1] and others == [first]


# ---------------------------------------------------------------- settings edited by hand


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("change", [dict(heads=4), dict(lr=0.5), dict(widths=[5])], ids=str)
def test_settings_edited_by_hand_are_refused_with_the_checkpoints_where_there_is_one(saved, change):
    data()
    path = begun() if saved else job.begin(tiny.Path("run"), config(), Solo())
    file = path / "config.json"
    held = json.loads(file.read_text())
    file.write_text(json.dumps(held | change))
    (name, value), *_ = change.items()
    words = (
        rf"step-2: made with {name} .*, but the run has .*{str(value)[:3]}" if saved else "config.json: changed since"
    )
    with pytest.raises(BadInput, match=words.replace("[", r".")):
        job.settings(path, Solo())
    file.write_text(json.dumps(held))
    assert tiny.go_on(path)["steps"] == 6


def test_a_finished_run_whose_settings_were_edited_is_not_loaded():
    data()
    tiny.go_on(path := begun())
    file = path / "config.json"
    file.write_text(file.read_text().replace('"relu"', '"tanh"'))
    with pytest.raises(BadInput, match="config.json: changed since minilte wrote it .its seal is broken."):
        ml.load(path)


def test_other_heads_for_a_run_that_has_ended_are_refused_and_for_more_steps_taken():
    data()
    tiny.go_on(path := begun())
    before = bytes_of(path)
    session = job.opened(job.settings(path, Solo(), heads=4), Solo())
    with pytest.raises(BadInput, match="^heads: the run in run has ended with 2, got 4; give more --steps too"):
        job.run(path, session, job.SILENT)
    assert bytes_of(path) == before
    done = job.run(path, job.opened(job.settings(path, Solo(), heads=4, steps=10), Solo()), job.SILENT)
    assert done["steps"] == 10
