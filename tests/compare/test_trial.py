"""A trial is the run that `ml.fit` makes; its bytes are those that processes send; its key is all that decides it."""

import pytest

import minilte as ml
from minilte.comm import threads
from minilte.comm.buffers import payload
from minilte.compare.entrants import entry
from minilte.compare.sources import Sources
from minilte.compare.trial import SCORES, Trial, forecast, measured
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


@pytest.mark.parametrize("topology", ["default", "server"])
def test_the_bytes_of_ranks_that_change_on_the_way_are_those_of_each_merge(topology, classes):
    made = trial("dynamic", classes, rank_rule="schedule", rank_from=1, topology=topology, steps=12, rank=4)

    def on(transport):
        session = open_session(made.config.holding(data=classes), transport)
        *_, (_, state) = advance(session, first_state(session))
        return payload(session.comm.sent)

    found = measured(made).points[-1]["bytes"]
    assert found == sum(threads.run(made.config.heads, on)) and found != forecast(made).bytes[-1]


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


def test_of_a_run_to_tune_by_nothing_of_the_test_set_is_kept(classes):
    found = measured(trial("full", classes, validate=20.0, eval_every=1))
    assert all(point["test_loss"] is point["test_accuracy"] is None for point in found.points)
    assert all(point["valid_loss"] is not None for point in found.points)
