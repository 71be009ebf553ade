"""GaLore where it is another method, its directions, and how moments move."""

import numpy as np
import pytest
import tiny
from support import as_lists, assert_same, make_task, trajectory

from minilte.core import optim
from minilte.core.errors import BadInput
from minilte.core.optim import AdamState
from minilte.core.types import Linear
from minilte.methods.full import full
from minilte.methods.galore import galore, squares, top
from minilte.methods.projected import inside, times, turned
from minilte.optimizers.muon import muon
from minilte.optimizers.polar import exact
from minilte.run.build import build

ALL = {"layer1": 5, "layer2": 4, "layer3": 3}  # min(m, n)


@pytest.mark.parametrize("every", [1, 7, 200])
def test_all_directions_of_plain_sgd_are_full_rank_training(every):
    task, _ = make_task(optim.sgd(weight_decay=0.02), 0.05)
    assert_same(trajectory(galore(task, ALL, every, 1.0, 0.02), 3), trajectory(full(task), 3))


@pytest.mark.parametrize(
    "optimizer",
    [optim.sgd(0.9, True), muon(0.9, polar=exact, last="layer3", rest=optim.sgd(0.9))],
    ids=["sgd", "muon"],
)
def test_so_is_momentum_that_is_moved_and_not_momentum_that_stays(optimizer):
    task, _ = make_task(optimizer, 0.02)
    ends = {move: trajectory(galore(task, ALL, 3, 1.0, move=move), 3) for move in (True, False)}
    expected = trajectory(full(task), 3)
    assert_same(ends[True], expected)
    assert abs(ends[False][-1][0][0] - expected[-1][0][0]).max() > 1e-3


def test_directions_are_the_largest_of_the_smaller_side_with_a_sign():
    G = np.array([[0.0, 0.0, 3.0], [-5.0, 0.0, 0.0]])
    assert np.array_equal(top(G, 1), [[0], [1]])  # of the rows, for there are fewer
    assert np.array_equal(top(G.T, 2), [[0, 1], [1, 0]])
    square = np.diag([1.0, 2.0]) @ np.array([[0, 1], [1, 0]])  # of the columns
    assert np.array_equal(top(square, 1), [[1], [0]])
    for shape in ((7, 9), (9, 7), (7, 7)):
        P = top(np.random.default_rng(0).standard_normal(shape).astype("float32"), 4)
        assert P.dtype == "float32" and P.flags.c_contiguous  # as it is read back from a file or a wire
        np.testing.assert_allclose(P.T @ P, np.eye(4), atol=1e-6)
        assert (np.max(P, axis=0) == np.max(abs(P), axis=0)).all()
    assert np.isfinite(top(np.array([[np.nan, 1.0], [np.inf, 2.0]]), 2)).all()


def adam(m, v, t=3):
    """Moments of a layer of 2 x 3 in two directions, and of its biases."""
    of = [{"layer1": Linear(np.asarray(W, float), np.array([0.3, 0.4]))} for W in (m, v)]
    return AdamState(np.asarray(t), *of)


def moved(state, C):
    return turned(state, {"layer1": np.asarray(C, float)}, lambda adam, turns: squares(adam, turns, 0.9, 0.99))


def test_directions_that_change_places_or_signs_take_their_moments_along():
    state = adam([[1, 2, 3], [4, 5, 6]], [[3, 5, 9], [17, 25, 36]])
    for C in (np.eye(2), np.diag([-1, 1]), np.array([[0, 1], [-1, 0]])):
        got = moved(state, C)
        np.testing.assert_allclose(got.m["layer1"].W, C.T @ state.m["layer1"].W, atol=1e-14)
        np.testing.assert_allclose(got.v["layer1"].W, abs(C.T) @ state.v["layer1"].W, atol=1e-14)
        assert got.m["layer1"].c is state.m["layer1"].c and got.v["layer1"].c is state.v["layer1"].c
        assert got.count is state.count


def test_a_direction_between_two_has_the_mean_of_their_variances():
    state, C = adam([[1, 0, 0], [1, 0, 0]], [[2, 1, 0], [4, 3, 0]]), np.full((2, 1), np.sqrt(0.5))
    got, b1, b2 = moved(state, C), 1 - 0.9**3, 1 - 0.99**3
    variance = (2 / b2 - 1 / b1**2 + 4 / b2 - 1 / b1**2) / 2
    np.testing.assert_allclose(got.v["layer1"].W, [[b2 * (variance + 2 / b1**2), 2, 0]], atol=1e-13)


def test_where_the_means_say_more_than_their_squares_the_estimate_is_turned_positive():
    state, b1, b2 = adam([[2, 0, 0], [-2, 0, 0]], [[1, 0, 0], [1, 0, 0]]), 1 - 0.9**3, 1 - 0.99**3
    got = moved(state, np.full((2, 1), np.sqrt(0.5)))
    np.testing.assert_allclose(got.m["layer1"].W, 0, atol=1e-15)
    np.testing.assert_allclose(got.v["layer1"].W, [[b2 * (4 / b1**2 - 1 / b2), 0, 0]], atol=1e-13)


def test_a_square_is_seen_from_the_right_and_so_is_what_is_inside():
    X, P = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.5], [0.0, 2.0]])
    assert np.array_equal(times(P, X), X @ P) and np.array_equal(times(P[:, :1], X), X[:, :1])
    wide, high = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2)
    assert np.array_equal(times(P, wide), P.T @ wide) and np.array_equal(times(P, high), high @ P)


def test_a_layer_without_a_basis_and_an_empty_place_stay():
    layers = {"layer1": Linear(None, None), "layer2": Linear(np.ones((2, 2)), None)}
    assert inside(layers, {"layer1": np.ones((2, 1))}) == layers


def test_moments_that_are_not_there_cannot_move():
    words = "^move-moments: optimizer sgd keeps none without a --momentum$"
    with pytest.raises(BadInput, match=words):
        tiny.config(method="galore", project_rank=2, optimizer="sgd", move_moments=True)
    tiny.config(method="galore", project_rank=2, optimizer="sgd", momentum=0.5, move_moments=True)


def test_weights_move_in_the_directions_of_a_period_alone():
    task, _ = make_task(optim.sgd(0.9), 0.05)
    done = trajectory(galore(task, dict.fromkeys(ALL, 1), 25), 3)
    for before, after in ((as_lists(task.weights), done[24]), (done[24], done[49])):
        assert all(np.linalg.matrix_rank(new - W, 1e-9) == 1 for (W, _), (new, _) in zip(before, after))
    assert any(
        np.linalg.matrix_rank(new - W, 1e-9) == 2 for (W, _), (new, _) in zip(as_lists(task.weights), done[49])
    )


@pytest.mark.parametrize("method", ["galore", "flora-projected"])
def test_a_layer_that_decays_at_another_rate_than_its_step_is_refused(method):
    settings = dict(method=method, project_rank=2, optimizer="muon", model="mlp", widths=(5,))
    with pytest.raises(BadInput, match=f"^weight-decay: {method} decays all matrices .*, so add --muon-last$"):
        tiny.config(weight_decay=0.1, **settings)
    assert tiny.config(weight_decay=0.1, muon_last=True, **settings).weight_decay == 0.1
    tiny.config(**settings)


@pytest.mark.parametrize("method", ["galore", "flora-projected"])
def test_what_fits_no_layer_is_refused_by_the_name_of_its_setting(method):
    for settings, words in (
        (dict(project_rank=99), "project-rank: expected 1 to "),
        (dict(project_rank=2, project_layers=("layer9",)), "project-layers: no dense layer is called 'layer9'"),
    ):
        with pytest.raises(BadInput, match=f"^{words}"):
            build(tiny.config(method=method, **settings))
