"""Stacked rows are the plain path: the same losses, gradients and weights, up to rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import networks, tree
from minilte.core.types import Norm
from minilte.steps import stacked
from minilte.steps.stacked import Stacked, stacked_steps
from minilte.laws.strategies import cases
from minilte.laws.world import Case, apart, build, run, weights_along


@given(cases(activation="tanh"), st.integers(1, 5))
def test_stacked_rows_follow_the_plain_path(case, size):
    world = build(case)
    plain, fast = (
        weights_along(world.method(**way), case.heads, case.steps)
        for way in ({}, {"local_steps": stacked_steps(size)})
    )
    assert apart(plain, fast) < 1e-8  # rounding of a dozen steps; Adam divides by roots as small as eps


def test_heads_keep_their_own_rows_ranks_and_losses():
    world = build(Case(ranks=(2, 1, 3), samples=4, every=3, steps=3, lr=0.3))
    uneven = world._replace(task=world.task._replace(batch=lambda n, step: fewer(world.task.batch(n, step), n)))
    (plain,), (fast,) = (run(uneven.method(**way), 3, 3) for way in ({}, {"local_steps": stacked_steps(2)}))
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
    plain, fast = (weights_along(world.method(**way), 2, 4) for way in ({}, {"local_steps": stacked_steps(1)}))
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(plain), tree.leaves(fast), strict=True))


def test_a_stacked_layer_is_a_layer_of_the_network():
    assert networks.PAIRS[Stacked] == (stacked.stacked, stacked.stacked_back)
    with pytest.raises(TypeError):
        Stacked()


def test_heads_keep_their_own_parts_of_the_whole_batchs_mean():
    world = build(Case(ranks=(2, 1, 3), steps=3, lr=0.3))
    uneven = world._replace(task=world.task._replace(shares=(0.5, 0.3, 0.2)))
    plain, fast = (
        weights_along(uneven.method(reduction="batch", **way), 3, 3)
        for way in ({}, {"local_steps": stacked_steps(3)})
    )
    assert apart(fast, plain) < 1e-9  # rounding
