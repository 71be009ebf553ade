"""The truncated mean against the SVD of the whole matrix; and for whole runs against dense heads."""

import tracemalloc

import numpy as np
import pytest
import tiny
from dense import by_rule
from hypothesis import given
from hypothesis import strategies as st
from support import OPTIMIZERS, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core.errors import BadInput
from minilte.core.lora import product
from minilte.core.lte import lte
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Sent
from minilte.laws import LAWS, Variant, oracle, try_law
from minilte.rules.outer import outer
from minilte.rules.svd import svd, truncated
from minilte.steps.adamw import adamw

W = [0.5, 0.2, 0.3]


def cut(rank):
    """The mean, without its smaller singular values."""

    def merged(moves, w):
        U, size, Vt = np.linalg.svd(sum(w_n * D for w_n, D in zip(w, moves, strict=True)))
        return sum(size[i] * np.outer(U[:, i], Vt[i]) for i in range(min(rank, len(size))))

    return merged


def drawn(seed, m, n, R, dtype="float64"):
    draw = stream(seed, "check").standard_normal
    return Adapter(draw((R, n)).astype(dtype), draw((m, R)).astype(dtype))


sizes = st.integers(1, 6)


@given(st.integers(0, 2**32), sizes, sizes, st.integers(1, 9), sizes)
def test_what_is_cut_off_is_no_more_than_it_has_to_be(seed, m, n, R, rank):
    pair = drawn(seed, m, n, R)
    got, size = truncated(pair, rank), np.linalg.svd(product(pair), compute_uv=False)
    assert len(got.A) == got.B.shape[1] == min(rank, m, n, R)
    # 1e-12: rounding of a few products
    np.testing.assert_allclose(np.linalg.norm(product(pair) - product(got)), np.linalg.norm(size[rank:]), atol=1e-12)


def test_a_case_by_hand():
    three = Adapter(np.diag([3.0, 1.0, 2.0]), np.eye(3))
    np.testing.assert_allclose(product(truncated(three, 2)), np.diag([3.0, 0.0, 2.0]), atol=1e-15)
    nothing = Adapter(np.ones((2, 4)), np.zeros((3, 2)))
    assert not product(truncated(nothing, 1)).any()


def test_no_matrix_of_the_size_of_the_layer_is_formed():
    pair = drawn(0, 2000, 2000, 6)
    tracemalloc.start()
    truncated(pair, 3)
    assert tracemalloc.get_traced_memory()[1] < 8 * 2000 * 2000 / 10
    tracemalloc.stop()


def test_a_float32_layer_is_rounded_once():
    pair, start = drawn(1, 40, 30, 8, "float32"), drawn(2, 40, 30, 5, "float32")
    weights, sent = {"layer": Linear(product(start), None)}, [Sent({"layer": pair}, {})]
    got = svd(3).merge(None, weights, sent, None, [{"layer": 1.0}], [1.0], map)[0]["layer"].W
    exact = product(truncated(Adapter(*(factor.astype("float64") for factor in pair)), 3))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, product(start) + exact.astype("float32"))


def test_what_is_not_finite_is_left_to_whoever_watches_the_run():
    pair = Adapter(np.ones((2, 3)), np.full((4, 2), np.inf))
    with np.errstate(invalid="ignore"):
        assert truncated(pair, 1) is pair


# ---------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize(("reset", "rank"), [("none", 2), ("b", 1), ("ab", 2)])
def test_it_follows_the_dense_method(reset, rank, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    reference = by_rule(task, plan, W, oracle.Settings(task.rate, every=every, reset=reset, **extra), cut(rank))
    assert_same(trajectory(lte(task, plan, every, reset, w=W, rule=svd(rank)), 3), list(reference))


@pytest.mark.parametrize("rule", [svd(2), outer(rule=svd(1))], ids=["alone", "in an outer step"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(rule):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, w=W, rule=rule), 3, 10)


@pytest.mark.parametrize("rank", [6, 1000])
def test_with_a_rank_that_no_change_has_it_is_the_mean(rank):
    task, _ = make_task(adamw(), 0.01)
    path = lambda **rule: trajectory(lte(task, make_plan(task), 3, w=W, **rule), 3)  # noqa: E731
    assert_same(path(rule=svd(rank)), path())


@pytest.mark.parametrize(
    ("name", "holds"),
    [*dict.fromkeys(("L1", "L2", "L3", "L9", "L10", "L13"), False).items(), ("L10-all", True), ("L15", True)],
)
def test_the_laws_that_it_keeps_and_breaks(name, holds):
    assert try_law(LAWS[name], examples=10, variant=Variant(rule=svd(1)), shrink=False).holds == holds
    assert not svd().bounded and not svd().telescopes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(merge_rule="svd", svd_rank=0), "svd-rank: expected a whole number of at least 1, got 0"),
        (dict(svd_rank=3), "svd-rank: belongs to --merge-rule svd or --outer-over svd"),
        (dict(merge_rule="svd", topology="allreduce"), "merge-rule svd: needs what every head sends"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        tiny.config(**settings)
