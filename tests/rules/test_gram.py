"""The Gram merge against the pseudo-inverse of all rows; what it does to heads alike and apart; whole runs."""

import numpy as np
import pytest
import tiny
from dense import dense_start, up_to_merges
from hypothesis import given
from hypothesis import strategies as st
from support import OPTIMIZERS, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core.errors import BadInput
from minilte.core.lora import product
from minilte.core.lte import lte
from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.laws import LAWS, Variant, oracle, try_law
from minilte.laws.exact import redrawn
from minilte.laws.low_rank import WIDE, beyond
from minilte.laws.optimizers import frozen_A
from minilte.laws.strategies import cases
from minilte.laws.world import Case, World, build
from minilte.rules.gram import fitted, gram
from minilte.rules.outer import outer
from minilte.steps.adamw import adamw

W = [0.5, 0.2, 0.3]


def change(moves, w, damping=0.0):
    return product(fitted(moves, w, damping))


def written_out(moves, w, damping=0.0):
    """[D_1 A_1^T …] (S S^T + lambda I)^+ S with sqrt(N w_n) A_n for A_n."""
    rows = [np.sqrt(len(w) * w_n) * A for w_n, (A, _) in zip(w, moves, strict=True)]
    S, goals = np.concatenate(rows), np.concatenate([B @ A @ row.T for row, (A, B) in zip(rows, moves)], axis=1)
    return goals @ np.linalg.pinv(S @ S.T + damping * np.eye(len(S)), rcond=1e-12, hermitian=True) @ S


def drawn(seed, m, n, ranks):
    draw = stream(seed, "check").standard_normal
    return [Adapter(draw((r, n)), draw((m, r))) for r in ranks]


shares = st.sampled_from([[1 / 3] * 3, W])


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 8), st.tuples(*[st.integers(1, 3)] * 3), shares)
def test_it_is_the_least_change_that_fits_every_head_best(seed, m, n, ranks, w):
    moves = drawn(seed, m, n, ranks)
    got, rows = change(moves, w), np.concatenate([A for A, _ in moves])
    size = np.linalg.svd(rows, compute_uv=False)
    worst = size[0] / size[size > 1e-6 * size[0]][-1]
    small = 1e-12 * worst**2 * (1 + np.linalg.norm(got))  # rounding; a Gram matrix squares the condition
    slope = sum(w_n * (got @ A.T - B @ A @ A.T) @ A for w_n, (A, B) in zip(w, moves))
    np.testing.assert_allclose(slope, 0, atol=small)
    outside = got - got @ np.linalg.pinv(rows) @ rows  # what another change could do without
    np.testing.assert_allclose(outside, 0, atol=small)
    np.testing.assert_allclose(change(moves, w, 0.3), written_out(moves, w, 0.3), atol=small)


def test_heads_with_independent_rows_keep_what_they_did_to_their_own():
    moves = drawn(1, 5, 12, (3, 1, 4))
    for w in (W, [0.0, 0.1, 0.9], [1 / 3] * 3):
        for w_n, (A, B) in zip(w, moves):
            if w_n:
                np.testing.assert_allclose(change(moves, w) @ A.T, B @ A @ A.T, atol=1e-9)  # rounding, squared


def test_heads_with_orthogonal_rows_are_summed_and_heads_that_agree_averaged():
    Q = np.linalg.qr(stream(2, "check").standard_normal((9, 9)))[0]
    apart = [
        Adapter(Q[k : k + 3] * s, pair.B) for k, s, pair in zip((0, 3, 6), (1, 5, 0.1), drawn(3, 4, 9, (3,) * 3))
    ]
    np.testing.assert_allclose(change(apart, W), sum(map(product, apart)), atol=1e-12)  # rounding
    one, *others = drawn(4, 4, 9, (3,) * 3)
    np.testing.assert_allclose(change([one] * 3, W), product(one), atol=1e-12)
    alike = [one, *(Adapter(one.A, other.B) for other in others)]
    np.testing.assert_allclose(change(alike, W), sum(w * product(pair) for w, pair in zip(W, alike)), atol=1e-12)


def test_a_case_by_hand():
    a, b = Adapter(np.array([[2.0, 0.0]]), np.array([[3.0]])), Adapter(np.array([[1.0, 1.0]]), np.array([[1.0]]))
    # D [2, 0]^T = 12 and D [1, 1]^T = 2
    np.testing.assert_allclose(change([a, b], [0.5, 0.5]), [[6.0, -4.0]], atol=1e-13)
    # one head: D = B A (A A^T) / (A A^T + lambda)
    np.testing.assert_allclose(change([a], [1.0], 4.0), [[3.0, 0.0]], atol=1e-14)


def test_the_size_of_the_factors_and_their_basis_do_not_matter():
    moves = drawn(5, 4, 6, (2, 3, 2))
    expected = change(moves, W)
    for size in (1e-9, 1e160):
        scaled = [Adapter(size * A, B / size) for A, B in moves]
        np.testing.assert_allclose(change(scaled, W), expected, atol=1e-9)  # rounding, squared
    turn = np.linalg.qr(stream(6, "check").standard_normal((3, 3)))[0]
    moves[1] = Adapter(turn @ moves[1].A, moves[1].B @ turn.T)
    np.testing.assert_allclose(change(moves, W), expected, atol=1e-9)
    zero = Adapter(np.zeros((2, 6)), np.ones((4, 2)))
    assert not change([zero, zero], [0.5, 0.5]).any() and not change([zero], [1.0], 0.1).any()


def test_damping_holds_back_what_nearly_equal_heads_ask_for():
    one, other = drawn(7, 4, 6, (2, 2))
    near = [one, Adapter(one.A + 1e-4 * other.A, other.B)]
    sizes = [np.linalg.norm(change(near, [0.5, 0.5], damping)) for damping in (0.0, 1e-2, 1e9)]
    assert (
        sizes[0] > 100 * sizes[1] and sizes[1] < 2 * np.linalg.norm(product(one) + product(other)) and sizes[2] < 1e-6
    )


def test_float32_factors_count_as_the_numbers_that_they_are():
    one, other = ([factor.astype("float32") for factor in pair] for pair in drawn(9, 4, 6, (2, 2)))
    near = [Adapter(*one), Adapter(one[0] + np.float32(1e-3) * other[0], other[1])]
    wide = [Adapter(*(factor.astype("float64") for factor in pair)) for pair in near]
    np.testing.assert_allclose(change(near, [0.5, 0.5]), change(wide, [0.5, 0.5]), rtol=1e-12)


def test_a_direction_that_float32_does_not_know_is_left_out():
    one, other = ([factor.astype("float32") for factor in pair] for pair in drawn(8, 4, 6, (2, 2)))
    near = [Adapter(*one), Adapter(np.nextafter(one[0], np.float32(9)), other[1])]  # the last bit of every number
    alike = [Adapter(*one), Adapter(one[0], other[1])]
    np.testing.assert_allclose(change(near, [0.5, 0.5]), change(alike, [0.5, 0.5]), atol=1e-5)


# ---------------------------------------------------------------------------------- whole runs


def dense(task, plan, settings, damping):
    """LTE by matrices, whose merge is the formula with an explicit pseudo-inverse."""
    run = oracle.Explorer(*dense_start(task, plan), settings, W, redraw=redrawn(plan))
    for t in up_to_merges(run, task.batch):
        heads = [[Adapter(run.A[n][i], run.scales[n][i] * run.B[n][i]) for n in range(run.N)] for i in run.L]
        layers = [run.W[i] + written_out(moves, W, damping) for i, moves in enumerate(heads)]
        run.merge(t)  # biases, resets
        run.W = layers
        yield run.weights()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize(("reset", "damping"), [("b", 0.0), ("ab", 0.1)])
def test_it_follows_the_dense_method(reset, damping, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    reference = dense(task, plan, oracle.Settings(task.rate, every=every, reset=reset, **extra), damping)
    assert_same(trajectory(lte(task, plan, every, reset, w=W, rule=gram(damping)), 3), list(reference))


@pytest.mark.parametrize("rule", [gram(), outer(rule=gram(0.1))], ids=["alone", "in an outer step"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(rule):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, "ab", w=W, rule=rule), 3, 10)


@pytest.mark.parametrize("reset", ["b", "ab"])
def test_a_single_head_is_the_mean(reset):
    task, _ = make_task(adamw(), 0.01, heads=1)
    path = lambda **rule: trajectory(lte(task, make_plan(task, [2]), 3, reset, **rule), 1)  # noqa: E731
    assert_same(path(rule=gram()), path())


@pytest.mark.parametrize(
    ("name", "holds"),
    [*dict.fromkeys(("L4", "L13"), False).items(), *dict.fromkeys(("L10", "L10-all", "L15", "L16"), True).items()],
)
def test_the_laws_that_it_keeps_and_breaks(name, holds):
    def resetting(case):
        return case._replace(reset="ab" if case.reset == "ab" else "b") if isinstance(case, Case) else case

    law = LAWS[name]._replace(cases=lambda: LAWS[name].cases().map(resetting))
    assert try_law(law, examples=10, variant=Variant(rule=gram()), shrink=False).holds == holds
    assert not gram().bounded and not gram().telescopes


@given(cases(**WIDE, reset="b", decay=0.0))
def test_with_A_frozen_the_rank_stays_within_that_of_all_rows(case):
    world = build(case)
    frozen = World(case, world.task._replace(optimizer=frozen_A(world.task.optimizer)), world.plan)
    assert (
        beyond(case, frozen.method(Variant(rule=gram())), lambda W: sum(min(r, *W.shape) for r in case.ranks)) < 1e-10
    )


def test_without_resets_it_is_refused():
    task, _ = make_task(adamw(), 0.01)
    with pytest.raises(BadInput, match="gram: expected a method that resets B; without resets, use the mean"):
        trajectory(lte(task, make_plan(task), 3, rule=gram()), 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(merge_rule="gram"), "merge-rule gram: needs --reset b or ab"),
        (dict(merge_rule="outer", outer_over="gram"), "outer-over gram: needs --reset b or ab"),
        (dict(merge_rule="gram", reset="b", topology="allreduce"), "merge-rule gram: needs what every head sends"),
        (
            dict(merge_rule="gram", reset="b", gram_damping=-1.0),
            "gram-damping: expected a number of at least 0, got -1",
        ),
        (dict(gram_damping=0.1), "gram-damping: belongs to --merge-rule gram or --outer-over gram"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        tiny.config(**settings)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_the_weights_and_raises_nothing(bad):
    moves = [Adapter(np.array([[1.0, bad, 0.0]]), np.ones((2, 1))), Adapter(np.ones((1, 3)), np.ones((2, 1)))]
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(change(moves, [0.5, 0.5])).all()
