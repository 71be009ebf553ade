"""A run in memory: its records tell what happened; its bits depend on neither processes nor sittings."""

import json

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.core import tree
from minilte.core.errors import BadInput, Diverged
from minilte.disk.weights import sha256, write_weights
from minilte.run.session import advance, first_state, open_session

RUNAWAY = dict(optimizer="sgd", lr=1e30, schedule="constant", warmup=0.0)


def everything(session, state=None):
    """(records, states) to the end."""
    return zip(*advance(session, state or first_state(session)))


def last_hash(session, states):
    return sha256(session.built.method.weights(states[-1].main))


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_run_in_two_sittings_is_a_run_in_one(kind):
    session = tiny.session(**tiny.KINDS[kind] | dict(eval_every=4))
    records, states = everything(session)
    assert len(states) > 3 and {r.test_loss is None for r in records} == {True, False}  # some are not evaluated
    for i, state in enumerate(states[1:-1], 1):
        again, ended = everything(session, state)
        assert [r.losses for r in again] == [r.losses for r in records[i + 1 :]]
        assert [(r.step, r.test_loss) for r in again] == [(r.step, r.test_loss) for r in records[i + 1 :]]
        assert last_hash(session, ended) == last_hash(session, states)


@pytest.mark.parametrize(
    "kind",
    ["lte", "reset-ab", "full", "full-server", "mhlora", "unequal-ranks", "allreduce", "server-reset", "nf4",
     "int8-stochastic", "in-place", "brain-wire", "ties", "outer", "fedavg", "diloco", "fedit", "fedex"],
)  # fmt: skip
@pytest.mark.parametrize("size", [2, 3, 5])
def test_any_number_of_processes_gives_the_bits_of_one(kind, size):
    heads = dict(heads=3, head_ranks=(1, 3, 2)) if kind == "unequal-ranks" else dict(heads=3)
    settings = tiny.KINDS[kind] | heads

    def process(transport):
        session = tiny.session(transport, **settings)
        records, states = everything(session)
        worker = session.built.master and session.comm.process  # it has no main weights
        bits = None if worker else last_hash(session, states)
        return bits, [r.losses for r in records], [r.test_loss for r in records]

    alone = process(None)
    first, *others = threads.run(size, process)
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
    every = every if method == "lte" else 1
    merging = dict(merge_every=every) if method == "lte" else {}
    session = tiny.session(steps=steps, eval_every=eval_every, method=method, **merging)
    records, states = everything(session)
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


@pytest.mark.parametrize("start", ["drawn", "file"])
def test_a_worker_under_a_master_has_the_matrices_that_have_no_adapters(tmp_path, start):
    settings = dict(model="mlp", widths=(5, 4), adapt=("layer2",), topology="server", steps=6)
    if start == "file":
        drawn = tiny.session(seed=9, model="mlp", widths=(5, 4)).built.task.weights
        write_weights(tmp_path / "w.safetensors", drawn)
        settings["init_from"] = str(tmp_path / "w.safetensors")
    (alone,), (first, _) = (
        threads.run(size, lambda transport: list(everything(tiny.session(transport, **settings)))[0])
        for size in (1, 2)
    )
    assert alone[-1].step == 6 and [record.losses for record in alone] == [record.losses for record in first]


def test_only_process_0_evaluates():
    first, second = threads.run(2, lambda transport: list(everything(tiny.session(transport)))[0])
    assert len(first) == len(second) > 1
    assert all(r.test_loss is not None for r in first) and all(r.test_loss is None for r in second)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_all_processes_with_the_head_named():
    def process(transport):
        with pytest.raises(Diverged) as caught:
            list(everything(tiny.session(transport, steps=20, **RUNAWAY)))
        return str(caught.value), caught.value.agreed

    assert len(set(threads.run(2, process))) == 1
    message, agreed = threads.run(1, process)[0]
    assert agreed and message.startswith("head 0: ") and "--lr" in message


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_main_weights_that_are_past_all_numbers_after_the_last_step_stop_the_run_too():
    with pytest.raises(Diverged, match="main weights, training: the loss is (inf|nan) at step 1"):
        list(everything(tiny.session(steps=1, **RUNAWAY)))


def test_one_process_runs_its_heads_on_its_cores_and_several_on_one_each():
    assert tiny.session().comm.heads == 2 and tiny.session().comm.size == 1
    assert threads.run(2, lambda transport: tiny.session(transport).comm.pool) == [None, None]


def test_settings_that_fit_no_data_open_no_session():
    with pytest.raises(BadInput):
        open_session(tiny.config(samples=4))


def test_health_goes_on_where_a_run_was_stopped():
    session = tiny.session()
    _, states = everything(session)
    assert states[1].facts["health"] == states[-1].facts["health"] and states[1].facts["health"][0] > 0
    _, resumed = everything(session, states[1])
    assert resumed[-1].facts["health"] == states[-1].facts["health"]
    ill = states[1]._replace(facts=states[1].facts | {"health": [1e-9, 2]})
    patch = pytest.MonkeyPatch()
    patch.setattr("minilte.run.session.silent_loss", lambda built: 0.0)
    with pytest.raises(Diverged, match="after 1e-09 at the first merge"), patch.context():
        everything(session, ill)  # the third bad merge in a row is the first after the stop
    patch.undo()


@pytest.mark.parametrize("merges", [1, 2, 3])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_of_few_merges_that_ran_away_does_not_end_as_if_all_were_well(merges, stopped):
    session = tiny.session(steps=2 * merges, lr=50.0, schedule="constant")
    state = first_state(session)
    if stopped and merges > 1:
        *_, (_, (_, state)) = zip(range(merges), advance(session, state))  # before the last merge
    with pytest.raises(Diverged, match="the (training )?loss is .*; lower --lr"):
        for _ in advance(session, state):
            pass


@pytest.mark.parametrize("lr", [1e15, 1e20, 1e30, 1e60, 1e150])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["lte", "full"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the overflow is the point
def test_a_rate_beyond_all_reason_is_a_divergence_and_every_record_before_it_is_json(lr, dtype, method):
    session = tiny.session(lr=lr, dtype=dtype, method=method, measure=True, eval_every=1, schedule="constant")
    with pytest.raises(Diverged, match="; lower --lr"):
        for record, _ in advance(session, first_state(session)):
            json.dumps(record.plain(), allow_nan=False)
