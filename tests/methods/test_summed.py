"""LTE by sums of dense changes is LTE, up to rounding."""

import numpy as np
import pytest
from dense import dense_start
from hypothesis import given
from hypothesis import strategies as st
from support import OPTIMIZERS, STEPS, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.comm.meetings import EVERYONE
from minilte.core import tree
from minilte.core.lora import product
from minilte.core.lte import lte
from minilte.laws import oracle
from minilte.laws.exact import redrawn
from minilte.laws.strategies import cases
from minilte.laws.world import apart, build, run, uneven, weights_along
from minilte.methods.facts import Facts
from minilte.methods.summed import dense, summed
from minilte.steps.adamw import adamw
from minilte.steps.stacked import stacked_steps

W = [0.5, 0.2, 0.3]


def method_of(task, plan, w=W, **settings):
    return summed(lte(task, plan, w=w, **settings)._replace(facts=Facts()), task, plan, w)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("reset", ["none", "b", "ab"])
def test_it_follows_the_dense_method(reset, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    settings = oracle.Settings(task.rate, every=every, reset=reset, **extra)
    reference = oracle.lte(*dense_start(task, plan), task.batch, STEPS, settings, W, redraw=redrawn(plan))
    assert_same(trajectory(method_of(task, plan, every=every, reset=reset), 3), list(reference))


@given(cases(activation="tanh"), st.integers(1, 3))
def test_it_is_the_method_whose_changes_it_adds_also_with_stacked_rows(case, size):
    world, w = build(case), uneven(case.heads)
    plain = world.method(w=w)
    stacked = plain._replace(together=stacked_steps(size, world.task, world.plan, [1.0] * case.heads))
    sums = [summed(one._replace(facts=Facts()), world.task, world.plan, w) for one in (plain, stacked)]
    expected = weights_along(plain, case.heads, case.steps)
    for one in sums:
        # 1e-8: rounding of a dozen steps; Adam divides by roots as small as eps
        assert apart(weights_along(one, case.heads, case.steps), expected) < 1e-8
    assert sums[0].together is None and sums[1].together is not None


@pytest.mark.parametrize("reset", ["none", "ab"])
@pytest.mark.parametrize("replicas", ["average", "frozen"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(replicas, reset):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(method_of(task, make_plan(task), every=4, reset=reset, replicas=replicas), 3, 10)


def test_what_is_said_is_the_heads_part_of_the_change_as_matrices():
    task, _ = make_task(adamw(), 0.01)
    plan = make_plan(task)
    method = method_of(task, plan, every=2)
    main, head = method.begin(), method.enter(1)
    head = method.local(main, head, 0, 2)
    for start in (2, 4):  # from the second round on there is a V
        before, head = head, method.local(main, method.hear(main, head, start), start, start + 2)
        said = method.tell(head)
        assert list(said) == ["deltas", "replicas"] and head.index == 1 and head.loss == head.head.loss
        for name, D in said["deltas"].items():
            change = product(head.head.now[name]) - product(before.head.now[name])
            np.testing.assert_allclose(D, 0.2 * plan.scales[1][name] * change, atol=1e-14)  # rounding
            np.testing.assert_allclose(said["replicas"][name].c, 0.2 * head.head.replica[name].c, atol=1e-15)
        shapes = [
            [(path, leaf.shape) for path, leaf in tree.named(one)] for one in (said, method.like(1, main, start))
        ]
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize("reset", ["none", "b"])
def test_a_head_keeps_its_own_V_and_the_main_state_none(reset):
    task, _ = make_task(adamw(), 0.01)
    plan = make_plan(task)
    method = method_of(task, plan, every=2, reset=reset)
    *_, last = run(method, 3, 4, meeting=EVERYONE)
    assert last.main.then is None
    for one in last.heads:
        if reset == "b":
            assert one.then is None
        else:
            assert all(map(np.array_equal, tree.leaves(one.then), tree.leaves(one.head.now)))


def test_a_scale_is_folded_into_B():
    task, _ = make_task(adamw(), 0.01)
    pair = make_plan(task).draw(0, 0)["layer1"]
    pair = pair._replace(B=pair.B + 0.3)
    np.testing.assert_allclose(dense(pair, -0.25), -0.25 * pair.B @ pair.A, atol=1e-16)


def test_bytes_held_count_its_V_and_the_number_of_heads_may_change():
    task, _ = make_task(adamw(), 0.01)
    plan = make_plan(task)
    inner = lte(task, plan, w=W)
    held = lambda main, head, everyone: {"weights": main.weights, "adapters": head.now}  # noqa: E731
    method = summed(inner._replace(facts=Facts(bound={"layer1": 6}, held=held)), task, plan, W)
    main, head = method.begin(), method.enter(1)
    sizes = {kind: tree.nbytes(one) for kind, one in method.facts.held(main, head, True).items()}
    own = tree.nbytes(head.head.now)
    assert sizes == {"weights": tree.nbytes(task.weights), "adapters": own, "merged_factors": own}
    assert method.facts.bound == {"layer1": 6} and method.facts.resized(main, 5) is main
    assert method.facts.factors(main) is None and method.facts.one_lora is None
