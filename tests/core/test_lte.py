"""LTE: the merge against the dense mean, resets, what is shown. What a run computes is tested by the laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import RANKS, SEED, TOGETHER, Alone, as_lists, make_plan, make_task, trajectory

from minilte.core import lora, lte, optim, tree
from minilte.core.errors import BadInput
from minilte.core.lora import product
from minilte.core.lte import mean, merged
from minilte.core.method import rounds
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Rule, Sent

sizes, seeds = st.integers(1, 5), st.integers(0, 2**32)


# ---------------------------------------------------------------------------------- the merge


def problem(seed, m, n, ranks):
    draw = stream(seed, "check").standard_normal
    adapter = lambda r: {"layer1": Adapter(draw((r, n)), draw((m, r)))}  # noqa: E731
    weights = {"layer1": Linear(draw((m, n)), draw(m))}
    sent = [Sent(adapter(r), {"layer1": Linear(None, draw(m))}) for r in ranks]
    then = [adapter(r) for r in ranks]
    scales = [{"layer1": 0.5 + i} for i in range(len(ranks))]
    w = np.abs(draw(len(ranks))) + 0.1
    return weights, sent, then, scales, list(w / w.sum())


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=4), st.booleans())
def test_a_merge_adds_the_weighted_mean_of_what_is_new(seed, m, n, ranks, before):
    weights, sent, then, scales, w = problem(seed, m, n, ranks)
    new = merged(weights, sent, then if before else None, scales, w)["layer1"]
    W = weights["layer1"].W + sum(
        w_n * s["layer1"] * (product(head.factors["layer1"]) - (product(old["layer1"]) if before else 0))
        for w_n, s, head, old in zip(w, scales, sent, then)
    )
    # 1e-11: rounding of four products of numbers up to 10, scaled by up to 3.5
    np.testing.assert_allclose(new.W, W, atol=1e-11)
    np.testing.assert_allclose(new.c, sum(w_n * head.replicas["layer1"].c for w_n, head in zip(w, sent)), atol=1e-12)


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=4))
def test_merging_what_was_merged_before_changes_nothing_exactly(seed, m, n, ranks):
    weights, sent, _, scales, w = problem(seed, m, n, ranks)
    again = merged(weights, sent, [head.factors for head in sent], scales, w)
    assert np.array_equal(again["layer1"].W, weights["layer1"].W)


@given(seeds, sizes, sizes, st.lists(sizes, min_size=2, max_size=4))
def test_the_order_of_the_heads_matters_only_for_rounding(seed, m, n, ranks):
    weights, *each = problem(seed, m, n, ranks)
    a, b = merged(weights, *each), merged(weights, *(list(part)[::-1] for part in each))
    for x, y in zip(tree.leaves(a), tree.leaves(b)):
        np.testing.assert_allclose(x, y, atol=1e-11)  # as above


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=3))
def test_nothing_passed_in_is_changed(seed, m, n, ranks):
    everything = problem(seed, m, n, ranks)
    before = [leaf.copy() for leaf in tree.leaves(everything[:3])]
    merged(*everything)
    assert all(np.array_equal(x, y) for x, y in zip(tree.leaves(everything[:3]), before, strict=True))


def test_a_merge_in_low_precision_keeps_a_small_change():
    draw = stream(0, "check").standard_normal
    then = Adapter(draw((4, 64)).astype("f4"), draw((64, 4)).astype("f4"))
    now = tree.map(lambda leaf: leaf * (1 + 1e-3 * draw(leaf.shape).astype("f4")), then)
    exact = product(tree.map(np.float64, now)) - product(tree.map(np.float64, then))
    zero = {"layer1": Linear(np.zeros((64, 64), "f4"), None)}
    got = merged(zero, [Sent({"layer1": now}, {})], [{"layer1": then}], [{"layer1": 1.0}], [1.0])["layer1"].W
    # float32 keeps 1e-7 of the change itself; the difference of two products keeps 1e-4 of it
    assert np.linalg.norm(got - exact) < 1e-6 * np.linalg.norm(exact)


def test_every_head_needs_a_share_and_a_scale():
    weights, sent, then, scales, w = problem(0, 2, 3, [1, 1])
    for few in ((weights, sent, then, scales[:1], w), (weights, sent, then, scales, w[:1])):
        with pytest.raises(ValueError):
            merged(*few)


def test_a_mean_needs_a_share_for_every_tree():
    for w in ([0.5], [0.5, 0.25, 0.25]):
        with pytest.raises(ValueError):
            mean([np.ones(2), np.ones(2)], w)


def test_a_mean_is_added_in_head_order():
    x = [np.float32([1e8]), np.float32([-1e8]), np.float32([1.0])]
    assert mean(x, [1.0, 1.0, 1.0]) == 1 and mean(x[::-1], [1.0, 1.0, 1.0]) == 0


# ---------------------------------------------------------------------------------- the method


def loop(method, steps, heads=len(RANKS)):
    comm = Alone(heads)
    return list(rounds(method, comm, TOGETHER, method.begin(), [method.enter(n) for n in comm.mine], steps))


def test_the_defaults_are_those_of_the_paper():
    task, _ = make_task(optim.adamw(), 0.01)
    plan = make_plan(task)
    explicit = lte.lte(task, plan, 10, "none", False, "shard", "average", [1 / 3] * 3)
    for mine, theirs in zip(trajectory(lte.lte(task, plan), 3), trajectory(explicit, 3), strict=True):
        assert all(
            np.array_equal(a, b)
            for one, other in zip(mine, theirs, strict=True)
            for a, b in zip(one, other, strict=True)
        )


def test_a_rule_has_its_state_and_the_main_weights_are_dense_already():
    task, _ = make_task(optim.sgd(), 0.05)
    counting = Rule(
        lambda weights: {"merges": 0, "of": len(weights)},
        lambda state, weights, *rest: (weights, state | {"merges": state["merges"] + 1}),
    )
    method = lte.lte(task, make_plan(task), rule=counting)
    done = loop(method, 30)
    assert [one.main.rule for one in done] == [{"merges": i, "of": 3} for i in (1, 2, 3)]
    assert method.weights(done[-1].main) is done[-1].main.weights


@pytest.mark.parametrize("reset", ["none", "b", "ab"])
def test_the_state_has_the_same_structure_from_the_start(reset):
    task, _ = make_task(optim.sgd(), 0.05)
    method = lte.lte(task, make_plan(task), reset=reset)
    main, heads = method.begin(), [method.enter(n) for n in range(3)]
    last = loop(method, 20)[-1]
    for before, after in ((main, last.main), (heads[1], last.heads[1])):
        assert [path for path, _ in tree.named(before)] == [path for path, _ in tree.named(after)]
    assert (main.then is None) is (reset != "none")
    assert all(not leaf.any() for leaf in tree.leaves(main.then))  # V = 0


@pytest.mark.parametrize("reset", ["none", "b", "ab"])
@pytest.mark.parametrize("forget", [False, True])
def test_resets(reset, forget):
    task, _ = make_task(optim.adamw(), 0.1)
    plan = make_plan(task)
    method = lte.lte(task, plan, 2, reset, forget)
    main, heads = method.begin(), [method.enter(n) for n in range(3)]
    heads = [method.local(main, head, 0, 2) for head in heads]
    main = method.merge(main, [method.tell(head) for head in heads], 2, map)
    for n, head in enumerate(heads):
        new = method.hear(main, head, 2)
        assert int(new.opt.count) == (0 if forget else 2)
        assert all(new.replica[name].c is main.weights[name].c for name in new.replica)
        for name, pair in new.now.items():
            if reset == "none":
                assert main.then[n][name] is head.now[name] is pair
            else:
                assert main.then is None and not product(pair).any()
                kept = plan.draw(n, 2) if reset == "ab" else head.now
                assert np.array_equal(pair.A, kept[name].A) and pair.A.any()


def test_heads_that_cannot_move_are_refused():
    task, _ = make_task(optim.sgd(), 0.05)
    plan = make_plan(task)
    dead = plan._replace(draw=lambda n, step: tree.zeros(plan.draw(n, step)))
    with pytest.raises(BadInput, match="both zero"):
        lte.lte(task, dead).enter(0)


def test_unadapted_layers_are_trained_as_replicas_and_frozen_with_them():
    task, _ = make_task(optim.sgd(), 0.05)
    plan = lora.plan(task.weights, [{"layer2": 2}] * 3, alpha=2.0, seed=SEED)
    for replicas, moves in (("average", True), ("frozen", False)):
        end = dict(zip(task.weights, trajectory(lte.lte(task, plan, 5, replicas=replicas), 3)[-1]))
        assert np.array_equal(end["layer1"][0], task.weights["layer1"].W) is not moves
        assert not np.array_equal(end["layer2"][0], task.weights["layer2"].W)


@pytest.mark.parametrize("replicas", ["average", "frozen"])
@pytest.mark.parametrize("reset", ["none", "b"])
def test_a_view_is_what_a_head_needs_of_the_main_state(reset, replicas):
    task, _ = make_task(optim.sgd(), 0.05)
    plan = lora.plan(task.weights, [dict.fromkeys(("layer1", "layer2"), r) for r in RANKS], alpha=2.0, seed=SEED)
    method = lte.lte(task, plan, 2, reset, replicas=replicas)
    done = loop(method, 4)[-1]
    told = method.show(done.main, 4)
    assert [(path, leaf.shape, leaf.dtype) for path, leaf in tree.named(told)] == [
        (path, leaf.shape, leaf.dtype) for path, leaf in tree.named(method.frame())
    ]
    assert list(told) == ["weights", "replicas"] and list(told["weights"]) == ["layer1", "layer2"]
    said = {1: method.tell(done.heads[1])}  # of the head that lives here
    view = method.view(told, method.begin(), said)
    assert all(
        np.array_equal(a, b) for a, b in zip(tree.leaves(view.weights), tree.leaves(done.main.weights), strict=True)
    )
    seen = [method.local(shown, done.heads[1], 4, 6) for shown in (view, done.main)]
    assert all(np.array_equal(a, b) for a, b in zip(*map(tree.leaves, seen), strict=True))
    if reset == "none":
        assert view.then[0] is None and view.then[2] is None  # no factors but those of its own heads
    assert view.rule is None


def test_the_callers_weights_stay():
    task, _ = make_task(optim.sgd(), 0.05)
    before = [(W.copy(), c.copy()) for W, c in as_lists(task.weights)]
    trajectory(lte.lte(task, make_plan(task)), 3)
    for mine, theirs in zip(as_lists(task.weights), before, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))  # no alias into a run
