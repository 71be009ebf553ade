"""A run in memory: its records tell what happened; its bits depend on neither ranks nor sittings."""

import json
import math

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.core import networks, tree
from minilte.core.errors import BadInput, Diverged
from minilte.run import build
from minilte.disk import folder
from minilte.job import job
from minilte.show import plots
from minilte.run.session import (
    Record,
    advance,
    due,
    first_state,
    open_session,
    read_records,
    dense_weights,
    silent_loss,
)
from minilte.disk.weights import sha256

RUNAWAY = dict(optimizer="sgd", lr=1e30, schedule="constant", warmup=0.0)


def everything(session, state=None):
    """(records, states) to the end."""
    return zip(*advance(session, state or first_state(session)))


def last_hash(session, states):
    return sha256(session.parts.method.dense(states[-1].main))


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_run_in_two_sittings_is_a_run_in_one(kind):
    session = tiny.session(**tiny.KINDS[kind])
    records, states = everything(session)
    for i, state in enumerate(states[1:-1], 1):
        again, ended = everything(session, state)
        assert [r.losses for r in again] == [r.losses for r in records[i + 1 :]]
        assert [(r.step, r.test_loss) for r in again] == [(r.step, r.test_loss) for r in records[i + 1 :]]
        assert last_hash(session, ended) == last_hash(session, states)


@pytest.mark.parametrize(
    "kind",
    ["lte", "reset-ab", "full", "mhlora", "unequal-ranks", "allreduce", "server-reset", "nf4", "int8-stochastic",
     "in-place", "brain-wire"],
)  # fmt: skip
@pytest.mark.parametrize("size", [2, 3, 5])
def test_any_number_of_ranks_gives_the_bits_of_one(kind, size):
    heads = dict(heads=3, head_ranks=(1, 3, 2)) if kind == "unequal-ranks" else dict(heads=3)
    settings = tiny.KINDS[kind] | heads

    def rank(transport):
        session = tiny.session(transport, **settings)
        records, states = everything(session)
        bits = None if states[-1].main is None else last_hash(session, states)  # workers under a master have none
        return bits, [r.losses for r in records], [r.test_loss for r in records]

    alone = rank(None)
    first, *others = threads.run(size, rank)
    assert first == alone
    assert all(other[0] in (alone[0], None) and other[1] == alone[1] for other in others)


def test_the_callers_state_stays():
    session = tiny.session()
    state = first_state(session)
    leaves = tree.leaves((state.main, state.heads))
    before = [np.array(leaf) for leaf in leaves]
    list(advance(session, state))
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, leaves))
    assert state.facts == {"seconds": 0.0, "sent": {}}


@given(st.integers(0, 20), st.integers(1, 7), st.integers(0, 9), st.sampled_from(["lte", "full"]))
def test_records_come_at_the_start_and_after_every_merge(steps, every, eval_every, method):
    session = tiny.session(steps=steps, merge_every=every, eval_every=eval_every, method=method)
    records, states = everything(session)
    every = every if method == "lte" else 1
    assert [r.step for r in records] == [s.step for s in states] == sorted({*range(0, steps, every), steps})
    assert all(r.samples == 8 * r.step for r in records)
    assert all(len(r.losses) == 2 for r in records[1:]) and records[0].losses == []
    assert [r.seconds for r in records] == sorted(r.seconds for r in records)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 9))
def test_evaluations_are_rounded_up_to_merges(steps, every, eval_every):
    records, _ = everything(tiny.session(steps=steps, merge_every=every, eval_every=eval_every))
    merges = [record.step for record in records]
    wanted = {0, steps} | {min(m for m in merges if m >= k) for k in range(0, steps + 1, eval_every)}
    assert {record.step for record in records if record.test_loss is not None} == wanted


@given(st.integers(0, 50), st.integers(1, 20), st.integers(1, 20), st.integers(1, 99))
def test_a_round_is_due_when_it_passes_a_multiple_or_ends_the_run(before, length, every, last):
    step = before + length
    passed = any(k % every == 0 for k in range(before + 1, step + 1))
    assert due(before, step, every, last) == (step == last or passed)


def test_the_record_of_an_evaluation_is_the_loss_of_the_main_weights():
    session = tiny.session(dtype="float64")
    records, states = everything(session)
    (W, c), data = session.parts.method.dense(states[-1].main)["layer1"], session.parts.data
    expected = np.mean(((data.x_test @ W.T + c - data.y_test) ** 2).sum(axis=1))
    assert math.isclose(records[-1].test_loss, expected, rel_tol=1e-12)  # another order of the same sum
    assert records[-1].test_accuracy is None


def test_a_classification_has_an_accuracy():
    session = tiny.session(data="fashion-mini", steps=1)
    records, states = everything(session)
    data = session.parts.data
    z, _ = networks.forward(session.parts.task.net, session.parts.method.dense(states[-1].main), data.x_test)
    assert records[-1].test_accuracy == np.mean(z.argmax(axis=1) == data.y_test)


def test_only_rank_0_evaluates():
    first, second = threads.run(2, lambda transport: list(everything(tiny.session(transport)))[0])
    assert all(r.test_loss is not None for r in first) and all(r.test_loss is None for r in second)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_all_ranks_with_the_head_named():
    def rank(transport):
        with pytest.raises(Diverged) as caught:
            list(everything(tiny.session(transport, steps=20, **RUNAWAY)))
        return str(caught.value), caught.value.agreed

    assert len(set(threads.run(2, rank))) == 1
    message, agreed = threads.run(1, rank)[0]
    assert agreed and message.startswith("head 0: ") and "--lr" in message


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_main_weights_that_are_past_all_numbers_after_the_last_step_stop_the_run_too():
    with pytest.raises(Diverged, match="main weights, training: the loss is (inf|nan) at step 1"):
        list(everything(tiny.session(steps=1, **RUNAWAY)))


def test_one_rank_runs_its_heads_on_its_cores_and_several_on_one_each():
    assert tiny.session().comm.heads == 2 and tiny.session().comm.size == 1
    assert threads.run(2, lambda transport: tiny.session(transport).comm.pool) == [None, None]


def test_settings_that_fit_no_data_open_no_session():
    with pytest.raises(BadInput):
        open_session(tiny.config(samples=4))


def test_records_are_read_as_they_were_written(tmp_path):
    records, _ = everything(tiny.session())
    folder.write_lines(tmp_path / "metrics.jsonl", [record._asdict() for record in records])
    assert read_records(tmp_path / "metrics.jsonl") == list(records)
    assert isinstance(records[0], Record)


@pytest.mark.parametrize("line", ['{"step": 1}', '{"zzz": 1}', "{}"])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(BadInput, match="metrics.jsonl line 1: not a record"):
        read_records(tmp_path / "metrics.jsonl")


@pytest.mark.parametrize("method", ["lora", "mhlora"])
def test_what_is_saved_does_not_depend_on_the_threads_of_blas_outside(method):
    from threadpoolctl import threadpool_limits

    config = tiny.config(method=method, inputs=301, outputs=300, rank=100, alpha=64.0, steps=1)
    hashes = set()
    for blas in (1, 2):
        with threadpool_limits(blas, user_api="blas"):
            session = open_session(config)
            *_, (_, last) = advance(session, first_state(session))
            hashes.add(sha256(dense_weights(session, last.main)))
    assert len(hashes) == 1


@pytest.mark.parametrize("kind", ["lte", "reset-b", "full", "mhlora", "allreduce", "nf4"])
def test_measures_are_taken_at_evaluations_and_change_no_number(kind):
    plain, _ = everything(tiny.session(**tiny.KINDS[kind]))
    records, _ = everything(tiny.session(**tiny.KINDS[kind], measure=True, eval_every=2))
    assert [record.losses for record in records] == [record.losses for record in plain]
    assert plain[-1].measures is None
    (layer,) = records[-1].measures["layers"].values()
    assert layer["rank"] >= 1 and records[-1].measures["step"] == 6
    known = kind in ("lte", "nf4")  # where the main state remembers every head's factors
    assert isinstance(layer["cosine"], float) == known and ("undefined" in str(layer["cosine"])) != known
    json.dumps(records[-1].measures, allow_nan=False)


def test_a_run_that_measures_draws_it(tmp_path):
    records, _ = everything(tiny.session(measure=True, eval_every=2))
    plots.measures(tmp_path, records)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["measures.png", "measures.svg"]


def test_the_loss_of_saying_nothing_is_that_of_a_network_of_zeros():
    session = tiny.session()
    y = session.parts.data.y_train
    assert silent_loss(session) == pytest.approx(np.mean(np.sum(y.astype(float) ** 2, axis=1)))


def test_health_goes_on_where_a_run_was_stopped():
    session = tiny.session()
    _, states = everything(session)
    assert states[1].facts["health"] == states[-1].facts["health"] and states[1].facts["health"][0] > 0
    _, resumed = everything(session, states[1])
    assert resumed[-1].facts["health"] == states[-1].facts["health"]
    ill = states[1]._replace(facts=states[1].facts | {"health": [1e-9, 2]})
    patch = pytest.MonkeyPatch()
    patch.setattr("minilte.run.session.silent_loss", lambda session: 0.0)
    with pytest.raises(Diverged, match="after 1e-09 at the first merge"), patch.context():
        everything(session, ill)  # the third bad merge in a row is the first after the stop
    patch.undo()


@pytest.mark.parametrize("kind", ["lte", "full", "lora", "nf4", "reset-ab"])
def test_the_norm_of_an_update_is_how_far_the_weights_went_in_the_last_round(kind):
    session, before = tiny.session(**tiny.KINDS[kind] | dict(dtype="float64", eval_every=2)), None
    for record, state in advance(session, first_state(session)):
        now = dense_weights(session, state.main)
        if before is not None and record.train_loss is not None:
            moved = np.concatenate([(a - b).ravel() for a, b in zip(tree.leaves(now), tree.leaves(before))])
            assert record.update_norm == pytest.approx(np.linalg.norm(moved), rel=1e-12)
        elif before is None:
            assert record.update_norm is None
        before = now


def test_a_leap_of_the_weights_is_said(tmp_path):
    settings, said = dict(steps=40, eval_every=2, optimizer="sgd", alpha=2.0, lr=1e-3), []
    tiny.begin(tmp_path / "run", **settings)
    session = tiny.session(**settings)
    wild = session.parts.task._replace(rate=lambda step: 1e-3 * (30 if step >= 30 else 1))
    method = build.low_rank_method(session.config, wild, [{"layer1": 2}] * 2)
    session = session._replace(parts=session.parts._replace(task=wild, method=method))
    job.run(tmp_path / "run", session, job.Watch(said.append, lambda *_: None, lambda: 0))
    assert ["step 32" in line for line in said if "as far as ever before" in line] == [True]
