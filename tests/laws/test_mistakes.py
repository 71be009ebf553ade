"""Mistakes that others made, or that the paper or its code holds: the right form works, the wrong one is seen to fail."""

import numpy as np
import pytest

from minilte.comm import threads
from minilte.comm.buffers import payload
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE
from minilte.core import layers, lora, networks, tree
from minilte.core.gradcheck import gradient_error
from minilte.core.lora import product
from minilte.core.lte import merged
from minilte.core.method import rounds
from minilte.core.random import stream
from minilte.core.types import Adapter, Rule
from minilte.laws.exact import as_layers, dense_path
from minilte.laws.world import Case, Variant, build, gap, matrices, run, weights_along
from minilte.methods.mhlora import lora as lora_alone

CASE = Case(widths=(6, 5, 4), ranks=(2, 2, 1), every=2, steps=12, lr=0.02)


def end(world, variant=Variant(), **changes):
    return run(world.method(variant, **changes), world.case.heads, world.case.steps)[-1].main.weights


def expected(world, **changes):
    *_, last = dense_path(world.case, **changes)
    return last


def off(got, right):
    return gap(as_layers(got), right)


RIGHT, WRONG = 1e-12, 1e-4  # rounding of 12 steps; a mistake moves weights of size 1 by much more


def test_a_reset_that_leaves_V_in_place_erases_earlier_progress(monkeypatch):
    world = build(CASE._replace(reset="b"))
    assert off(end(world), expected(world)) < RIGHT
    method, N = world.method(), world.case.heads

    def leaves_V(main, said, step, each):
        return method.merge(main, said, step, each)._replace(then=tuple(one.factors for one in said))

    last = run(method._replace(merge=leaves_V), N, world.case.steps)[-1].main
    # the sum telescopes over resets: what is left is W_0 and the last round's factors alone
    left = {
        name: W + sum(s[name] * product(last.then[n][name]) for n, s in enumerate(world.plan.scales)) / N
        for name, W in matrices(world.task.weights).items()
    }
    assert gap(matrices(last.weights), left) < RIGHT < WRONG < off(last.weights, expected(world))


def test_the_inverted_ratio_of_the_inits_differs_by_n_over_r():
    r, n = 4, 64
    A, inverted = (lora.INITS[name](stream(0, "check"), r, n) for name in ("bernstein", "official"))
    np.testing.assert_allclose(np.linalg.svd(A, compute_uv=False), np.sqrt(r / n), rtol=1e-12)  # rounding of a QR
    np.testing.assert_allclose(inverted, A * n / r, rtol=1e-12)  # so alpha does not carry over


def test_MHLoRA_without_its_mean_sees_N_times_the_change():
    heads = [Adapter(np.ones((1, 3)), np.ones((2, 1)))] * 4
    whole = product(lora.stack(heads, [2.0 / 4] * 4))
    assert np.array_equal(whole, 2.0 * product(heads[0])) and not np.array_equal(
        whole, product(lora.stack(heads, [2.0] * 4))
    )


def test_a_loss_over_the_whole_batch_makes_every_head_gradient_one_Nth():
    world = build(CASE)
    x, y = world.task.batch(0, 0)
    _, own = networks.loss_and_grads(world.task.net, world.task.weights, x, y)
    _, part = networks.loss_and_grads(world.task.net, world.task.weights, x, y, world.task.shards[0])
    assert gap(tree.map(lambda g: world.case.heads * g, part), own) < RIGHT
    assert off(end(world), expected(world)) < RIGHT
    assert off(end(world, reduction="batch"), expected(world, factor=list(world.task.shards))) < RIGHT
    assert off(end(world, reduction="batch"), expected(world)) > WRONG  # sgd sees the factor


def test_a_first_merge_without_the_scale_is_seen():
    world = build(CASE)

    def first_without(state, weights, sent, then, scales, w, each):
        bare = scales if state["merges"] else [dict.fromkeys(one, 1.0) for one in scales]
        return merged(weights, sent, then, bare, w), {"merges": state["merges"] + 1}

    assert (
        off(end(world, Variant(Rule(lambda weights: {"merges": np.asarray(0)}, first_without))), expected(world))
        > WRONG
    )


def test_reset_less_merging_without_V_counts_twice():
    world = build(CASE)
    twice = Rule(lambda weights: None, lambda state, W, sent, then, s, w, each: (merged(W, sent, None, s, w), state))
    start = matrices(world.task.weights)
    far = lambda weights: max(np.abs(W - start[name]).max() for name, W in matrices(weights).items())  # noqa: E731
    assert far(end(world, Variant(twice))) > 2 * far(end(world))  # every merge adds all earlier progress again


def test_a_correction_from_two_low_precision_products_cancels_badly():
    rng = stream(0, "check")
    then = Adapter(rng.standard_normal((8, 256)), rng.standard_normal((256, 8)))
    now = tree.map(lambda leaf: leaf * (1 + 0.01 * rng.standard_normal(leaf.shape)), then)  # a change of one percent
    true = product(now) - product(then)
    low = lambda leaf: leaf.astype(np.float16)  # noqa: E731
    error = lambda got: np.linalg.norm(got.astype(float) - true) / np.linalg.norm(true)  # noqa: E731
    of_products = error(low(product(tree.map(low, now))) - low(product(tree.map(low, then))))
    moved = layers.change(now, then)  # the differences first, the cast after
    of_factors = error(low(product(tree.map(low, moved))))
    assert of_factors < 0.003 and of_products > 10 * of_factors


def test_the_callers_weights_are_not_changed_through_an_alias():
    world = build(CASE)
    before = [leaf.copy() for leaf in tree.leaves(world.task.weights)]
    end(world)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(world.task.weights), before, strict=True))


def test_rare_merges_save_traffic_and_every_other_process_takes_part():
    world = build(CASE)

    def sent(transport, every):
        comm, method = Communicator(transport, world.case.heads), world.method(every=every)
        heads = [method.enter(n) for n in comm.mine]
        *_, last = rounds(method, comm, EVERYONE, method.begin(), heads, 12)
        return payload(comm.sent), [W.tobytes() for W in matrices(last.main.weights).values()]

    often, rare = (threads.run(3, lambda transport, T=T: sent(transport, T)) for T in (1, 6))
    assert all(a == 6 * b > 0 for (a, _), (b, _) in zip(often, rare))
    assert all(bits == rare[0][1] for _, bits in rare)


def test_an_upstream_gradient_of_ones_misses_what_a_random_one_sees():
    x = stream(0, "check").standard_normal((4, 3))

    def rows_permuted(dy, x):
        return 2 * x * dy[::-1]

    square = lambda x: (x * x, x)  # noqa: E731
    ones = np.ones_like(x)
    assert np.array_equal(rows_permuted(ones, x), 2 * x * ones)  # looks right
    assert gradient_error(square, rows_permuted, (x,)) > 1e-2


def test_the_variance_is_written_so_that_complex_step_sees_it():
    x = stream(0, "check").standard_normal((2, 4)) + 1e-30j
    centred = x - x.mean(axis=-1, keepdims=True)
    moved = x.copy()
    moved[0, 0] += 1e-20j
    centred = moved - moved.mean(axis=-1, keepdims=True)
    assert np.var(moved, axis=-1).imag.any() == False  # noqa: E712  np.var drops the imaginary part
    assert (centred * centred).mean(axis=-1).imag[0] != 0
    args = (x.real, np.ones(4), np.zeros(4))
    assert gradient_error(layers.layer_norm, layers.layer_norm_back, args, method="complex") < 1e-12


@pytest.mark.parametrize("T", [1, 3, 12])
def test_one_head_without_a_reset_gains_nothing_by_merging(T):
    world = build(CASE._replace(ranks=(2,), lr=0.3))  # large steps: A has to move, or a reset changes little
    *_, plain = weights_along(lora_alone(world.task, world.plan), 1, world.case.steps)
    assert gap(matrices(end(world, every=T)), matrices(plain)) < RIGHT
    reset = gap(matrices(end(world, every=T, reset="b")), matrices(plain))
    assert reset > WRONG if T < 12 else reset < RIGHT  # nothing comes after the only merge
