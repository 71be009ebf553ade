"""LoRA and multi-head LoRA: what they share with LTE, and what they leave alone."""

import numpy as np
import pytest
from dense import dense_start
from hypothesis import given
from hypothesis import strategies as st
from support import OPTIMIZERS, RANKS, SEED, STEPS, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core import optim, tree
from minilte.core.errors import BadInput
from minilte.core.gradcheck import gradient_error
from minilte.core.lora import plan, product, stack
from minilte.core.lte import lte
from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.laws import oracle
from minilte.methods.mhlora import lora, mhlora, stack_back
from minilte.steps.adamw import adamw

sizes, seeds = st.integers(1, 5), st.integers(0, 2**32)


def pairs(seed, m, n, ranks):
    draw = stream(seed, "check")
    return [Adapter(draw.standard_normal((r, n)), draw.standard_normal((m, r))) for r in ranks]


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=3))
def test_the_gradient_of_a_stack_goes_back_to_its_adapters(seed, m, n, ranks):
    heads, scales = tuple(pairs(seed, m, n, ranks)), [0.5 + i for i in range(len(ranks))]

    def f(*heads):
        stacked = stack(heads, scales)
        return product(stacked), (stacked, heads)

    def f_back(dy, cache):
        stacked, heads = cache
        # forward: y = B A
        return stack_back(Adapter(stacked.B.T @ dy, dy @ stacked.A.T), heads, scales)

    assert gradient_error(f, f_back, heads, method="complex") < 1e-12


def test_every_adapter_needs_its_scale():
    for scales in ([1.0], [1.0, 1.0, 1.0]):
        with pytest.raises(ValueError):
            stack_back(pairs(0, 2, 2, [2])[0], pairs(0, 2, 2, [1, 1]), scales)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("replicas", ["average", "frozen"])
def test_it_follows_the_dense_method_on_the_whole_batch(replicas, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, whole = make_task(optimizer, lr)
    plan_ = make_plan(task)
    settings = oracle.Settings(task.rate, replicas=replicas, **extra)
    expected = oracle.mhlora(*dense_start(task, plan_), whole, STEPS, settings)
    assert_same(trajectory(mhlora(task, plan_, replicas), 3), list(expected))


def test_lora_is_the_first_head_alone_whatever_the_number_of_workers():
    task, whole = make_task(optim.adamw(), 0.01)
    plan_ = make_plan(task)
    start, pairs, scales = dense_start(task, plan_)
    settings = oracle.Settings(task.rate, optimizer="adamw")
    expected = oracle.mhlora(start, pairs[:1], scales[:1], whole, STEPS, settings)
    assert_same(trajectory(lora(task, plan_), 3), list(expected))


def test_one_head_without_resets_is_plain_lora_whatever_T():
    task, _ = make_task(optim.adamw(), 0.01, heads=1)
    plan_ = make_plan(task, [2])
    once = trajectory(lora(task, plan_), 1)[-1]
    for every in (1, 7, 50):
        assert_same([trajectory(lte(task, plan_, every), 1)[-1]], [once])  # law L1


def test_many_heads_at_once_are_one_adapter_of_their_summed_rank():  # law L5
    task, _ = make_task(optim.sgd(), 0.05)
    plan_ = make_plan(task, [1, 1, 1])
    wide = {name: stack([plan_.draw(n, 0)[name] for n in range(3)], [1, 1, 1]) for name in task.weights}
    # the same alpha: alpha / 3 for an adapter of rank 3 is (alpha / 1) / 3 for each of three heads
    one = make_plan(task, [3])._replace(draw=lambda n, step: wide)
    many, single = (trajectory(mhlora(task, which), len(RANKS), 20) for which in (plan_, one))
    assert_same(many, single)


def test_frozen_weights_and_the_callers_stay():
    task, _ = make_task(adamw(), 0.05)
    before = tree.map(np.copy, task.weights)
    end = trajectory(mhlora(task, make_plan(task), "frozen"), 3)[-1]
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(task.weights), tree.leaves(before), strict=True))
    assert all(np.array_equal(c, layer.c) for (_, c), layer in zip(end, task.weights.values(), strict=True))


@pytest.mark.parametrize("replicas", ["average", "frozen"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(replicas):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(mhlora(task, make_plan(task), replicas), 3, 6)
    assert_the_same_anywhere(lora(task, make_plan(task), replicas), 3, 6)


def test_layers_without_adapters_are_trained_in_full_unless_frozen():
    task, _ = make_task(optim.sgd(), 0.05)
    few = plan(task.weights, [{"layer2": 2}] * 3, alpha=2.0, seed=SEED)
    for replicas, moves in (("average", True), ("frozen", False)):
        end = dict(zip(task.weights, trajectory(mhlora(task, few, replicas), 3, 10)[-1]))
        assert np.array_equal(end["layer1"][0], task.weights["layer1"].W) is not moves
        assert not np.array_equal(end["layer2"][0], task.weights["layer2"].W)


def test_heads_that_cannot_move_are_refused():
    task, _ = make_task(optim.sgd(), 0.05)
    plan_ = make_plan(task)
    with pytest.raises(BadInput, match="both zero"):
        mhlora(task, plan_._replace(draw=lambda n, step: tree.zeros(plan_.draw(n, step))))


def test_what_others_may_ask():
    task, _ = make_task(adamw(), 0.01)
    plan_ = make_plan(task)
    many, single = mhlora(task, plan_), lora(task, plan_)
    assert many.facts.bound == dict.fromkeys(task.weights, 6) and single.facts.bound == dict.fromkeys(task.weights, 2)
    assert [len(method.begin().trained[0]) for method in (many, single)] == [3, 1]
    said = many.tell(many.local(many.begin(), many.enter(1), 0, 1))
    main = many.merge(many.begin(), said, 1, map)
    factors, scales, w = many.facts.one_lora(main, ())
    for name, layer in many.weights(main).items():
        total = sum(w[n] * scales[n][name] * product(factors[n][name]) for n in range(3))
        np.testing.assert_allclose(layer.W, task.weights[name].W + total, atol=1e-15)  # rounding
    held = {everyone: many.facts.held(main, many.enter(0), everyone) for everyone in (True, False)}
    assert held[True]["optimizer"] is main.opt and held[False]["optimizer"] is None
    assert held[False]["weights"] is task.weights and held[False]["adapters"] is main.trained
