"""ReLoRA against its definition, written out with full matrices; and what a restart does to rate, factors and memory."""

import numpy as np
import pytest
import tiny
from support import OPTIMIZERS, STEPS, TOGETHER, Alone, as_lists, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE, MASTER
from minilte.comm.solo import Solo
from minilte.core import optim, tree
from minilte.core.errors import BadInput
from minilte.core.method import rounds
from minilte.core.random import stream
from minilte.laws import oracle
from minilte.methods.full import full
from minilte.methods.mhlora import lora
from minilte.methods.relora import relora
from minilte.run.build import build
from minilte.steps.adamw import adamw


def above_quantile(x, ratio):
    """Which entries are above the quantile, which lies between two neighbours of the sorted sizes."""
    sizes = sorted(abs(x).ravel())
    low = int(at := ratio * (len(sizes) - 1))
    edge = sizes[low] + (at - low) * (sizes[min(low + 1, len(sizes) - 1)] - sizes[low])
    return np.array([[abs(entry) > edge for entry in row] for row in x])


def dense(task, whole, plan, every, settings, prune="magnitude", ratio=0.9, climb=4, warm=0, frozen=False):
    """W + s B A and c of every layer after every step on the whole batch, each merged at once."""
    layers, (s,) = range(len(task.weights)), [list(plan.scales[0].values())]
    W, c = ([np.copy(of[k]) for of in as_lists(task.weights)] for k in (0, 1))
    A, B = ([np.copy(pair[k]) for pair in plan.draw(0, 0).values()] for k in (0, 1))
    memory = {}
    for t in range(STEPS):
        _, grads = oracle.gradients([(W[i] + s[i] * B[i] @ A[i], c[i]) for i in layers], "tanh", *whole(t))
        if t < warm:
            params, of = {(i, "W"): W[i] for i in layers}, {(i, "W"): grads[i][0] for i in layers}
        else:
            params = {(i, "A"): A[i] for i in layers} | {(i, "B"): B[i] for i in layers}
            of = {(i, "A"): s[i] * B[i].T @ grads[i][0] for i in layers}
            of |= {(i, "B"): s[i] * grads[i][0] @ A[i].T for i in layers}
        if not frozen:
            params |= {(i, "c"): c[i] for i in layers}
            of |= {(i, "c"): grads[i][1] for i in layers}
        since, rate = (t - warm) % every, task.rate(t)
        if t >= warm + every or t >= warm > 0:
            rate *= min(1.0, (since + 1) / min(climb, every))
        oracle.move(params, of, memory, rate, settings)
        yield [(W[i] + s[i] * B[i] @ A[i], np.copy(c[i])) for i in layers]
        if t + 1 == warm:
            memory = {}
        if t + 1 > warm and (t + 1 - warm) % every == 0:
            for i in layers:
                W[i], fresh = W[i] + s[i] * B[i] @ A[i], list(plan.draw(0, t + 1).values())[i]
                A[i], B[i] = np.copy(fresh.A), np.zeros_like(B[i])
            rng = stream(5, "prune", 0, t + 1)
            for key in [(i, k) for i in layers for k in "AB"]:  # a mask of each, for all that is remembered of it
                first = memory[key].get("m", memory[key].get("buf"))
                if settings.optimizer == "sgd" and not settings.momentum:
                    continue  # plain steps remember nothing
                mask = {
                    "magnitude": lambda: above_quantile(first, ratio),
                    "random": lambda: rng.random(first.shape) >= ratio,
                    "zero": lambda: 0.0,
                }[prune]()
                memory[key] |= {kind: memory[key][kind] * mask for kind in ("buf", "m", "v") if kind in memory[key]}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize(("prune", "warm"), [("magnitude", 0), ("random", 7), ("zero", 0)])
def test_it_follows_the_dense_method(prune, warm, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, whole = make_task(optimizer, lr)
    plan, settings = make_plan(task), oracle.Settings(task.rate, **extra)
    reference = dense(task, whole, plan, every, settings, prune, 0.7, 4, warm)
    method = relora(task, plan, every, prune, 0.7, 4, warm, seed=5)
    assert_same(trajectory(method, 3), list(reference))


@pytest.mark.parametrize("warm", [0, 3])
def test_it_follows_the_dense_method_with_clipping_and_frozen_biases(warm):
    task, whole = make_task(optim.sgd(0.5), 0.05, clip=0.5)
    plan, settings = make_plan(task), oracle.Settings(task.rate, momentum=0.5, clip=0.5)
    reference = dense(task, whole, plan, 4, settings, warm=warm, frozen=True)
    method = relora(task, plan, 4, "magnitude", 0.9, 4, warm, "frozen", 5)
    assert_same(trajectory(method, 3), list(reference))


# ------------------------------------------------------------------------------- bits and bytes


@pytest.mark.parametrize(("replicas", "warm"), [("average", 0), ("frozen", 0), ("average", 3)])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(replicas, warm):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(relora(task, make_plan(task), 2, "random", warm=warm, replicas=replicas), 3, 8)


def test_what_travels_is_the_gradient_of_an_adapter_and_in_a_warm_start_of_all_weights():
    task, _ = make_task(adamw(), 0.01)
    plan = make_plan(task)
    low, method = lora(task, plan), relora(task, plan, 2, warm=3)
    sizes = [tree.size(method.like(0, None, step)) for step in (1, 3, 4)]
    assert sizes == [tree.size(task.weights)] * 2 + [tree.size(low.like(0, None, 4))]
    assert tree.size(relora(task, plan, 2).frame()) == tree.size(low.frame())  # W is not sent down
    assert tree.size(method.frame()) == tree.size((task.weights, plan.draw(0, 0)))


def trained_to(method, step):
    return list(rounds(method, Alone(3), TOGETHER, method.begin(), [method.enter(n) for n in range(3)], step))[
        -1
    ].main


@pytest.mark.parametrize("meeting", [EVERYONE, MASTER])
def test_a_run_that_stops_after_any_step_goes_on_to_the_same_bits(meeting):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    method = relora(task, make_plan(task), 3, "random", 0.5, warm=2, seed=5)
    whole = [one.main for one in run(method, meeting, method.begin(), 0, 10)]
    shape = [(path, leaf.shape, leaf.dtype) for path, leaf in tree.named(method.begin())]
    for step, main in enumerate(whole[:-1], start=1):  # warm start to 2, merges at 5 and 8
        assert [(path, leaf.shape, leaf.dtype) for path, leaf in tree.named(main)] == shape
        again = run(method, meeting, tree.map(np.copy, main), step, 10)[-1].main
        pairs = zip(tree.leaves(method.weights(again)), tree.leaves(method.weights(whole[-1])), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), step


def run(method, meeting, main, start, steps):
    heads = [method.enter(n) for n in range(3)]
    return list(rounds(method, Communicator(Solo(), 3, 1), meeting, main, heads, steps, start))


# ------------------------------------------------------------------------------- restarts


def test_a_merge_changes_no_weight_and_afterwards_B_alone_is_zero():
    task, _ = make_task(adamw(), 0.01)
    method, plan = relora(task, make_plan(task), 4, "zero"), make_plan(task)
    before, after = trained_to(method, 4), trained_to(method, 5)
    merged = method.weights(before)
    drawn, first = plan.draw(0, 4), plan.draw(0, 0)
    for name, layer in after.trained.weights.items():
        assert np.array_equal(layer.W, merged[name].W)  # W of the merge, to the bit
        assert not np.array_equal(layer.W, task.weights[name].W)
        moved, fresh, old = after.trained.now[name].A, drawn[name].A, first[name].A
        assert np.array_equal(moved, fresh)  # B = 0 and nothing is remembered: the first step moves B alone
        assert not np.array_equal(fresh, old) and after.trained.now[name].B.any()


def test_the_rank_grows_by_r_a_merge():
    task, _ = make_task(adamw(), 0.01)
    method = relora(task, make_plan(task), 2)  # of rank 2; layer2 is 4 x 6
    ranks = []
    for step in (2, 4):
        W = method.weights(trained_to(method, step))["layer2"].W - task.weights["layer2"].W
        ranks.append(np.linalg.matrix_rank(W, tol=1e-10))
    assert ranks == [2, 4] and method.facts.bound == {} and method.facts.one_lora is None


def test_the_step_after_a_pruning_to_zero_is_as_long_as_it_says():
    task, _ = make_task(optim.adamw(), 1e-4)
    task = task._replace(rate=lambda step: 1e-4)
    after = trained_to(relora(task, make_plan(task), 40, "zero", climb=0), 41)
    count = int(after.opt[1].count)
    expected = 1e-4 * (0.1 / (1 - 0.9**count)) / np.sqrt(0.001 / (1 - 0.999**count))
    for pair in after.trained.now.values():
        np.testing.assert_allclose(abs(pair.B), expected, rtol=1e-2)  # eps beside small gradients
    assert count == 41  # is not forgotten


# ------------------------------------------------------------------------------- special cases


def test_before_the_first_merge_it_is_lora_and_in_a_warm_start_full_rank_training():
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    plan = make_plan(task)
    assert_same(trajectory(relora(task, plan, 50), 3), trajectory(lora(task, plan), 3))
    assert_same(trajectory(relora(task, plan, 50, warm=20), 3, 20), trajectory(full(task), 3, 20))


def test_steps_and_restarts_change_nothing_that_others_hold():
    task, _ = make_task(adamw(), 0.05)
    method = relora(task, make_plan(task), 2, warm=2)
    start = method.begin()
    before = [np.copy(leaf) for leaf in tree.leaves((start, task.weights))]
    trajectory(method, 3, 9)
    assert all(map(np.array_equal, tree.leaves((start, task.weights)), before))


def test_what_a_worker_holds():
    task, _ = make_task(optim.adamw(), 0.01)
    method = relora(task, make_plan(task), 2, warm=2)
    main = trained_to(method, 5)
    held = {everyone: method.facts.held(main, method.enter(0), everyone) for everyone in (True, False)}
    assert held[True]["optimizer"] is main.opt[1] and held[False]["optimizer"] is None
    assert held[True]["adapters"] is main.trained.now and held[True]["weights"] is main.trained.weights
    assert all(leaf.strides == (0,) * leaf.ndim for leaf in tree.leaves(main.opt[0]))  # takes no memory any more


def test_settings():
    with pytest.raises(BadInput, match="^method relora: needs one rank for all heads: --head-ranks of equal numbers"):
        tiny.config(method="relora", head_ranks=(1, 2))
    with pytest.raises(BadInput, match="^warm-start: expected fewer than the 6 steps of the run, got 6$"):
        tiny.config(method="relora", warm_start=6)
    method = build(tiny.config(method="relora", warm_start=5, replicas="frozen")).method
    assert method.adds and method.begin().opt[0] is not None
