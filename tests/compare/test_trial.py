"""A trial is the run that `ml.fit` makes; its bytes are those that processes send; its key is all that decides it."""

import functools

import numpy as np
import pytest

import minilte as ml
from minilte.comm import threads
from minilte.comm.buffers import payload
from minilte.compare.entrants import entry
from minilte.compare.sources import Sources
from minilte.compare.trial import SCORES, Trial, described, forecast, key, measured
from minilte.core.lte import MEAN
from minilte.core.types import Rule
from minilte.cost import account
from minilte.disk.weights import sha256
from minilte.run.session import advance, first_state, open_session
from minilte.settings.config import Config

WORDS = "full lte lte+ties lte+allreduce lte+server fedavg diloco lora galore adamix dynamic flora-stacked fedex+server".split()
SHARED = dict(widths=(5,), batch=12, heads=3, rank=2, project_rank=2, alpha=4.0, steps=7, merge_every=3, eval_every=3, rank_rule="energy",
              dtype="float64")  # fmt: skip


def trial(words, classes, **changes):
    config = Config.reading(SHARED | changes, **entry(words).settings)
    return Trial(config, *Sources(classes).of(config))


@pytest.mark.parametrize("words", WORDS)
def test_an_outcome_is_that_of_the_run_from_python(words, classes):
    made = trial(words, classes)
    found, result = measured(made), ml.fit(made.config, data=classes)
    looked = [record for record in result.records if record.train_loss is not None]
    assert [point["step"] for point in found.points] == [record.step for record in looked]
    for point, record in zip(found.points, looked):
        assert {name: point[name] for name in SCORES} == {name: getattr(record, name) for name in SCORES}
        assert point["samples"] == record.samples
    assert found.weights_sha256 == sha256(result.weights) and not found.diverged


@pytest.mark.parametrize("words", WORDS)
def test_bytes_and_memory_are_those_counted_with_a_head_on_every_process(words, classes):
    made = trial(words, classes)

    def on(transport):
        session = open_session(made.config.holding(data=classes), transport)
        *_, (_, state) = advance(session, first_state(session))
        held = account.memory(
            session.built.task, session.built.method, state.shown, state.heads[0], session.built.master
        )
        return payload(session.comm.sent), held["total"]

    counted = threads.run(made.config.heads, on)
    found = measured(made)
    assert found.points[-1]["bytes"] == sum(sent for sent, _ in counted)
    assert found.memory == counted[-1][1] or session_is_master(made)
    assert found.points[0]["bytes"] == (0 if not session_is_master(made) else found.points[0]["link_bytes"])
    assert 0 < found.points[-1]["link_bytes"] <= found.points[-1]["bytes"]


def session_is_master(made):
    return made.config.topology.name == "server"


@pytest.mark.parametrize("words", [word for word in WORDS if word != "dynamic"])  # whose ranks follow what was merged
def test_the_forecast_is_what_the_run_then_sends(words, classes):
    made = trial(words, classes, eval_every=1)
    found, told = measured(made), forecast(made)
    sent = {point["step"]: point["bytes"] for point in found.points}
    assert dict(zip(told.steps, told.bytes)) == {step: sent[step] for step in told.steps} and told.steps[-1] == 7
    assert told.memory == found.memory or words == "relora"


def test_a_run_that_diverges_is_an_outcome(classes):
    found = measured(trial("full+sgd", classes, lr=1e12, dtype="float32", steps=40))
    assert (
        found.diverged and "lr" in found.diverged and found.points == [] and found.score("test_loss") == float("inf")
    )


def test_rows_held_out_for_tuning_leave_the_test_set_to_the_end(classes):
    found = measured(trial("full", classes, validate=20.0, eval_every=1))
    assert all(point["test_loss"] is None for point in found.points[:-1])
    assert all(point["valid_loss"] is not None for point in found.points)


# ---------------------------------------------------------------- the key


def test_equal_runs_have_one_key_and_whatever_decides_the_numbers_another(classes):
    same = key(trial("lte", classes))
    assert same == key(trial("lte", classes)) and len(same) == 32
    moved = classes._replace(x_train=classes.x_train + 1e-9)
    others = [
        trial("lte", classes, seed=1),
        trial("lte", classes, lr=0.5),
        trial("lte", classes, steps=8),
        trial("full", classes),
        trial("lte", moved),
        trial("lte", classes)._replace(own={"rule": MEAN}),
    ]
    keys = {key(other) for other in others}
    assert len(keys) == len(others) and same not in keys


def test_the_machine_is_part_of_the_key_as_far_as_bits_go(classes, monkeypatch):
    from minilte.compare import trial as module

    before = key(trial("lte", classes))
    machine = module.fingerprint(1, "Solo")
    monkeypatch.setattr(module, "fingerprint", lambda *_: machine | {"cores": 1000})
    assert key(trial("lte", classes)) == before
    monkeypatch.setattr(module, "fingerprint", lambda *_: machine | {"kernel": "another"})
    assert key(trial("lte", classes)) != before


def scaled(by):
    return lambda x: by * x


class Holder:
    def __init__(self, value):
        self.value = value


def test_parts_of_ones_own_are_told_apart_by_their_code_and_their_values():
    things = [
        scaled(2.0),
        scaled(3.0),
        lambda x: 2.0 + x,
        lambda x: 2.0 - x,
        lambda x, by=1.0: by * x,
        lambda x, by=2.0: by * x,
        lambda x, *, by=3.0: by * x,
        Holder(1),
        Holder(2),
        Rule(scaled(1.0), scaled(1.0)),
        Rule(scaled(1.0), scaled(2.0)),
        functools.partial(pow, 2),
        functools.partial(pow, 3),
        np.arange(3),
        np.arange(3.0),
        np.arange(4),
        {"a": 1},
        {"a": 2},
        lambda x: (lambda y: y + 1)(x),
        lambda x: (lambda y: y + 2)(x),
    ]
    assert len({described(thing) for thing in things}) == len(things)
    assert described(scaled(2.0)) == described(scaled(2.0))


def test_a_part_that_holds_itself_has_an_end():
    def loop(x):
        return loop(x)

    assert described(loop) == described(loop)
