"""What a head sees, trains, and does after a merge."""

import numpy as np
import pytest
from support import make_plan, make_task

from minilte.core import optim, tree
from minilte.core.head import local_steps, overlay, replica_of, reset, seen, trained_grads
from minilte.core.lora import product
from minilte.core.types import Adapted, Head, Linear, Main


def one_head(task, then=None):
    plan = make_plan(task)
    now = {name: pair._replace(B=pair.B + 0.1) for name, pair in plan.draw(0, 0).items()}
    replica = replica_of(task.weights, now)
    return plan, Head(0, now, then, replica, task.optimizer.init((now, replica)))


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
    plan, head = one_head(task)
    layer = seen(task.weights, head, plan.scales[0])["layer1"]
    assert type(layer) is Adapted and layer.W is task.weights["layer1"].W
    assert layer.c is head.replica["layer1"].c and layer.now is head.now["layer1"]


def test_local_steps_leave_the_main_weights_and_the_old_head_alone():
    task, _ = make_task(optim.adamw(), 0.1)
    plan, head = one_head(task)
    before = [leaf.copy() for leaf in tree.leaves((task.weights, head.now, head.opt))]
    new = local_steps(task, plan.scales[0], 1.0, Main(task.weights, None), head, 0, 3)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves((task.weights, head.now, head.opt)), before))
    assert not np.array_equal(new.now["layer1"].A, head.now["layer1"].A)
    assert int(new.opt.count) == 3 and np.isfinite(new.loss)


def test_the_loss_of_a_head_is_the_mean_over_its_steps():
    task, _ = make_task(optim.sgd(), 0.1)
    plan, head = one_head(task)
    run = lambda start, stop, one=head: local_steps(
        task, plan.scales[0], 1.0, Main(task.weights, None), one, start, stop
    )  # noqa: E731
    first, second = run(4, 5), run(5, 6, run(4, 5))
    assert run(4, 6).loss == (first.loss + second.loss) / 2
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(run(4, 6).now), tree.leaves(second.now), strict=True))


def test_what_is_frozen_does_not_count_in_the_clipped_norm():
    task, _ = make_task(optim.sgd(), 0.1)
    plan, head = one_head(task)
    trained = (head.now, {})
    grads = {
        name: Adapted(None, np.full(len(layer.c), 1e9), None, head.now[name], None)
        for name, layer in task.weights.items()
    }
    mine = trained_grads(grads, trained)
    assert optim.norm(mine) < 1e3 and len(tree.leaves(mine)) == 2 * len(head.now)


@pytest.mark.parametrize("how", ["none", "b", "ab"])
@pytest.mark.parametrize("forget", [False, True])
def test_resets(how, forget):
    task, _ = make_task(optim.adamw(), 0.1)
    plan, head = one_head(task)
    head = local_steps(task, plan.scales[0], 1.0, Main(task.weights, None), head, 0, 2)
    fresh = plan.draw(0, 99)
    new = reset(task, head, how, fresh, forget)
    assert int(new.opt.count) == (0 if forget else 2)
    for name, pair in new.now.items():
        if how == "none":
            assert new.then[name] is head.now[name] is pair
        else:
            assert new.then is None and not product(pair).any()
            assert pair.A is (fresh if how == "ab" else head.now)[name].A
