"""The loop of Algorithm 1: rounds, continuation, what it leaves alone. What it computes is tested by the laws."""

import numpy as np
import pytest
from support import RANKS, SEED, STEPS, Alone, as_lists, make_plan, make_task, trajectory

from minilte.core import lora, lte, optim, tree
from minilte.core.errors import BadInput
from minilte.core.types import Rule


def test_the_defaults_are_those_of_the_paper():
    task, _ = make_task(optim.adamw(), 0.01)
    plan = make_plan(task)
    explicit = lte.lte(task, plan, 10, "none", False, "shard", "average", [1 / 3] * 3)
    for mine, theirs in zip(trajectory(lte.lte(task, plan), 3), trajectory(explicit, 3), strict=True):
        assert all(np.array_equal(a, b) for one, other in zip(mine, theirs) for a, b in zip(one, other))


def test_a_round_carries_the_losses_of_all_heads_and_a_rule_its_state():
    task, _ = make_task(optim.sgd(), 0.05)
    counting = Rule(
        lambda weights: {"merges": 0, "of": len(weights)},
        lambda state, weights, *rest: (weights, state | {"merges": state["merges"] + 1}),
    )
    method, comm = lte.lte(task, make_plan(task), rule=counting), Alone(len(RANKS))
    rounds = list(lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], 30))
    assert [done.main.rule for done in rounds] == [{"merges": i, "of": 3} for i in (1, 2, 3)]
    assert all(done.losses == [head.loss for head in done.heads] and len(done.losses) == 3 for done in rounds)
    assert method.params(rounds[-1].main) is method.dense(rounds[-1].main) is rounds[-1].main.weights


@pytest.mark.parametrize("setting", [dict(reset_mode="B"), dict(reduction="mean"), dict(replicas="none")])
def test_unknown_words_are_refused(setting):
    task, _ = make_task(optim.sgd(), 0.05)
    with pytest.raises(BadInput, match="expected one of"):
        lte.lte(task, make_plan(task), **setting)


def test_the_state_has_the_same_structure_from_the_start():
    task, _ = make_task(optim.sgd(), 0.05)
    for mode in lte.RESETS:
        method, comm = lte.lte(task, make_plan(task), reset_mode=mode), Alone(len(RANKS))
        main, heads = method.begin(), [method.enter(n) for n in comm.mine]
        *_, last = lte.rounds(method, comm, main, heads, 20)
        for before, after in ((main, last.main), (heads[1], last.heads[1])):
            assert [path for path, _ in tree.named(before)] == [path for path, _ in tree.named(after)]
        assert all(not leaf.any() for leaf in tree.leaves(main.then))  # V = 0


def test_a_round_that_begins_between_merges_ends_at_the_next():
    task, _ = make_task(optim.sgd(), 0.05)
    method, comm = lte.lte(task, make_plan(task), every=8), Alone(len(RANKS))
    rounds = list(lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], 20, start=3))
    assert [done.step for done in rounds] == [8, 16, 20]


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
