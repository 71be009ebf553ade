"""Heads join and leave between two sittings of a run: nothing jumps, and a merge stays the mean."""

import threading

import numpy as np
import pytest
import tiny

from minilte.settings import stored
from minilte.comm import threads
from minilte.core import networks, tree
from minilte.core.errors import BadInput, RanksDisagree
from minilte.core.head import seen
from minilte.job import checkpoint, elastic, job, resume
from minilte.disk import folder
from minilte.run.session import first_state, read_records


def cut_off(path, **changes):
    """A run in a folder, stopped after its first merges."""
    tiny.begin(path, heads=3, **changes)
    assert isinstance(tiny.go_on(path, watch=tiny.stop_after(2)), job.Stopped)
    return path


def resumed(path, heads, size=1):
    """The summary of the run after it went on with so many heads, on some ranks."""

    def rank(transport):
        config = job.settings(path, transport, heads)
        return job.run(path, job.opened(config, transport), job.SILENT)

    return threads.run(size, rank)[0]


KINDS = ["lte", "reset-ab", "server", "nf4", "allreduce", "frozen", "skip-bad-heads", "absorbed"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("heads", [1, 2, 5])
def test_a_run_goes_on_with_any_number_of_heads_to_the_same_bits_on_any_ranks(tmp_path, kind, heads):
    one, other = (cut_off(tmp_path / name, **tiny.KINDS[kind]) for name in ("one", "other"))
    got = resumed(one, heads)
    assert got["steps"] == 6 and got["weights_sha256"] == resumed(other, heads, size=2)["weights_sha256"]
    assert stored.read_settings(one).heads == heads
    records = read_records(one / "metrics.jsonl")
    assert [len(record.losses) for record in records if record.step in (2, 6)] == [3, heads]


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_all_heads_compute_the_main_function_after_the_change(tmp_path, heads):  # law L10
    path = cut_off(tmp_path / "run", dtype="float64")
    before = resume.loaded(checkpoint.listed(path)[-1], job.opened(stored.read_settings(path), tiny.Solo()))
    session = job.opened(elastic.with_heads(stored.read_settings(path), heads), tiny.Solo())
    state = resume.loaded(checkpoint.listed(path)[-1], session)
    assert len(state.heads) == heads and len(state.main.then) == heads
    assert all(
        np.array_equal(a, b) for a, b in zip(tree.leaves(state.main.weights), tree.leaves(before.main.weights))
    )
    net, x = session.parts.task.net, session.parts.data.x_test
    expected, _ = networks.forward(net, state.main.weights, x)
    for head in state.heads:
        got, _ = networks.forward(net, seen(state.main.weights, head, dict.fromkeys(head.now, 1024.0)), x)
        np.testing.assert_allclose(got, expected, atol=1e-9)  # rounding: V and B A are the same factors
    for head, was in zip(state.heads, before.heads):  # those that stay are as they were
        assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(head.now), tree.leaves(was.now)))


def test_a_merge_after_the_change_is_the_mean_of_what_the_heads_did(tmp_path):  # law L13
    path = cut_off(tmp_path / "run", dtype="float64")
    session = job.opened(elastic.with_heads(stored.read_settings(path), 5), tiny.Solo())
    state = resume.loaded(checkpoint.listed(path)[-1], session)
    method = session.parts.method
    heads = method.local(state.main, list(state.heads), 4, 6, map)
    main, _ = method.merge(session.comm, state.main, heads, 6)
    s, W = 2048.0 / 2, state.main.weights["layer1"].W
    moves = [
        s * (head.now["layer1"].B @ head.now["layer1"].A - head.then["layer1"].B @ head.then["layer1"].A)
        for head in heads
    ]
    np.testing.assert_allclose(main.weights["layer1"].W, W + sum(moves) / 5, atol=1e-9)  # rounding of moves up to 10


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(method="full"), "full has workers that hold nothing"),
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


def test_a_picture_shows_no_bound_that_a_change_of_heads_has_lifted(tmp_path, monkeypatch):  # law L2
    bounds = []
    monkeypatch.setattr(job, "pictures", lambda *given: bounds.append(given[-1]))
    tiny.go_on(tiny.begin(tmp_path / "whole", heads=3))
    resumed(cut_off(tmp_path / "run"), 2)
    assert bounds == [{"layer1": 6}, {}]


def test_ranks_that_see_other_checkpoints_do_not_go_on_together(tmp_path, monkeypatch):
    path = cut_off(tmp_path / "run")
    newest = checkpoint.listed(path)[-1]

    def rank(transport):
        config = job.settings(path, transport)
        session = job.opened(config, transport)
        try:
            job.run(path, session, job.SILENT._replace(latest_good=True))
        except RanksDisagree as trouble:
            return str(trouble), trouble.agreed

    real = checkpoint.load

    def load(one, *given):
        if one == newest and threading.current_thread().name.endswith("lost"):
            raise checkpoint.Damaged(f"{one}: damaged for this rank alone")
        return real(one, *given)

    def named(transport):
        threading.current_thread().name = f"rank-{transport.rank}" + "-lost" * (transport.rank == 1)
        return rank(transport)

    monkeypatch.setattr(checkpoint, "load", load)
    said = threads.run(2, named)
    assert said[0] == said[1] and "rank 1: has a checkpoint of step" in said[0][0] and said[0][1]
    monkeypatch.undo()
    assert resumed(path, 3)["weights_sha256"] == tiny.go_on(tiny.begin(tmp_path / "whole", heads=3))["weights_sha256"]
