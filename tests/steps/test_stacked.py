"""Stacked rows are the plain path: the same losses, gradients and weights, up to rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import networks, tree
from minilte.core.types import Norm
from minilte.laws.strategies import cases
from minilte.laws.world import Case, apart, build, run, weights_along
from minilte.steps import stacked
from minilte.steps.stacked import stacked_steps


def both(world, size, factor=None, **changes):
    """The method without and with stacked rows."""
    plain, factor = world.method(**changes), factor or [1.0] * world.case.heads
    return plain, plain._replace(together=stacked_steps(size, world.task, world.plan, factor))


@given(cases(activation="tanh"), st.integers(1, 5))
def test_stacked_rows_follow_the_plain_path(case, size):
    plain, fast = (weights_along(method, case.heads, case.steps) for method in both(build(case), size))
    assert apart(plain, fast) < 1e-8  # rounding of a dozen steps; Adam divides by roots as small as eps


def test_heads_keep_their_own_rows_ranks_and_losses():
    world = build(Case(ranks=(2, 1, 3), samples=4, every=3, steps=3, lr=0.3))
    uneven = world._replace(task=world.task._replace(batch=lambda n, step: fewer(world.task.batch(n, step), n)))
    (plain,), (fast,) = (run(method, 3, 3) for method in both(uneven, 2))
    np.testing.assert_allclose(fast.losses, plain.losses, rtol=1e-12)
    assert len(set(plain.losses)) == 3
    for a, b in zip(tree.leaves(fast.heads), tree.leaves(plain.heads)):
        np.testing.assert_allclose(a, b, atol=1e-12)


def fewer(batch, n):
    """Head n sees n samples less."""
    return tuple(part[: len(part) - n] for part in batch)


def test_layers_without_a_shared_matrix_are_each_heads_own():
    draw = np.random.default_rng(0).standard_normal
    norms, x, dy = tuple(Norm(draw(3), draw(3)) for _ in range(2)), draw((5, 3)), draw((5, 3))
    y, cache = stacked.stacked(x, norms, (2, 5))
    dx, grads, _ = stacked.stacked_back(dy, cache)
    f, back = networks.PAIRS[Norm]
    for norm, rows, grad in zip(norms, (slice(0, 2), slice(2, 5)), grads):
        alone, mine = f(x[rows], *norm)
        assert np.array_equal(y[rows], alone)
        for got, expected in zip((dx[rows], *grad), back(dy[rows], mine)):
            assert np.array_equal(got, expected)


def test_a_group_of_one_has_the_bits_of_the_plain_path():
    world = build(Case(ranks=(2, 2), steps=4))
    plain, fast = (weights_along(method, 2, 4) for method in both(world, 1))
    pairs = list(zip(tree.leaves(plain), tree.leaves(fast), strict=True))
    assert pairs and all(np.array_equal(a, b) for a, b in pairs)
    assert not np.array_equal(plain[0]["layer1"].W, plain[-1]["layer1"].W)  # it went somewhere


def test_heads_keep_their_own_parts_of_the_whole_batchs_mean():
    world = build(Case(ranks=(2, 1, 3), steps=3, lr=0.3))
    parts = [0.5, 0.3, 0.2]
    uneven = world._replace(task=world.task._replace(shards=tuple(parts)))
    for size in (2, 3):  # in groups of two the third head is the first of its group
        plain, fast = (weights_along(method, 3, 3) for method in both(uneven, size, parts, reduction="batch"))
        assert apart(fast, plain) < 1e-9  # rounding


def test_a_gradient_of_stacked_rows_is_clipped_head_by_head_and_only_later_steps_use_memory_again():
    world = build(Case(ranks=(2, 1, 3), steps=6, every=3, lr=0.3))
    calls, sgd = [], world.task.optimizer
    again = sgd._replace(in_place=lambda *work: (calls.append(work), sgd.update(*work))[1])
    clipped = world._replace(task=world.task._replace(clip=0.2, optimizer=again))
    plain, fast = (weights_along(method, 3, 6) for method in both(clipped, 3))
    assert apart(fast, plain) < 1e-9 and len(calls) == 2 * 3 * 2 * 2  # of three steps two, heads, rounds, methods


@pytest.mark.parametrize("start", [1, 2])
def test_heads_in_groups_come_back_in_their_order(start):
    world = build(Case(ranks=(1, 1, 1, 1, 1), every=4))
    plain, fast = both(world, 2)
    heads = [plain.enter(n) for n in (3, 0, 4, 1, 2)]
    groups = []
    each = lambda f, items: groups.extend(map(len, items)) or [f(item) for item in items]  # noqa: E731
    done = fast.together(plain.begin(), heads, start, 4, each)
    assert groups == [2, 2, 1] and [head.index for head in done] == [3, 0, 4, 1, 2]
    for head, alone in zip(done, (plain.local(plain.begin(), head, start, 4) for head in heads), strict=True):
        assert head.loss == pytest.approx(alone.loss, rel=1e-12)
