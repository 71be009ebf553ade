"""FedAvg and DiLoCo against their definitions, written out: every head trains its own full matrices."""

import numpy as np
import pytest
from support import OPTIMIZERS, RANKS, STEPS, as_lists, assert_same, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core import optim, tree
from minilte.laws import oracle
from minilte.methods.fedavg import fedavg
from minilte.methods.full import full
from minilte.steps.adamw import adamw

W = [0.5, 0.2, 0.3]
DILOCO = dict(outer_rate=0.7, outer_momentum=0.9)


def dense(task, w, every, settings, rate=1.0, momentum=0.0):
    """The weights after every merge, as lists of (W, c)."""
    theta = [[np.copy(array) for array in layer] for layer in as_lists(task.weights)]
    buf = [[np.zeros_like(array) for array in layer] for layer in theta]
    own = [[[np.copy(array) for array in layer] for layer in theta] for _ in w]
    memory = [{} for _ in w]
    for t in range(STEPS):
        for n, weights in enumerate(own):
            _, grads = oracle.gradients(weights, "tanh", *task.batch(n, t))
            params = {(i, k): weights[i][k] for i in range(len(theta)) for k in (0, 1)}
            oracle.move(params, {(i, k): grads[i][k] for i, k in params}, memory[n], task.rate(t), settings)
        if (t + 1) % every and t + 1 < STEPS:
            continue
        for i in range(len(theta)):
            for k in (0, 1):
                average = sum(w[n] * own[n][i][k] for n in range(len(w)))
                d = theta[i][k] - average
                buf[i][k] = momentum * buf[i][k] + d
                theta[i][k] = theta[i][k] - rate * (d + momentum * buf[i][k])
                for weights in own:
                    weights[i][k] = np.copy(theta[i][k])
        yield [tuple(map(np.copy, layer)) for layer in theta]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("outer", [{}, DILOCO], ids=["fedavg", "diloco"])
def test_it_follows_the_dense_method(outer, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    reference = dense(task, W, every, oracle.Settings(task.rate, **extra), *outer.values())
    assert_same(trajectory(fedavg(task, W, every, **outer), 3), list(reference))


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_it_follows_the_dense_method_with_clipping_and_for_any_loss(loss):
    task, _ = make_task(optim.sgd(0.5), 0.05, clip=0.5, loss=loss)
    reference = dense(task, W, 4, oracle.Settings(task.rate, momentum=0.5, clip=0.5), 0.5, 0.3)
    assert_same(trajectory(fedavg(task, W, 4, 0.5, 0.3), 3), list(reference))


@pytest.mark.parametrize("outer", [{}, DILOCO, dict(outer_rate=0.7)], ids=["fedavg", "diloco", "no momentum"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(outer):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(fedavg(task, W, 4, **outer), 3, 10)


def test_steps_in_place_change_nothing_that_others_hold():
    plain, fast = (
        trajectory(fedavg(make_task(optimizer(weight_decay=0.1), 0.01)[0], W, 3, **DILOCO), 3)
        for optimizer in (optim.adamw, adamw)
    )
    pairs = zip(tree.leaves(plain), tree.leaves(fast), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_rate_of_one_without_momentum_is_fedavg():  # law L28
    task, _ = make_task(optim.adamw(), 0.01)
    assert fedavg(task, W, 3, 1.0, 0.0).begin().outer is None
    plain = trajectory(fedavg(task, W, 3), 3)
    assert_same(trajectory(fedavg(task, W, 3, 1.0, 1e-300), 3), plain)  # by the formula with a momentum of nothing
    assert_same(trajectory(fedavg(task, W, 3, 1.0 + 1e-15), 3), plain)


def test_a_step_of_every_head_and_plain_sgd_is_full_rank_training():
    task, _ = make_task(optim.sgd(), 0.05)
    assert_same(trajectory(fedavg(task, list(task.shards), 1), 3), trajectory(full(task), 3))


def test_heads_keep_their_optimizer_state_and_the_master_its_momentum():
    task, _ = make_task(optim.adamw(), 0.01)
    method = fedavg(task, W, 2, **DILOCO)
    main, head = method.begin(), method.enter(1)
    moved = method.local(main, head, 0, 2)
    assert int(moved.opt.count) == 2 and moved.index == 1 and np.isfinite(moved.loss)
    heard = method.hear(main, moved, 2)
    assert heard.opt is moved.opt and heard.weights is main.weights
    view = method.view(method.show(main, 2), main, None)
    assert view.outer is None and view.weights is main.weights  # no worker holds it


def test_the_callers_weights_stay():
    task, _ = make_task(adamw(), 0.01)
    before = tree.map(np.copy, task.weights)
    trajectory(fedavg(task, W, 3, **DILOCO), len(RANKS))
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(task.weights), tree.leaves(before), strict=True))
