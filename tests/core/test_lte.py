"""The loop of Algorithm 1: rounds, continuation, what it leaves alone. What it computes is tested by the laws."""

import numpy as np
from support import RANKS, SEED, STEPS, Alone, as_lists, make_plan, make_task, trajectory

from minilte.core import lora, lte, optim


def test_the_last_round_may_be_shorter_and_always_merges():
    task, _ = make_task(optim.sgd(), 0.05)
    method = lte.lte(task, make_plan(task), every=8)
    comm = Alone(len(RANKS))
    rounds = list(lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], 20))
    assert [done.step for done in rounds] == [8, 16, 20]


def test_no_step_changes_nothing():
    task, _ = make_task(optim.sgd(), 0.05)
    method = lte.lte(task, make_plan(task))
    comm = Alone(len(RANKS))
    assert list(lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], 0)) == []


def test_going_on_from_a_merge_is_the_same_run():
    task, _ = make_task(optim.adamw(), 0.01)
    method = lte.lte(task, make_plan(task), every=5)
    comm = Alone(len(RANKS))
    first = list(lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], 15))[-1]
    rest = list(lte.rounds(method, comm, first.main, first.heads, STEPS, start=15))[-1]
    for mine, theirs in zip(as_lists(rest.main.weights), trajectory(method, len(RANKS))[-1]):
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs))


def test_unadapted_layers_are_trained_as_replicas_and_frozen_with_them():
    task, _ = make_task(optim.sgd(), 0.05)
    plan = lora.plan(task.weights, [{"layer2": 2}] * 3, alpha=2.0, seed=SEED)
    for replicas, moves in (("average", True), ("frozen", False)):
        end = dict(zip(task.weights, trajectory(lte.lte(task, plan, 5, replicas=replicas), 3)[-1]))
        assert np.array_equal(end["layer1"][0], task.weights["layer1"].W) is not moves
        assert not np.array_equal(end["layer2"][0], task.weights["layer2"].W)


def test_the_callers_weights_stay():
    task, _ = make_task(optim.sgd(), 0.05)
    before = [(W.copy(), c.copy()) for W, c in as_lists(task.weights)]
    trajectory(lte.lte(task, make_plan(task)), 3)
    for mine, theirs in zip(as_lists(task.weights), before):
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs))  # no alias into a run
