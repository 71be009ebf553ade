"""Every method follows the dense oracle for 50 steps, for every choice of its parts."""

from itertools import product

import pytest
from support import (
    OPTIMIZERS,
    RANKS,
    STEPS,
    adapters_of,
    as_lists,
    assert_same,
    make_plan,
    make_task,
    scales_of,
    trajectory,
)

from minilte.core import lte, optim
from minilte.laws import oracle
from minilte.methods.full import full
from minilte.methods.mhlora import lora, mhlora


@pytest.mark.parametrize(
    "every, reset, forget, name", list(product([1, 3, 10], ["none", "b", "ab"], [False, True], OPTIMIZERS))
)
def test_lte_follows_the_dense_method(every, reset, forget, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    method = lte.lte(task, plan, every, reset, forget)
    settings = oracle.Settings(task.rate, every=every, reset=reset, reset_optimizer=forget, **extra)
    expected = oracle.lte(
        as_lists(task.weights),
        adapters_of(plan),
        scales_of(plan),
        task.batch,
        STEPS,
        settings,
        redraw=lambda n, step: [pair.A for pair in plan.draw(n, step).values()],
    )
    assert_same(trajectory(method, len(RANKS)), list(expected))


@pytest.mark.parametrize(
    "reduction, replicas, loss",
    list(product(["shard", "batch"], ["average", "frozen"], ["cross-entropy", "squared-error"])),
)
def test_lte_follows_the_dense_method_with_unequal_shares_clipping_and_any_replicas(reduction, replicas, loss):
    task, _ = make_task(optim.sgd(0.5), 0.05, clip=0.5, loss=loss)
    plan, w = make_plan(task), [0.5, 0.2, 0.3]
    method = lte.lte(task, plan, 4, reduction=reduction, replicas=replicas, w=w)
    settings = oracle.Settings(task.rate, momentum=0.5, clip=0.5, every=4, replicas=replicas)
    factor = list(task.shards) if reduction == "batch" else None
    expected = oracle.lte(
        as_lists(task.weights), adapters_of(plan), scales_of(plan), task.batch, STEPS, settings, w, factor
    )
    assert_same(trajectory(method, len(RANKS)), list(expected))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_full_follows_dense_training_on_the_whole_batch(name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, whole = make_task(optimizer, lr, clip=0.3)
    expected = oracle.full(as_lists(task.weights), whole, STEPS, oracle.Settings(task.rate, clip=0.3, **extra))
    assert_same(trajectory(full(task), len(RANKS)), list(expected))


@pytest.mark.parametrize("name, replicas", list(product(OPTIMIZERS, ["average", "frozen"])))
def test_mhlora_follows_the_dense_method_on_the_whole_batch(name, replicas):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, whole = make_task(optimizer, lr)
    plan = make_plan(task)
    settings = oracle.Settings(task.rate, replicas=replicas, **extra)
    expected = oracle.mhlora(as_lists(task.weights), adapters_of(plan), scales_of(plan), whole, STEPS, settings)
    assert_same(trajectory(mhlora(task, plan, replicas), len(RANKS)), list(expected))


def test_lora_is_one_head_on_the_whole_batch():
    task, whole = make_task(optim.adamw(), 0.01)
    plan = make_plan(task)
    settings = oracle.Settings(task.rate, optimizer="adamw")
    expected = oracle.mhlora(
        as_lists(task.weights), adapters_of(plan)[:1], scales_of(plan)[:1], whole, STEPS, settings
    )
    assert_same(trajectory(lora(task, plan), len(RANKS)), list(expected))
