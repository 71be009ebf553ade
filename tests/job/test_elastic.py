"""Heads join and leave between two sittings of a run: nothing jumps, and a merge stays the mean."""

import json
import threading

import numpy as np
import pytest
import tiny

from minilte.comm import threads
from minilte.comm.solo import Solo
from minilte.core import networks, tree
from minilte.core.errors import BadInput, ProcessesDisagree
from minilte.core.head import seen
from minilte.job import checkpoint, elastic, job, resume
from minilte.job.records import read_records
from minilte.run.session import first_state
from minilte.settings import stored


def cut_off(path, **changes):
    """A run in a folder, stopped after its first merges."""
    tiny.begin(path, heads=3, **changes)
    assert isinstance(tiny.go_on(path, watch=tiny.stop_after(2)), job.Stopped)
    return path


def resumed(path, heads, size=1):
    """The summary of the run after it went on with so many heads, on some processes."""

    def process(transport):
        config = job.settings(path, transport, heads)
        return job.run(path, job.opened(config, transport), job.SILENT)

    return threads.run(size, process)[0]


KINDS = ["lte", "reset-ab", "server", "nf4", "allreduce", "frozen", "skip-bad-heads", "absorbed"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("heads", [1, 2, 5])
def test_a_run_goes_on_with_any_number_of_heads_to_the_same_bits_on_any_processes(tmp_path, kind, heads):
    one, other = (cut_off(tmp_path / name, **tiny.KINDS[kind]) for name in ("one", "other"))
    got = resumed(one, heads)
    assert got["steps"] == 6 and got["weights_sha256"] == resumed(other, heads, size=2)["weights_sha256"]
    assert stored.read_settings(one).heads == heads
    records = read_records(one / "metrics.jsonl")
    assert [len(record.losses) for record in records if record.step in (2, 6)] == [3, heads]


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_all_heads_compute_the_main_function_after_the_change(tmp_path, heads):  # law L10
    path = cut_off(tmp_path / "run", dtype="float64")
    before = resume.loaded(checkpoint.listed(path)[-1], job.opened(stored.read_settings(path), Solo()))
    session = job.opened(elastic.with_heads(stored.read_settings(path), heads), Solo())
    state = resume.loaded(checkpoint.listed(path)[-1], session)
    assert len(state.heads) == heads and len(state.main.then) == heads
    assert all(
        np.array_equal(a, b)
        for a, b in zip(tree.leaves(state.main.weights), tree.leaves(before.main.weights), strict=True)
    )
    net, x = session.built.task.net, session.built.data.x_test
    expected, _ = networks.forward(net, state.main.weights, x)
    for head, V in zip(state.heads, state.main.then, strict=True):
        scales = dict.fromkeys(head.now, 1024.0)
        got, _ = networks.forward(net, seen(state.main.weights, head.now, head.replica, V, scales), x)
        np.testing.assert_allclose(got, expected, atol=1e-9)  # rounding: V and B A are the same factors
    for head, was in zip(state.heads, before.heads):  # those that stay are as they were
        assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(head.now), tree.leaves(was.now), strict=True))


def test_a_merge_after_the_change_is_the_mean_of_what_the_heads_did(tmp_path):  # law L13
    path = cut_off(tmp_path / "run", dtype="float64")
    session = job.opened(elastic.with_heads(stored.read_settings(path), 5), Solo())
    state = resume.loaded(checkpoint.listed(path)[-1], session)
    method = session.built.method
    heads = [method.local(state.main, head, 4, 6) for head in state.heads]
    main = method.merge(state.main, [method.tell(head) for head in heads], 6, map)
    s, W = 2048.0 / 2, state.main.weights["layer1"].W
    moves = [
        s * (head.now["layer1"].B @ head.now["layer1"].A - V["layer1"].B @ V["layer1"].A)
        for head, V in zip(heads, state.main.then, strict=True)
    ]
    np.testing.assert_allclose(main.weights["layer1"].W, W + sum(moves) / 5, atol=1e-9)  # rounding of moves up to 10


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(method="full"), "a run with --method full keeps its 3 heads, got 4; begin anew"),
        (dict(method="fedavg"), "a run with --method fedavg keeps its 3 heads"),
        (dict(merge_rule="ties"), "a run with --merge-rule 'ties' keeps its 3 heads"),
        (dict(head_ranks=(1, 2, 2)), r"a run with --head-ranks \(1, 2, 2\) keeps its 3 heads"),
        (dict(shares=(0.5, 0.25, 0.25)), r"a run with --shares \(.*\) keeps its 3 heads"),
        (dict(merge_rule="telescope"), "a run with --merge-rule 'telescope' keeps its 3 heads"),
        (dict(topology="auto"), "a run with --topology auto keeps its 3 heads"),
        (dict(versus="full"), "a run with --versus 'full' keeps its 3 heads"),
    ],
    ids=str,
)
def test_what_cannot_change_its_heads_says_so(settings, words):
    config = tiny.config(heads=3, **settings)
    assert elastic.with_heads(config, 3) is config
    with pytest.raises(BadInput, match=words):
        elastic.with_heads(config, 4)


def test_more_heads_than_samples_are_refused(tmp_path):
    path = cut_off(tmp_path / "run")
    with pytest.raises(BadInput, match="batch: expected at least one sample for each of 9 heads"):
        resumed(path, 9)
    assert resumed(path, 3)["steps"] == 6  # nothing was lost


def test_without_a_checkpoint_the_run_begins_with_the_new_heads(tmp_path):
    path = tiny.begin(tmp_path / "run", heads=3)
    assert resumed(path, 2)["weights_sha256"] == tiny.go_on(tiny.begin(tmp_path / "two", heads=2))["weights_sha256"]
    assert len(first_state(tiny.session(heads=2)).heads) == 2


def test_a_method_whose_main_state_knows_its_heads_keeps_them(tmp_path):
    path = cut_off(tmp_path / "run", method="fedex")
    with pytest.raises(BadInput, match="^heads: this method keeps the 3 heads it began with, got 2; begin anew"):
        resumed(path, 2)
    assert resumed(path, 3)["steps"] == 6  # nothing was lost


def test_a_picture_shows_no_bound_that_a_change_of_heads_has_lifted(tmp_path):  # law L2
    bounds = []
    watch = job.SILENT._replace(draw=lambda *given: bounds.append(given[-1]))
    tiny.go_on(tiny.begin(tmp_path / "whole", heads=3), watch=watch)
    path = cut_off(tmp_path / "run")
    job.run(path, job.opened(job.settings(path, Solo(), heads=2), Solo()), watch)
    assert bounds == [{"layer1": 6}, {}]


def test_processes_that_see_other_checkpoints_do_not_go_on_together(tmp_path, monkeypatch):
    path = cut_off(tmp_path / "run")
    newest = checkpoint.listed(path)[-1]

    def process(transport):
        config = job.settings(path, transport)
        session = job.opened(config, transport)
        try:
            job.run(path, session, job.SILENT._replace(latest_good=True))
        except ProcessesDisagree as trouble:
            return str(trouble), trouble.agreed

    real = checkpoint.load

    def load(one, *given):
        if one == newest and threading.current_thread().name.endswith("lost"):
            raise checkpoint.Damaged(f"{one}: damaged for this process alone")
        return real(one, *given)

    def named(transport):
        threading.current_thread().name = f"process-{transport.process}" + "-lost" * (transport.process == 1)
        return process(transport)

    monkeypatch.setattr(checkpoint, "load", load)
    said = threads.run(2, named)
    assert said[0] == said[1] and "process 1: has a checkpoint of step" in said[0][0] and said[0][1]
    monkeypatch.undo()
    assert resumed(path, 3)["weights_sha256"] == tiny.go_on(tiny.begin(tmp_path / "whole", heads=3))["weights_sha256"]


# ---------------------------------------------------------------- more steps


def longer(path, steps, size=1, watch=job.SILENT):
    """The summary of the run after it went on to so many steps, on some processes."""

    def process(transport):
        config = job.settings(path, transport, steps=steps)
        return job.run(path, job.opened(config, transport), watch)

    return threads.run(size, process)[0]


def without_clock(path):
    return [record._replace(seconds=0) for record in read_records(path / "metrics.jsonl")]


@pytest.mark.parametrize("kind", ["lte", "reset-ab", "server", "full", "diloco", "skip-bad-heads"])
@pytest.mark.parametrize("ended", [True, False])
def test_a_run_goes_on_for_more_steps_as_if_it_had_begun_with_them(tmp_path, kind, ended):
    settings = tiny.KINDS[kind] | dict(schedule="constant", warmup=0.0, eval_every=2, save_every=2)
    expected = tiny.go_on(tiny.begin(tmp_path / "whole", **settings, steps=10))
    path = tiny.begin(tmp_path / "run", **settings)
    done = tiny.go_on(path, watch=None if ended else tiny.stop_after(0))
    assert isinstance(done, dict) == ended
    got = longer(path, 10, size=2)
    assert (got["steps"], got["weights_sha256"]) == (10, expected["weights_sha256"])
    assert tiny.the_summary(path)["steps"] == stored.read_settings(path).steps == 10
    assert without_clock(path) == without_clock(tmp_path / "whole")


def test_what_the_schedule_makes_of_more_steps_is_said_where_a_run_had_ended(tmp_path):
    said, path = [], tiny.begin(tmp_path / "run", schedule="linear", warmup=0.0, lr=0.01)
    tiny.go_on(path)
    longer(path, 12, watch=job.SILENT._replace(say=said.append))
    assert [line for line in said if "goes on" in line] == [
        "note: the run had ended at step 6 and goes on to 12; "
        "the rate was 0.00167 at the end of 6 steps, and 0.005 from step 6 on"
    ]
    said.clear()
    longer(path, 12, watch=job.SILENT._replace(say=said.append))
    assert said == []  # it ended there


def test_a_run_that_goes_on_for_more_steps_is_not_finished_until_it_is(tmp_path):
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path)
    before = tiny.the_summary(path)
    assert before["longer"] is False
    assert isinstance(longer(path, 12, watch=tiny.stop_after(6)), job.Stopped)
    assert not (path / "summary.json").exists()
    assert json.loads((path / "summary-6.json").read_text()) == before  # what was is kept
    done = tiny.go_on(path)
    assert done["steps"] == 12 and done["longer"] is True  # its settings are its own now


def test_a_run_that_was_killed_before_its_next_checkpoint_still_knows_that_it_had_ended(tmp_path, monkeypatch):
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path)
    with monkeypatch.context() as killed:
        killed.setattr(job, "save", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            longer(path, 12)
    assert tiny.go_on(path)["longer"] is True


def test_a_run_of_no_steps_may_go_on(tmp_path):
    said, path = [], tiny.begin(tmp_path / "run", steps=0, warmup=0.0, schedule="constant", lr=0.01)
    tiny.go_on(path)
    done = longer(path, 6, watch=job.SILENT._replace(say=said.append))
    assert "note: the run had ended at step 0 and goes on to 6; the rate is 0.01 from step 0 on" in said
    whole = tiny.begin(tmp_path / "whole", steps=6, warmup=0.0, schedule="constant", lr=0.01)
    assert done["weights_sha256"] == tiny.go_on(whole)["weights_sha256"]


def test_fewer_steps_than_a_run_has_are_refused(tmp_path):
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path)
    before = tiny.the_summary(path)
    with pytest.raises(BadInput, match="^steps: the run has 6, got 5; a run goes on for more, not for fewer"):
        longer(path, 5)
    assert longer(path, 6) == tiny.the_summary(path) == before
    assert stored.read_settings(path).steps == 6


def test_heads_and_steps_may_change_together(tmp_path):
    path = cut_off(tmp_path / "run")
    config = job.settings(path, Solo(), heads=5, steps=12)
    assert (config.heads, config.steps) == (5, 12)
    assert job.run(path, job.opened(config, Solo()), job.SILENT)["steps"] == 12


def test_a_baseline_goes_on_with_its_run(tmp_path):
    path = tiny.begin(tmp_path / "run", versus="full")
    tiny.go_on(path)
    got = longer(path, 10)
    assert got["steps"] == got["versus"]["steps"] == 10
    assert tiny.the_summary(path / "versus-full")["steps"] == 10
