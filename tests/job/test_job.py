"""A run in a folder: however it is cut in pieces, and by however many processes, it ends in the same bits."""

import json
import os

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.comm.solo import Solo
from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.job import checkpoint, job
from minilte.job.records import read_records
from minilte.settings.stored import FORMAT, write_settings


class Crash(Exception):
    """The process is gone."""


def crash_at(step):
    def record(record, _):
        if record.step >= step:
            raise Crash

    return tiny.quiet(record)


def records(path):
    """What a run says of itself, without what the clock says."""
    found = [record._replace(seconds=0) for record in read_records(path / "metrics.jsonl")]
    assert found and found[0].step == 0
    return found


def whole(path, **changes):
    return tiny.go_on(tiny.begin(path, **changes))["weights_sha256"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


# ---------------------------------------------------------------- stop, crash, resume


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_run_stopped_again_and_again_is_the_run_that_never_stopped(tmp_path, kind):
    settings, stops = tiny.KINDS[kind] | dict(steps=12, eval_every=4), []
    expected, cut = whole(tmp_path / "whole", **settings), tiny.begin(tmp_path / "cut", **settings)
    while isinstance(done := tiny.go_on(cut, watch=tiny.stop_after(0)), job.Stopped):
        stops.append(done.step)
        assert not (cut / "summary.json").exists()
    assert len(stops) >= 3 and done["weights_sha256"] == expected
    assert records(cut) == records(tmp_path / "whole")


@settings(max_examples=10)
@given(
    crashes=st.lists(st.integers(0, 12), max_size=3),
    every=st.integers(1, 5),
    save_every=st.integers(0, 5),
    kind=st.sampled_from(list(tiny.KINDS)),
)
def test_a_run_that_crashes_again_and_again_is_the_run_that_never_did(
    tmp_path_factory, crashes, every, save_every, kind
):
    merging = dict(merge_every=every) if "merge_every" in tiny.config(**tiny.KINDS[kind]).flat() else {}
    settings = tiny.KINDS[kind] | merging | dict(steps=12, save_every=save_every)
    base = tmp_path_factory.mktemp("job")
    expected, cut = whole(base / "whole", **settings), tiny.begin(base / "cut", **settings)
    for step in crashes:
        with pytest.raises(Crash):
            tiny.go_on(cut, watch=crash_at(step))
        with (cut / "metrics.jsonl").open("a") as log:
            log.write('{"step": 99, "cut sh')
    assert tiny.go_on(cut)["weights_sha256"] == expected
    assert records(cut) == records(base / "whole")


@pytest.mark.parametrize("kind", ["lte", "reset-ab", "full"])
def test_a_run_goes_on_with_any_number_of_processes(tmp_path, kind):
    settings = tiny.KINDS[kind] | dict(heads=3, steps=14)
    expected, cut = whole(tmp_path / "whole", **settings), tiny.begin(tmp_path / "cut", **settings)
    for size in (2, 5, 1):
        watch = tiny.stop_after(0)
        done = threads.run(size, lambda transport: tiny.go_on(cut, transport, watch))
        assert all(isinstance(one, job.Stopped) for one in done)
    done = threads.run(3, lambda transport: tiny.go_on(cut, transport))
    assert done[0]["weights_sha256"] == expected and done[1:] == [{}, {}]
    assert records(cut) == records(tmp_path / "whole")


def test_a_wish_of_any_process_stops_all_after_the_same_merge(tmp_path):
    path = tiny.begin(tmp_path / "run", steps=20)

    def process(transport):
        return tiny.go_on(path, transport, tiny.quiet(wish=lambda: 15 * (transport.process == 2)))

    assert threads.run(3, process) == [job.Stopped(15, 2)] * 3


def test_a_wish_during_the_last_round_is_too_late(tmp_path):
    done = tiny.go_on(tiny.begin(tmp_path / "run"), watch=tiny.stop_after(4))
    assert isinstance(done, dict) and done["steps"] == 6


def test_a_finished_run_that_is_resumed_is_finished_with_the_same_summary(tmp_path):
    path = tiny.begin(tmp_path / "run")
    done = tiny.go_on(path)
    assert tiny.go_on(path) == done == tiny.the_summary(path)


def test_without_a_checkpoint_a_run_starts_at_step_0(tmp_path):
    expected, cut = whole(tmp_path / "whole"), tiny.begin(tmp_path / "cut")
    with pytest.raises(Crash):
        tiny.go_on(cut, watch=crash_at(0))
    assert not checkpoint.listed(cut)
    assert tiny.go_on(cut)["weights_sha256"] == expected and records(cut) == records(tmp_path / "whole")


# ---------------------------------------------------------------- what is written when


@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 12))
def test_checkpoints_are_rounded_up_to_merges(tmp_path_factory, steps, every, save_every):
    path, saved = tmp_path_factory.mktemp("job") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", lambda path, state, *_: saved.append(state.step))
        tiny.go_on(tiny.begin(path, steps=steps, merge_every=every, save_every=save_every))
    merges = [record.step for record in read_records(path / "metrics.jsonl")]
    every = save_every or max(1, steps // 10)
    due = {min(step for step in merges if step >= k) for k in range(every, steps + 1, every)}
    assert saved == sorted(due | {steps})


def test_the_folder_holds_what_the_design_says(tmp_path):
    path = tiny.begin(tmp_path / "run")
    assert [found.name for found in path.iterdir()] == ["config.json"]
    tiny.go_on(path)
    assert {found.name for found in path.iterdir()} == {
        "config.json",
        "env.json",
        "metrics.jsonl",
        "ckpt",
        "final.safetensors",
        "summary.json",
    }
    written = json.loads(json.dumps(tiny.config().flat()))  # lists for tuples
    held = json.loads((path / "config.json").read_text())
    assert held == {"format": FORMAT} | written | {"seal": folder.seal(held)}


def test_settings_are_those_the_folder_was_made_with(tmp_path):
    config = tiny.config(head_ranks=(1, 3), layer_ranks=("layer1=2",))
    assert job.settings(job.begin(tmp_path / "run", config, Solo()), Solo()) == config


def test_a_folder_in_use_is_refused_on_every_process(tmp_path):
    (tmp_path / "file").touch()

    def process(transport):
        with pytest.raises(BadInput) as caught:
            tiny.begin(tmp_path, transport)
        return str(caught.value), caught.value.agreed

    (message, agreed), *others = threads.run(3, process)
    assert agreed and "expected an empty or new folder" in message and others == [(message, agreed)] * 2


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(BadInput, match="nowhere: no such folder"):
        job.settings(tmp_path / "nowhere", Solo())
    with pytest.raises(BadInput, match="config.json: cannot be read: No such file"):
        job.settings(tmp_path, Solo())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.jsonl", "text\n"),
        ("metrics.jsonl", "{}\n"),
        ("env.json", "[]"),
        ("env.json", "{"),
        ("metrics.jsonl", "\xff\n"),
    ],
)
def test_a_damaged_file_of_the_folder_is_named(tmp_path, file, content):
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path, watch=tiny.stop_after(0))
    (path / file).write_text(content, encoding="latin-1")
    with pytest.raises(BadInput, match=file):
        tiny.go_on(path)


def test_settings_changed_behind_a_runs_back_are_refused_with_both_values(tmp_path):
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path, watch=tiny.stop_after(0))
    write_settings(path, tiny.config(lr=0.5))
    with pytest.raises(BadInput, match="step-2: made with lr 0.001, but the run has 0.5"):
        tiny.go_on(path)


def test_another_machine_is_told_and_the_first_one_stays_on_record(tmp_path):
    path, told = tiny.begin(tmp_path / "run"), []
    tiny.go_on(path, watch=tiny.stop_after(0))
    before = json.loads((path / "env.json").read_text()) | {"numpy": "1.0"}
    (path / "env.json").write_text(json.dumps(before))
    tiny.go_on(path, watch=tiny.quiet()._replace(say=told.append))
    assert len(told) == 1 and "numpy 1.0 -> " in told[0] and "bits may differ" in told[0]
    assert json.loads((path / "env.json").read_text()) == before


def test_a_note_is_told_once_by_process_0(tmp_path):
    path, told = tiny.begin(tmp_path / "run", model="mlp", widths=(3,), rank=3, outputs=2), []
    threads.run(2, lambda transport: tiny.go_on(path, transport, tiny.quiet()._replace(say=told.append)))
    assert told == ["note: layer2 is 2 x 3: rank 2 there, with the scale of rank 3"]


# ---------------------------------------------------------------- the baseline


def test_a_baseline_is_the_run_of_its_own_that_it_would_be_alone(tmp_path):
    alone = tiny.go_on(tiny.begin(tmp_path / "alone", method="full"))
    both = tiny.go_on(tiny.begin(tmp_path / "both", versus="full"))
    assert both["versus"]["weights_sha256"] == alone["weights_sha256"]
    assert both["weights_sha256"] == whole(tmp_path / "plain")
    assert tiny.the_summary(tmp_path / "both" / "versus-full") == both["versus"]


def test_a_stop_in_the_baseline_leaves_a_folder_that_goes_on(tmp_path):
    expected, cut = tiny.begin(tmp_path / "whole", versus="full"), tiny.begin(tmp_path / "cut", versus="full")
    expected = tiny.go_on(expected)
    reached = []

    def record(record, session):
        reached.append((session.config.method.name, record.step))

    stopped = tiny.go_on(cut, watch=tiny.quiet(record, lambda: 2 * (("full", 2) in reached)))
    assert stopped == job.Stopped(2, 3) and not (cut / "summary.json").exists()
    done = tiny.go_on(cut)
    assert done["weights_sha256"] == expected["weights_sha256"]
    assert done["versus"]["weights_sha256"] == expected["versus"]["weights_sha256"]


def test_a_baseline_killed_before_its_settings_were_written_starts_anew(tmp_path):
    path = tiny.begin(tmp_path / "run", versus="full")
    (path / "versus-full").mkdir()
    (path / "versus-full" / ".minilte-0a1b.tmp").write_text('{"he')
    assert tiny.go_on(path)["versus"]["steps"] == 6


@pytest.mark.parametrize("kind", ["lte", "reset-ab", "full", "allreduce", "half-wire"])
def test_a_run_in_sittings_has_sent_what_the_run_in_one_sent(tmp_path, kind):
    settings = tiny.KINDS[kind] | dict(heads=3, steps=12)
    whole_run, cut = (tiny.begin(tmp_path / name, **settings) for name in ("whole", "cut"))
    expected = threads.run(3, lambda transport: tiny.go_on(whole_run, transport))[0]["bytes_sent"]
    for at in (0, 4):
        watch = tiny.stop_after(at)
        threads.run(3, lambda transport, watch=watch: tiny.go_on(cut, transport, watch))
    sent = threads.run(3, lambda transport: tiny.go_on(cut, transport))[0]["bytes_sent"]
    assert sent["by_kind"] == expected["by_kind"] and sent["total"] == expected["total"] > 0
    assert sent["headers"] == expected["headers"] > 0
    assert 0 < sent["before_resume"] == sent["total"] - sum(sent["per_process"]) and expected["before_resume"] == 0


def test_a_finished_run_keeps_the_record_of_who_sent_what(tmp_path):
    path = tmp_path / "run"
    tiny.begin(path)
    threads.run(2, lambda transport: tiny.go_on(path, transport))
    before = (path / "summary.json").read_bytes()
    assert tiny.go_on(path)["bytes_sent"]["per_process"][1] > 0
    assert (path / "summary.json").read_bytes() == before
