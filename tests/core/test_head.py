"""What a head sees, trains, and does in its local steps."""

import numpy as np
from support import make_plan, make_task

from minilte.core import optim, tree
from minilte.core.head import descend, overlay, replica_of, seen, trained_grads
from minilte.core.optim import Optimizer
from minilte.core.types import Adapted, Linear


def one_head(task):
    plan = make_plan(task)
    now = {name: pair._replace(B=pair.B + 0.1) for name, pair in plan.draw(0, 0).items()}
    trained = now, replica_of(task.weights, now)
    return plan.scales[0], trained, task.optimizer.init(trained)


def steps(task, scales, trained, opt, start, stop, factor=1.0):
    return descend(
        task, lambda own: seen(task.weights, *own, None, scales), trained_grads, trained, opt, 0, start, stop, factor
    )


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True))


def test_a_replica_is_all_but_the_adapted_matrices():
    task, _ = make_task(optim.sgd(), 0.1)
    replica = replica_of(task.weights, {"layer2": None})
    assert replica["layer2"].W is None and replica["layer1"].W is task.weights["layer1"].W


def test_an_overlay_replaces_what_it_holds():
    task, _ = make_task(optim.sgd(), 0.1)
    over = overlay(task.weights, {"layer2": Linear(None, np.ones(4))})
    assert over["layer2"].W is task.weights["layer2"].W and (over["layer2"].c == 1).all()
    assert overlay(task.weights, {}) == task.weights


def test_a_head_sees_its_adapters_its_replicas_and_the_main_matrices():
    task, _ = make_task(optim.sgd(), 0.1)
    scales, (now, replica), _ = one_head(task)
    then = {name: pair._replace(A=2 * pair.A) for name, pair in now.items()}
    for V in (None, then):
        layer = seen(task.weights, now, replica, V, scales)["layer1"]
        assert type(layer) is Adapted and layer.W is task.weights["layer1"].W
        assert layer.c is replica["layer1"].c and layer.now is now["layer1"] and layer.s == scales["layer1"]
        assert layer.then is (None if V is None else then["layer1"])


def test_local_steps_leave_the_main_weights_and_the_old_head_alone():
    task, _ = make_task(optim.adamw(), 0.1)
    scales, trained, opt = one_head(task)
    before = [leaf.copy() for leaf in tree.leaves((task.weights, trained, opt))]
    (now, _), state, loss = steps(task, scales, trained, opt, 0, 3)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves((task.weights, trained, opt)), before, strict=True))
    assert not np.array_equal(now["layer1"].A, trained[0]["layer1"].A)
    assert int(state.count) == 3 and np.isfinite(loss)


def test_the_loss_of_a_head_is_the_mean_over_its_steps():
    task, _ = make_task(optim.sgd(), 0.1)
    scales, *start = one_head(task)
    *middle, first = steps(task, scales, *start, 4, 5)
    *end, second = steps(task, scales, *middle, 5, 6)
    *both, loss = steps(task, scales, *start, 4, 6)
    assert loss == (first + second) / 2 and same(both, end)


def test_a_factor_scales_the_gradient_and_not_the_loss():
    task, _ = make_task(optim.sgd(), 0.1)
    scales, trained, opt = one_head(task)
    (whole, _, loss), (half, _, same_loss) = (steps(task, scales, trained, opt, 0, 1, by) for by in (1.0, 0.5))
    moved = [tree.map(lambda new, old: new - old, end, trained) for end in (whole, half)]
    for a, b in zip(tree.leaves(moved[0]), tree.leaves(moved[1]), strict=True):
        np.testing.assert_allclose(a, 2 * b, atol=1e-15)  # rounding of one difference
    assert loss == same_loss


def test_only_from_the_second_step_on_memory_is_used_again():
    calls, plain = [], optim.sgd()
    update, in_place = (
        lambda *work, name=name: (calls.append(name), plain.update(*work))[1] for name in ("update", "in_place")
    )
    task, _ = make_task(Optimizer(plain.init, update, in_place), 0.1)
    fast = steps(task, *one_head(task), 2, 5)
    assert calls == ["update", "in_place", "in_place"]
    task, _ = make_task(plain, 0.1)
    assert same(fast[0], steps(task, *one_head(task), 2, 5)[0])


def test_a_gradient_is_clipped_as_a_whole():
    limits = {}
    for most in (None, 1e-3):
        task, _ = make_task(optim.sgd(), 1.0, clip=most)
        scales, trained, opt = one_head(task)
        end, *_ = steps(task._replace(rate=lambda step: 1.0), scales, trained, opt, 0, 1)
        gone = [(new - old).ravel() for new, old in zip(tree.leaves(end), tree.leaves(trained), strict=True)]
        limits[most] = np.linalg.norm(np.concatenate(gone))
    assert abs(limits[1e-3] - 1e-3) < 1e-12 < 1e-3 < limits[None]


def test_what_is_frozen_does_not_count_in_the_clipped_norm():
    task, _ = make_task(optim.sgd(), 0.1)
    _, (now, _), _ = one_head(task)
    grads = {
        name: Adapted(None, np.full(len(layer.c), 1e9), None, now[name], None) for name, layer in task.weights.items()
    }
    mine = trained_grads(grads, (now, {}))
    assert all(abs(leaf).max() < 1e3 for leaf in tree.leaves(mine)) and len(tree.leaves(mine)) == 2 * len(now)
