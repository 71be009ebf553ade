"""LTE follows the dense oracle for 50 steps, for every choice of its parts."""

from itertools import product

import pytest
from dense import dense_start
from support import OPTIMIZERS, RANKS, STEPS, assert_same, make_plan, make_task, trajectory

from minilte.core import lte, optim
from minilte.laws import oracle
from minilte.laws.exact import redrawn


@pytest.mark.parametrize(
    "every, reset, forget, name", list(product([1, 3, 10], ["none", "b", "ab"], [False, True], OPTIMIZERS))
)
def test_lte_follows_the_dense_method(every, reset, forget, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    method = lte.lte(task, plan, every, reset, forget)
    settings = oracle.Settings(task.rate, every=every, reset=reset, reset_optimizer=forget, **extra)
    expected = oracle.lte(*dense_start(task, plan), task.batch, STEPS, settings, redraw=redrawn(plan))
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
    expected = oracle.lte(*dense_start(task, plan), task.batch, STEPS, settings, w, factor)
    assert_same(trajectory(method, len(RANKS)), list(expected))
