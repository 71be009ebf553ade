"""Full-rank training: every weight, every step, whatever the number of workers."""

import math

import numpy as np
import pytest
from support import OPTIMIZERS, STEPS, as_lists, assert_same, make_task, trajectory
from traffic import PROCESSES, assert_the_same_anywhere, total, trained

from minilte.comm.blocks import block
from minilte.comm.meetings import MASTER
from minilte.core import optim, tree
from minilte.laws import oracle
from minilte.methods.full import full
from minilte.steps.adamw import adamw


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_follows_dense_training_on_the_whole_batch(name, clip):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, whole = make_task(optimizer, lr, clip=clip)
    settings = oracle.Settings(task.rate, clip=clip or math.inf, **extra)
    expected = oracle.full(as_lists(task.weights), whole, STEPS, settings)
    assert_same(trajectory(full(task), 3), list(expected))


def test_the_number_of_workers_does_not_change_it():  # law L11
    ends = [trajectory(full(make_task(optim.adamw(), 0.01, heads=n)[0]), n)[-1] for n in (1, 2, 3, 8)]
    for end in ends[1:]:
        assert_same([end], ends[:1])


@pytest.mark.parametrize("heads", [1, 3, 5])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(heads):
    assert_the_same_anywhere(full(make_task(adamw(weight_decay=0.1), 0.01, heads=heads)[0]), heads, 6)


@pytest.mark.parametrize("processes", PROCESSES)
def test_under_a_master_gradients_go_up_and_weights_down(processes):
    N, steps = 5, 4
    task, _ = make_task(optim.sgd(), 0.05, heads=N)
    M = tree.nbytes(task.weights)
    sent = total([one for _, one in trained(full(task), MASTER, N, processes, steps)])
    up, down = N - len(block(N, processes, 0)), processes - 1
    assert sent.get("gradients", 0) == steps * up * M
    assert sent.get("weights", 0) == (steps + 1) * down * M  # and a first view
    if processes == N:
        assert up + down == 2 * (processes - 1)


def test_the_callers_weights_stay():
    task, _ = make_task(adamw(), 0.01)
    before = tree.map(np.copy, task.weights)
    trajectory(full(task), 3)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(task.weights), tree.leaves(before), strict=True))


def test_under_a_master_a_worker_holds_no_optimizer():
    task, _ = make_task(adamw(), 0.01)
    method = full(task)
    main, M = method.begin(), tree.nbytes(task.weights)
    sizes = [
        {kind: tree.nbytes(held) for kind, held in method.facts.held(main, method.enter(0), everyone).items()}
        for everyone in (True, False)
    ]
    assert sizes[0] == {"weights": M, "gradients": M, "optimizer": 2 * M + 8}
    assert sizes[1] == {"weights": M, "gradients": M, "optimizer": 0}
