"""Optimizers against their formulas, and what clipping keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import optim, tree
from minilte.core.random import stream

ALL = {
    "sgd": lambda: optim.sgd(weight_decay=0.1),
    "momentum": lambda: optim.sgd(0.9, weight_decay=0.1),
    "nesterov": lambda: optim.sgd(0.9, True),
    "adamw": lambda: optim.adamw(weight_decay=0.1),
}


def params(seed=0):
    draw = stream(seed, "check")
    return {"a": draw.standard_normal((2, 3)), "b": (draw.standard_normal(4), None)}


def grads(seed):
    return tree.map(lambda leaf: stream(seed, "check", 1).standard_normal(leaf.shape), params())


def run(optimizer, steps, lr=0.1, scale=1.0):
    p, state = params(), optimizer.init(params())
    for step in range(steps):
        p, state = optimizer.update(p, tree.map(lambda g: scale * g, grads(step)), state, lr)
    return p, state


def test_plain_sgd_and_coupled_decay():
    p = optim.sgd(weight_decay=0.5).update({"a": np.array([2.0])}, {"a": np.array([3.0])}, optim.SGDState(None), 0.1)[
        0
    ]
    assert p["a"] == 2 - 0.1 * (3 + 0.5 * 2)


def test_momentum_sums_past_gradients_and_nesterov_looks_ahead():
    for nesterov, second in ((False, 1 + 0.5), (True, 1 + 0.5 * 1.5)):
        optimizer, p = optim.sgd(0.5, nesterov), {"a": np.array([0.0])}
        state, one = optimizer.init(p), {"a": np.array([1.0])}
        p, state = optimizer.update(p, one, state, 1.0)
        first = 1.5 if nesterov else 1.0
        assert p["a"] == -first
        p, state = optimizer.update(p, one, state, 1.0)
        assert p["a"] == -first - second


def test_momentum_is_plain_unless_nesterov_is_asked_for_and_there_is_no_buffer_without():
    p, one = {"a": np.array([0.0])}, {"a": np.array([1.0])}
    assert optim.sgd(0.5).update(p, one, optim.sgd(0.5).init(p), 1.0)[0]["a"] == -1
    assert optim.sgd().init(p).buf is None


@pytest.mark.parametrize("settings", [{}, dict(b1=0.5, b2=0.7, eps=0.1, weight_decay=0.2)])
def test_adamw_step_by_step(settings):
    b1, b2, eps, decay = (dict(b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0) | settings).values()
    optimizer, p, m, v = optim.adamw(**settings), 2.0, 0.0, 0.0
    tree_p, state = {"a": np.array([2.0])}, optim.adamw(**settings).init({"a": np.array([2.0])})
    assert state.count.dtype == np.int64
    for t, g in enumerate([1.0, -0.5, 3.0, 1e-9], 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        p = (1 - 0.1 * decay) * p - 0.1 * (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + eps)
        tree_p, state = optimizer.update(tree_p, {"a": np.array([g])}, state, 0.1)
        assert tree_p["a"][0] == pytest.approx(p, rel=1e-14) and int(state.count) == t


def test_a_float32_step_is_computed_in_float32():
    draw = stream(3, "check").standard_normal
    p, g = draw(50).astype("f4"), draw(50).astype("f4")
    m, v = 0.9 * np.zeros_like(g) + (1 - 0.9) * g, (1 - 0.999) * g * g
    root = (1 - 0.999) ** 0.5
    expected = p - m / (np.sqrt(v) + root * 1e-8) * (0.1 * root / (1 - 0.9))
    got, state = optim.adamw().update({"a": p}, {"a": g}, optim.adamw().init({"a": p}), 0.1)
    assert got["a"].dtype == state.v["a"].dtype == np.float32
    np.testing.assert_array_equal(got["a"], expected)  # the same operations, one after the other, all in float32


def test_clipping_lets_pass_what_is_just_at_the_bound_and_keeps_everything_without_one():
    g = {"a": np.array([3.0, 4.0])}
    assert optim.clip(g, 5.0) is g and optim.clip(g, None) is g
    assert np.array_equal(optim.clip(g, 2.5)["a"], [1.5, 2.0])


def test_the_first_step_of_adam_has_the_size_of_the_rate():
    p, _ = run(optim.adamw(eps=1e-12), 1)
    moved = tree.map(lambda a, b, g: (b - a) / np.sign(g), p, params(), grads(0))
    # 1e-9: eps over the smallest gradient
    assert all(np.allclose(leaf, 0.1, atol=1e-9) for leaf in tree.leaves(moved))


def test_decoupled_decay_shrinks_by_a_constant_factor_where_the_gradient_is_zero():
    p, _ = run(ALL["adamw"](), 3, scale=0.0)
    for got, start in zip(tree.leaves(p), tree.leaves(params())):
        np.testing.assert_allclose(got, start * 0.99**3, rtol=1e-15)  # (1 - lr lambda)^3


def test_adam_does_not_see_the_scale_of_the_loss_and_sgd_does():
    a, b = run(optim.adamw(eps=0.0), 5)[0], run(optim.adamw(eps=0.0), 5, scale=8.0)[0]
    assert all(
        np.allclose(x, y, rtol=1e-13) for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True)
    )  # rounding of 5 steps
    a, b = run(optim.sgd(), 5)[0], run(optim.sgd(), 5, scale=8.0)[0]
    assert not any(np.allclose(x, y) for x, y in zip(tree.leaves(a), tree.leaves(b)))


def test_the_square_of_a_large_gradient_does_not_overflow_early():
    g = np.array([1e20], np.float32)  # its square leaves float32, 0.001 of it does not
    _, state = optim.adamw().update({"a": g}, {"a": g / 10}, optim.adamw().init({"a": g}), 0.1)
    assert np.isfinite(state.v["a"]).all()


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_changed_in_place_and_dtypes_stay(name):
    optimizer = ALL[name]()
    p = tree.map(lambda leaf: leaf.astype(np.float32), params())
    g = tree.map(lambda leaf: leaf.astype(np.float32), grads(0))
    before = [leaf.copy() for leaf in tree.leaves((p, g))]
    new, state = optimizer.update(p, g, optimizer.init(p), 0.1)
    assert all(np.array_equal(x, y) for x, y in zip(tree.leaves((p, g)), before, strict=True))
    assert {leaf.dtype for leaf in tree.leaves(new)} == {np.dtype("float32")}


def test_parameters_in_any_memory_order_are_written():
    p = {"a": np.asfortranarray(stream(0, "check").standard_normal((3, 4)))}
    a = optim.adamw().update(p, p, optim.adamw().init(p), 0.1)[0]["a"]
    c = {"a": np.ascontiguousarray(p["a"])}
    assert np.array_equal(a, optim.adamw().update(c, c, optim.adamw().init(c), 0.1)[0]["a"])


@pytest.mark.parametrize(("count", "size"), [(10**6, 0.1), (4, 1e30)])
def test_the_norm_of_a_large_or_long_float32_gradient_is_right(count, size):
    g = {"a": np.full(count, size, np.float32)}
    exact = float(np.float32(size)) * count**0.5
    assert optim.clip(g, exact * (1 + 1e-12)) is g  # rounding of a sum in float64
    clipped = optim.clip(g, exact * (1 - 1e-12))
    assert clipped is not g and np.isfinite(clipped["a"]).all()


@pytest.mark.parametrize("name", ALL)
def test_only_the_leaves_of_the_parameters_are_looked_at(name):
    optimizer, more = ALL[name](), {**grads(0), "b": (grads(0)["b"][0], np.ones(7))}
    a = optimizer.update(params(), grads(0), optimizer.init(params()), 0.1)[0]
    b = optimizer.update(params(), more, optimizer.init(params()), 0.1)[0]
    assert all(np.array_equal(x, y) for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True))


def norm(grads):
    return np.linalg.norm(np.concatenate([leaf.ravel() for leaf in tree.leaves(grads)]))


@given(st.floats(0.01, 100))
def test_clipping_keeps_the_direction_and_bounds_the_norm(most):
    g = grads(1)
    clipped = optim.clip(g, most)
    assert norm(clipped) <= most * (1 + 1e-12)
    ratio = norm(clipped) / norm(g)
    pairs = zip(tree.leaves(clipped), tree.leaves(g), strict=True)
    assert all(np.allclose(x, ratio * y, rtol=1e-12) for x, y in pairs)
    assert (clipped is g) == (norm(g) <= most)
