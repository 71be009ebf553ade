"""AdamW in stretches has the bits of the formula, and uses the memory of others only where it may."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import optim, tree
from minilte.core.random import stream
from minilte.steps.adamw import CHUNK, adamw

SETTINGS = {
    "plain": {},
    "decay": dict(weight_decay=0.1),
    "other betas": dict(b1=0.5, b2=0.7, eps=0.1, weight_decay=0.2),
    "no momentum": dict(b1=0.0, b2=0.0),
}
DTYPES = [np.float32, np.float64]


def drawn(seed, dtype, *shapes):
    draw = stream(seed, "check").standard_normal
    return {"a": draw(shapes[0]).astype(dtype), "b": ([draw(shape).astype(dtype) for shape in shapes[1:]], None)}


def same_bits(one, other):
    pairs = zip(tree.leaves(one), tree.leaves(other), strict=True)
    return all((a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()) for a, b in pairs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SETTINGS)
@given(
    seed=st.integers(0, 2**32),
    shapes=st.lists(st.lists(st.integers(1, 5), max_size=3).map(tuple), min_size=1, max_size=3),
    lr=st.floats(1e-6, 1.0),
)
def test_every_step_has_the_bits_of_the_formula(name, dtype, seed, shapes, lr):
    formula, fast = optim.adamw(**SETTINGS[name]), adamw(**SETTINGS[name])
    p = drawn(seed, dtype, *shapes)
    paths = [[p, formula.init(p)], [p, fast.init(p)], [tree.map(np.copy, p), fast.init(p)]]
    assert same_bits(paths[0], paths[1])
    for step in range(4):
        g = drawn(seed + step + 1, dtype, *shapes)
        g = tree.map(lambda leaf: leaf * dtype(10.0 ** (3 * step - 6)), g)  # below eps, and far above it
        for path, update in zip(paths, (formula.update, fast.update, fast.in_place)):
            path[:] = update(path[0], g, path[1], lr)
        assert same_bits(paths[0], paths[1]) and same_bits(paths[0], paths[2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [5, CHUNK - 1, CHUNK, 2 * CHUNK + 3])
def test_a_step_in_stretches_has_the_bits_of_one_over_everything(dtype, size):
    p, g = drawn(size, dtype, size), drawn(size + 1, dtype, size)
    formula, fast = optim.adamw(weight_decay=0.1), adamw(weight_decay=0.1)
    expected = formula.update(p, g, formula.init(p), 0.1)
    assert same_bits(fast.update(p, g, fast.init(p), 0.1), expected)
    assert same_bits(fast.in_place(tree.map(np.copy, p), g, fast.init(p), 0.1), expected)


def test_memory_is_used_again_where_it_may_be_and_only_there():
    p, g = {"a": np.ones(3)}, {"a": np.ones(3)}
    for update, again in ((adamw().in_place, True), (adamw().update, False)):
        new, state = update(p, g, before := adamw().init(p), 0.1)
        assert np.shares_memory(new["a"], p["a"]) is again
        assert np.shares_memory(state.m["a"], before.m["a"]) is np.shares_memory(state.v["a"], before.v["a"]) is again
        assert not np.shares_memory(new["a"], g["a"]) and (g["a"] == 1).all()


def test_an_update_changes_nothing_that_was_passed_in():
    p, g = drawn(0, np.float32, (2, 3), (4,)), drawn(1, np.float32, (2, 3), (4,))
    state = adamw().update(p, g, adamw().init(p), 0.1)[1]
    before = [leaf.copy() for leaf in tree.leaves((p, g, state))]
    adamw().update(p, g, state, 0.1)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves((p, g, state)), before, strict=True))


def test_parameters_in_any_memory_order_are_written():
    p = {"a": np.asfortranarray(stream(0, "check").standard_normal((3, 4)))}
    c = {"a": np.ascontiguousarray(p["a"])}
    expected = optim.adamw().update(c, c, optim.adamw().init(c), 0.1)[0]["a"]
    for update in (adamw().update, adamw().in_place):  # memory that cannot be cut into stretches is not used again
        got = update(p, c, adamw().init(p), 0.1)[0]["a"]
        assert np.array_equal(got, expected) and np.array_equal(p["a"], c["a"])


def test_only_the_leaves_of_the_parameters_are_looked_at():
    p, g = {"a": np.ones(3), "b": None}, {"a": np.ones(3), "b": np.ones(7)}
    for update in (adamw().update, adamw().in_place):
        new, state = update({"a": np.ones(3), "b": None}, g, adamw().init(p), 0.1)
        assert new["b"] is None and state.m["b"] is None
