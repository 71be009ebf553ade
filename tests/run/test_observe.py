"""What a run says of itself: scores of the main weights, measures, how far the weights went."""

import json
import math

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import networks, tree
from minilte.core.errors import Diverged
from minilte.core.method import Round
from minilte.disk.weights import sha256
from minilte.run import observe
from minilte.run.observe import Record, dense_weights, distance, due, observed, silent_loss
from minilte.run.session import advance, first_state, open_session


def everything(session):
    """(records, states) to the end."""
    return zip(*advance(session, first_state(session)))


@given(st.integers(0, 50), st.integers(1, 20), st.integers(1, 20), st.integers(1, 99))
def test_a_round_is_due_when_it_passes_a_multiple_or_ends_the_run(before, length, every, last):
    step = before + length
    passed = any(k % every == 0 for k in range(before + 1, step + 1))
    assert due(before, step, every, last) == (step == last or passed)


def test_the_record_of_an_evaluation_is_the_loss_of_the_main_weights():
    session = tiny.session(dtype="float64")
    records, states = everything(session)
    (W, c), data = session.built.method.weights(states[-1].main)["layer1"], session.built.data
    expected = np.mean(((data.x_test @ W.T + c - data.y_test) ** 2).sum(axis=1))
    assert math.isclose(records[-1].test_loss, expected, rel_tol=1e-12)  # another order of the same sum
    assert records[-1].test_accuracy is None


def test_a_classification_has_an_accuracy():
    session = tiny.session(data="fashion-mini", steps=1)
    records, states = everything(session)
    data = session.built.data
    z, _ = networks.forward(session.built.task.net, session.built.method.weights(states[-1].main), data.x_test)
    assert records[-1].test_accuracy == np.mean(z.argmax(axis=1) == data.y_test)


@pytest.mark.parametrize("data", ["least-squares", "fashion-mini"])
def test_with_a_validation_the_test_set_is_looked_at_once_at_the_end(data, monkeypatch):
    session = tiny.session(data=data, validate=16, eval_every=2)
    held, seen, real = session.built.data, [], observe.evaluate

    def evaluate(net, weights, x, y):
        seen.append(next(name for name in held.splits if np.shares_memory(x, getattr(held, f"x_{name}"))))
        return real(net, weights, x, y)

    monkeypatch.setattr(observe, "evaluate", evaluate)
    records, states = everything(session)
    assert seen == ["train", "valid"] * 4 + ["test"]
    assert [record.test_loss is None for record in records] == [True, True, True, False]
    weights = session.built.method.weights(states[-1].main)
    for split in ("valid", "test"):
        x, y = getattr(held, f"x_{split}"), getattr(held, f"y_{split}")
        expected = real(session.built.task.net, weights, x, y)
        assert (getattr(records[-1], f"{split}_loss"), getattr(records[-1], f"{split}_accuracy")) == expected
    assert records[-1].held_loss == records[-1].valid_loss and records[-1].held_accuracy == records[-1].valid_accuracy


def test_rows_that_validate_are_in_no_batch():
    built = tiny.session(validate=16).built
    seen = {row.tobytes() for step in range(40) for n in range(2) for row in built.task.batch(n, step)[0]}
    assert seen == {row.tobytes() for row in built.data.x_train}
    assert seen.isdisjoint(row.tobytes() for row in built.data.x_valid)


@pytest.mark.parametrize("method", ["lora", "mhlora"])
def test_what_is_saved_does_not_depend_on_the_threads_of_blas_outside(method):
    from threadpoolctl import threadpool_limits

    config = tiny.config(method=method, inputs=301, outputs=300, rank=100, alpha=64.0, steps=1)
    hashes = set()
    for blas in (1, 2):
        with threadpool_limits(blas, user_api="blas"):
            session = open_session(config)
            *_, (_, last) = advance(session, first_state(session))
            hashes.add(sha256(dense_weights(session.built.method, last.main)))
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


def test_the_loss_of_saying_nothing_is_that_of_a_network_of_zeros():
    session = tiny.session()
    y = session.built.data.y_train
    assert silent_loss(session.built) == pytest.approx(np.mean(np.sum(y.astype(float) ** 2, axis=1)))


@pytest.mark.parametrize("kind", ["lte", "full", "lora", "nf4", "reset-ab"])
def test_the_norm_of_an_update_is_how_far_the_weights_went_in_the_last_round(kind):
    session, before = tiny.session(**tiny.KINDS[kind] | dict(dtype="float64", eval_every=2)), None
    for record, state in advance(session, first_state(session)):
        now = dense_weights(session.built.method, state.main)
        if before is not None and record.train_loss is not None:
            moved = np.concatenate([(a - b).ravel() for a, b in zip(tree.leaves(now), tree.leaves(before))])
            assert record.update_norm == pytest.approx(np.linalg.norm(moved), rel=1e-12)
        elif before is None:
            assert record.update_norm is None
        before = now


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 9))
def test_a_distance_is_that_of_all_numbers_as_one_vector(m, n, seed):
    rng = np.random.default_rng(seed)
    a, b = ({"W": rng.standard_normal((m, n)), "c": (None, rng.standard_normal(m))} for _ in range(2))
    flat = [np.concatenate([leaf.ravel() for leaf in tree.leaves(one)]) for one in (a, b)]
    assert distance(a, b) == pytest.approx(np.linalg.norm(flat[0] - flat[1]), rel=1e-12) and distance(a, a) == 0.0


def test_a_record_shows_and_writes_all_but_the_state():
    record = Record(3, 24, 0.5, [1.0, None], state=(np.zeros(9), "the state"))
    assert record.plain() == {name: value for name, value in record._asdict().items() if name != "state"}
    assert json.loads(json.dumps(record.plain())) == record.plain()
    assert "state" not in repr(record) and eval(repr(record)) == record._replace(state=None)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the overflow is the point
def test_an_update_beyond_all_numbers_is_a_divergence():
    session = tiny.session()
    main = first_state(session).main
    far = main._replace(weights=tree.map(lambda leaf: leaf + np.float32(1e30), main.weights))
    with pytest.raises(Diverged, match="main weights: the norm of the last update is inf at step 6; lower --lr"):
        observed(session.config, session.built, Round(6, main, [], [1.0, 1.0], main), 0.0, True, far)
