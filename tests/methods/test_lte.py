"""LTE as a choice of settings: shares, and what others may ask of it. The method itself is tested with the core."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from dense import dense_start, up_to_merges
from hypothesis import given
from hypothesis import strategies as st
from support import STEPS, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core import optim, tree
from minilte.core.errors import BadInput
from minilte.core.lora import product
from minilte.core.lte import lte
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Main, Sent
from minilte.laws import oracle
from minilte.laws.exact import redrawn
from minilte.methods.lte import facts, moved, shares, unmoved
from minilte.run.build import build
from minilte.run.session import advance, first_state
from minilte.settings.config import Config
from minilte.steps.adamw import adamw

# ---------------------------------------------------------------------------------- shares


@pytest.mark.parametrize(
    "w", [[0.5, 0.4], [1.0], [0.5, 0.5, 0.0], [float("nan"), 1.0], [1.0, float("nan")], [1.5, -0.5]]
)
def test_shares_that_do_not_sum_to_one_are_refused(w):
    with pytest.raises(BadInput, match="2 shares of at least 0 that sum to 1"):
        shares(2, w)


def test_shares_are_even_unless_given():
    assert shares(4) == [0.25] * 4 and shares(2, [0.75, 0.25]) == [0.75, 0.25]
    assert shares(2, [1.0, 0.0]) == [1.0, 0.0]  # a head may count for nothing


# ---------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("reset", ["none", "ab"])
@pytest.mark.parametrize("replicas", ["average", "frozen"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(replicas, reset):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, reset, replicas=replicas), 3, 10)


def test_steps_in_place_change_nothing_that_others_hold():
    tasks = [make_task(optimizer(weight_decay=0.1), 0.01)[0] for optimizer in (optim.adamw, adamw)]
    for reset in ("none", "b", "ab"):
        plain, fast = (trajectory(lte(task, make_plan(task), 3, reset), 3) for task in tasks)
        assert all(map(np.array_equal, tree.leaves(plain), tree.leaves(fast)))


def test_settings_reach_the_method():
    config = tiny.config(heads=3, head_ranks=(1, 2, 3), merge_every=3, reset="ab", reset_optimizer=True)
    config = config.replace(
        loss_reduction="batch", shares=(0.5, 0.2, 0.3), batch=8, optimizer="sgd", alpha=2.0, lr=0.1
    )
    config = config.replace(dtype="float64", steps=STEPS, replicas="frozen", merge_rule="outer", outer_momentum=0.0)
    built = build(config)
    task, plan = built.task, config.adapters.plan(built.task.weights, 3, config.seed)
    settings = oracle.Settings(task.rate, "identity", every=3, reset="ab", reset_optimizer=True, replicas="frozen")
    start, w = dense_start(task, plan), [0.5, 0.2, 0.3]
    run, reference = oracle.Explorer(*start, settings, w, list(task.shards), redrawn(plan)), []
    for t in up_to_merges(run, task.batch):
        before = run.W[0]
        run.merge(t)
        run.W[0] = before - 0.7 * (before - run.W[0])
        reference.append(run.weights())
    assert_same(trajectory(built.method, 3), reference)


# ---------------------------------------------------------------------------------- how far a head moved

SCALES = [{"layer1": 0.5}] * 4


def heads(seed=0, then=True):
    draw = stream(seed, "check").standard_normal
    old = [{"layer1": Adapter(draw((2, 5)), draw((4, 2)))} for _ in range(4)]
    new = [tree.map(lambda leaf: leaf + 0.1 * draw(leaf.shape), one) for one in old]
    main = Main({"layer1": Linear(draw((4, 5)), draw(4))}, tuple(old) if then else None)
    return [Sent(one, {"layer1": Linear(None, draw(4))}) for one in new], main


def known(reset="none", bounded=True, task=None, plan=None):
    plan = plan or SimpleNamespace(scales=SCALES, ranks=())
    return facts(task, plan, [0.25] * 4, bounded, bounded)


@given(st.integers(0, 2**32), st.booleans())
def test_the_way_of_a_head_is_that_of_its_product(seed, then):
    sent, main = heads(seed, then)
    for n, one in enumerate(sent):
        V = product(main.then[n]["layer1"]) if then else 0
        way = SCALES[n]["layer1"] * np.linalg.norm(product(one.factors["layer1"]) - V)
        assert moved(one.factors, main.then[n] if then else None, SCALES[n]) == pytest.approx(way, rel=1e-6)
        assert known(bounded=False).distance(main, n, one) == pytest.approx(way, rel=1e-6)


def test_a_way_over_several_layers_is_the_root_of_the_sum_of_squares():
    pair = Adapter(np.array([[3.0]]), np.array([[1.0]]))
    other = Adapter(np.array([[2.0]]), np.array([[1.0]]))
    assert moved({"a": pair, "b": other}, None, {"a": 1.0, "b": 2.0}) == 5.0


@pytest.mark.parametrize("layer", ["layer1", "layer2"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_single_bad_number_in_a_bias_is_an_infinite_way(layer, bad):
    sent, main = heads()
    biases = {"layer1": Linear(None, np.zeros(4)), "layer2": Linear(None, np.zeros(3))}
    assert np.isfinite(known(bounded=False).distance(main, 0, sent[0]._replace(replicas=biases)))
    biases[layer].c[1] = bad
    assert known(bounded=False).distance(main, 0, sent[0]._replace(replicas=biases)) == np.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_a_way_that_is_no_number_or_too_large_to_square_is_infinite(bad):
    sent, main = heads()
    far = tree.map(lambda leaf: leaf * bad, sent[0])
    with np.errstate(all="ignore"):
        assert known(bounded=False).distance(main, 0, far) == np.inf
        replica = sent[0]._replace(replicas=tree.map(lambda leaf: leaf * np.nan, sent[0].replicas))
        assert known(bounded=False).distance(main, 0, replica) == np.inf
        assert moved(sent[0].factors, sent[0].factors, SCALES[0]) == 0.0


@pytest.mark.parametrize("then", [True, False])
def test_a_head_that_stands_still_has_moved_nowhere(then):
    sent, main = heads(then=then)
    broken = sent[1]._replace(factors=tree.map(lambda leaf: np.full_like(leaf, np.inf), sent[1].factors))
    for words in (sent[1], broken):
        still = known(bounded=False).still(main, 1, words)
        assert known(bounded=False).distance(main, 1, still) == 0.0
        W, c = still.replicas["layer1"]
        assert np.array_equal(c, main.weights["layer1"].c) and W is None
        assert all(np.isfinite(leaf).all() for leaf in tree.leaves(still))
    if not then:  # the A of the head, as far as it is a number
        assert np.array_equal(unmoved(sent[1].factors, None)["layer1"].A, sent[1].factors["layer1"].A)
    assert known(bounded=False).still(main, 1, sent[1]._replace(replicas={})).replicas == {}


# ---------------------------------------------------------------------------------- what others may ask


def test_rank_bounds_and_the_run_as_one_adapter_hold_without_resets_and_momentum():
    for changes, bounded, telescopes in (
        ({}, True, True),
        (dict(reset="b"), False, False),
        (dict(merge_rule="ties"), False, False),
        (dict(merge_rule="outer"), False, False),
        (dict(merge_rule="outer", outer_momentum=0.0), True, False),  # eta mean: W - W_0 has parts of W_t in it
        (dict(merge_rule="outer", outer_momentum=0.0, outer_rate=1.0), True, True),
        (dict(merge_rule="telescope"), True, True),
    ):
        method = build(tiny.config(model="mlp", widths=(3,), heads=3, head_ranks=(1, 2, 3), **changes)).method
        assert method.facts.bound == ({"layer1": 6, "layer2": 6} if bounded else {})
        assert (method.facts.one_lora is not None) is telescopes


def test_the_run_as_one_adapter_is_its_dense_change():
    session = tiny.session(heads=3, head_ranks=(1, 2, 3), dtype="float64", shares=(0.5, 0.2, 0.3))
    *_, (_, state) = advance(session, first_state(session))
    method, weights = session.built.method, session.built.task.weights
    factors, scales, w = method.facts.one_lora(state.main, ())
    assert w == [0.5, 0.2, 0.3]
    total = sum(w[n] * scales[n]["layer1"] * product(factors[n]["layer1"]) for n in range(3))
    np.testing.assert_allclose(method.weights(state.main)["layer1"].W, weights["layer1"].W + total, atol=1e-9)
    assert method.facts.factors(state.main) is state.main.then


@pytest.mark.parametrize("reset", ["none", "b"])
def test_a_main_state_for_more_or_fewer_heads(reset):
    task, _ = make_task(optim.sgd(), 0.05)
    plan = make_plan(task)
    method = lte(task, plan, 2, reset)
    known_ = known(reset, task=task, plan=plan)
    first = lte(task, make_plan(task, [2]), 2, reset)
    moved_ = first.merge(first.begin(), [first.tell(first.local(first.begin(), first.enter(0), 0, 2))], 2, map)
    more, fewer = known_.resized(moved_, 3), known_.resized(method.begin(), 1)
    if reset == "none":
        assert more.then[0] is moved_.then[0] and not any(leaf.any() for leaf in tree.leaves(more.then[1:]))
        shapes = [[leaf.shape for leaf in tree.leaves(one)] for one in (more.then, method.begin().then)]
        assert shapes[0][2:] and shapes[0] == shapes[1] and len(fewer.then) == 1
    else:
        assert more is moved_
    assert more.weights is moved_.weights


def test_a_worker_holds_the_V_of_its_head_alone_where_a_master_merges():
    task, _ = make_task(adamw(), 0.01)
    plan = make_plan(task)
    method, known_ = lte(task, plan), known(task=task, plan=plan)
    main, head = method.begin(), method.enter(1)
    sizes = {
        everyone: {kind: tree.nbytes(held) for kind, held in known_.held(main, head, everyone).items()}
        for everyone in (True, False)
    }
    own, trained = tree.nbytes(head.now), tree.nbytes((head.now, head.replica))
    assert sizes[False]["merged_factors"] == own and sizes[True]["merged_factors"] == tree.nbytes(main.then)
    for found in sizes.values():
        assert found["weights"] == tree.nbytes(task.weights) and found["adapters"] == found["gradients"] == trained
        assert found["optimizer"] == 2 * trained + 8


def test_heads_of_different_rank_send_the_bytes_of_equal_ones_with_the_same_sum():
    said = []
    for ranks in ({}, dict(head_ranks=(12, 20, 28, 32, 32, 36, 44, 52))):
        built = build(Config(**ranks))
        main = built.method.begin()
        said.append(sum(tree.nbytes(built.method.like(n, main, 10).factors) for n in range(8)))
    assert said[0] == said[1]
