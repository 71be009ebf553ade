"""FedIT and FedEx against their definitions, written out: every head trains around its own full matrices."""

import numpy as np
import pytest
import tiny
from support import OPTIMIZERS, SEED, STEPS, as_lists, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core import lora, optim, tree
from minilte.core.errors import BadInput
from minilte.laws import oracle
from minilte.methods.fedit import fedit
from minilte.run.build import build
from minilte.steps.adamw import adamw

W, EQUAL = [0.5, 0.2, 0.3], [2, 2, 2]


def dense(task, plan, w, every, settings, exact=False, frozen=False):
    """W + s B A and c of every layer after every merge; all heads begin with the factors of head 0."""
    layers, heads = range(len(task.weights)), range(len(w))
    base = [np.copy(W) for W, _ in as_lists(task.weights)]
    A = [[np.copy(pair.A) for pair in plan.draw(0, 0).values()] for _ in heads]
    B = [[np.copy(pair.B) for pair in plan.draw(0, 0).values()] for _ in heads]
    c = [[np.copy(c) for _, c in as_lists(task.weights)] for _ in heads]
    s, memory = list(plan.scales[0].values()), [{} for _ in heads]
    for t in range(STEPS):
        for n in heads:
            own = [(base[i] + s[i] * B[n][i] @ A[n][i], c[n][i]) for i in layers]
            _, grads = oracle.gradients(own, "tanh", *task.batch(n, t))
            params = {(i, "A"): A[n][i] for i in layers} | {(i, "B"): B[n][i] for i in layers}
            of = {(i, "A"): s[i] * B[n][i].T @ grads[i][0] for i in layers}
            of |= {(i, "B"): s[i] * grads[i][0] @ A[n][i].T for i in layers}
            if not frozen:
                params |= {(i, "c"): c[n][i] for i in layers}
                of |= {(i, "c"): grads[i][1] for i in layers}
            oracle.move(params, of, memory[n], task.rate(t), settings)
        if (t + 1) % every and t + 1 < STEPS:
            continue
        merged = []
        for i in layers:
            mean_A, mean_B, mean_c = (sum(w[n] * which[n][i] for n in heads) for which in (A, B, c))
            if exact:
                base[i] = base[i] + s[i] * (sum(w[n] * B[n][i] @ A[n][i] for n in heads) - mean_B @ mean_A)
            for n in heads:
                A[n][i], B[n][i], c[n][i] = mean_A.copy(), mean_B.copy(), mean_c.copy()
            merged.append((base[i] + s[i] * mean_B @ mean_A, mean_c))
        yield merged


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("exact", [False, True], ids=["fedit", "fedex"])
def test_it_follows_the_dense_method(exact, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task, EQUAL)
    reference = dense(task, plan, W, every, oracle.Settings(task.rate, **extra), exact)
    assert_same(trajectory(fedit(task, plan, W, every, exact=exact), 3), list(reference))


@pytest.mark.parametrize("exact", [False, True], ids=["fedit", "fedex"])
@pytest.mark.parametrize("replicas", ["average", "frozen"])
def test_it_follows_the_dense_method_with_clipping_and_frozen_biases(replicas, exact):
    task, _ = make_task(optim.sgd(0.5), 0.05, clip=0.5)
    plan = make_plan(task, EQUAL)
    settings = oracle.Settings(task.rate, momentum=0.5, clip=0.5)
    reference = dense(task, plan, W, 4, settings, exact, replicas == "frozen")
    assert_same(trajectory(fedit(task, plan, W, 4, replicas, exact), 3), list(reference))


@pytest.mark.parametrize("replicas", ["average", "frozen"])
@pytest.mark.parametrize("exact", [False, True], ids=["fedit", "fedex"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(exact, replicas):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(fedit(task, make_plan(task, EQUAL), W, 4, replicas, exact), 3, 10)


def few_layers(task):
    return lora.plan(task.weights, [{"layer2": 2}] * 3, alpha=2.0, seed=SEED)


@pytest.mark.parametrize("exact", [False, True], ids=["fedit", "fedex"])
def test_matrices_without_an_adapter_are_averaged_and_the_others_frozen_but_for_the_residual(exact):
    task, _ = make_task(optim.sgd(), 0.05)
    method = fedit(task, few_layers(task), W, 5, exact=exact)
    main, heads = method.begin(), [method.enter(n) for n in range(3)]
    heads = [method.local(main, head, 0, 5) for head in heads]
    said = [method.tell(head) for head in heads]
    main = method.merge(main, said if exact else tree.map(lambda *leaves: sum(leaves), *said), 5, map)
    assert (main.weights["layer2"].W is task.weights["layer2"].W) is not exact
    mean = sum(w * head.replica["layer1"].W for w, head in zip(W, heads, strict=True))
    np.testing.assert_allclose(main.weights["layer1"].W, mean, atol=1e-15)  # rounding
    assert not np.array_equal(mean, task.weights["layer1"].W)
    assert_the_same_anywhere(method, 3, 10)


def test_fedex_is_the_mean_of_what_heads_compute_and_fedit_is_not():
    task, _ = make_task(optim.sgd(), 0.5)
    plan, gaps = make_plan(task, EQUAL), {}
    for exact in (False, True):
        method = fedit(task, plan, W, 5, exact=exact)
        main, heads = method.begin(), [method.enter(n) for n in range(3)]
        heads = [method.local(main, head, 0, 5) for head in heads]
        said = [method.tell(head) for head in heads]
        main = method.merge(main, said if exact else tree.map(lambda *leaves: sum(leaves), *said), 5, map)
        mean = {
            name: task.weights[name].W
            + sum(w * plan.scales[0][name] * lora.product(head.now[name]) for w, head in zip(W, heads, strict=True))
            for name in task.weights
        }
        gaps[exact] = max(abs(method.weights(main)[name].W - mean[name]).max() for name in mean)
    assert gaps[True] < 1e-13 < 1e-3 < gaps[False]  # rounding; the bias of a product of means


def test_all_heads_begin_alike_and_hear_the_same():
    task, _ = make_task(optim.adamw(), 0.01)
    method = fedit(task, make_plan(task, EQUAL), W, 2)
    main, heads = method.begin(), [method.enter(n) for n in range(3)]
    same = lambda one, other: all(map(np.array_equal, tree.leaves(one), tree.leaves(other)))  # noqa: E731
    assert all(same(head.now, heads[0].now) for head in heads)
    moved = method.local(main, heads[2], 0, 2)
    heard = method.hear(main, moved, 2)
    assert heard.now is main.factors and heard.opt is moved.opt and int(heard.opt.count) == 2
    weights = method.weights(main)  # B = 0: the weights of the start
    assert all(same(weights[name], layer) for name, layer in task.weights.items())


def test_steps_in_place_change_nothing_that_others_hold():
    for exact in (False, True):
        tasks = [make_task(optimizer(weight_decay=0.1), 0.01)[0] for optimizer in (optim.adamw, adamw)]
        plain, fast = (trajectory(fedit(task, make_plan(task, EQUAL), W, 3, exact=exact), 3) for task in tasks)
        assert all(map(np.array_equal, tree.leaves(plain), tree.leaves(fast)))


@pytest.mark.parametrize("name", ["fedit", "fedex"])
def test_settings_have_one_rank_and_the_same_A(name):
    with pytest.raises(
        BadInput, match=f"^method {name}: needs one rank for all heads: --head-ranks of equal numbers"
    ):
        tiny.config(method=name, head_ranks=(1, 2))
    method = build(tiny.config(method=name, head_ranks=(2, 2), head_init="own")).method
    first, second = (method.enter(n).now["layer1"].A for n in (0, 1))
    assert np.array_equal(first, second) and method.adds is (name == "fedit")


def test_only_without_a_residual_the_rank_is_bounded():
    task, _ = make_task(optim.sgd(), 0.05)
    plan = make_plan(task, EQUAL)
    assert fedit(task, plan, W, 2).facts.bound == dict.fromkeys(task.weights, 2)
    assert fedit(task, plan, W, 2, exact=True).facts.bound == {}
