"""Data parallel methods: what they share with LTE, and what they leave alone. Their steps are tested by the laws."""

import numpy as np
from support import RANKS, STEPS, assert_same, make_plan, make_task, trajectory

from minilte.methods import data_parallel
from minilte.core import lora, lte, optim, tree


def test_one_head_without_resets_is_plain_lora_whatever_T():
    task, _ = make_task(optim.adamw(), 0.01, heads=1)
    plan = make_plan(task, [2])
    once = trajectory(data_parallel.lora(task, plan), 1)[-1]
    for every in (1, 7, 50):
        assert_same([trajectory(lte.lte(task, plan, every), 1)[-1]], [once])  # law L1


def test_the_number_of_workers_does_not_change_full_rank_training():  # law L11
    ends = [trajectory(data_parallel.full(make_task(optim.adamw(), 0.01, heads=n)[0]), n)[-1] for n in (1, 2, 3, 8)]
    for end in ends[1:]:
        assert_same([end], ends[:1])


def test_many_heads_at_once_are_one_adapter_of_their_summed_rank():  # law L5
    task, _ = make_task(optim.sgd(), 0.05)
    plan = make_plan(task, [1, 1, 1])
    wide = {name: lora.stack([plan.draw(n, 0)[name] for n in range(3)], [1, 1, 1]) for name in task.weights}
    # the same alpha: alpha / 3 for one adapter of rank 3 is (alpha / 1) / 3 for each of three heads
    one = make_plan(task, [3])._replace(draw=lambda n, step: wide)
    many, single = (trajectory(data_parallel.mhlora(task, which), len(RANKS), 20) for which in (plan, one))
    assert_same(many, single)


def test_frozen_weights_and_the_callers_stay():
    task, _ = make_task(optim.sgd(), 0.05)
    before = [leaf.copy() for leaf in tree.leaves(task.weights)]
    end = trajectory(data_parallel.mhlora(task, make_plan(task), "frozen"), len(RANKS))[-1]
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(task.weights), before))
    assert all(np.array_equal(c, layer.c) for (_, c), layer in zip(end, task.weights.values()))


def test_gradients_are_shared_at_every_step():
    method = data_parallel.full(make_task(optim.sgd(), 0.05)[0])
    assert len(trajectory(method, len(RANKS))) == STEPS  # T = 1
