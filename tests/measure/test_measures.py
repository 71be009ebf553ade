"""Measures of a run: right numbers from the factors and weights alone, and a reason where there is none."""

import json

import numpy as np
import pytest
import support
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import lora, networks
from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear
from minilte.measure import measures as module
from minilte.measure import ranks
from minilte.measure.alignment import cosine, grassmann, over_pairs
from minilte.measure.measures import measures
from minilte.measure.noise import noise_scale
from minilte.run.session import advance, first_state

TASK, _ = support.make_task(None, 0.1)
NAMES = list(TASK.weights)
RANKS = ("rank", "stable_rank", "effective_rank")


def some_heads(seed, n=3, r=2):
    normal = stream(seed, "check").standard_normal
    shapes = {name: layer.W.shape for name, layer in TASK.weights.items()}
    return [
        {name: Adapter(normal((r, inputs)), normal((outputs, r))) for name, (outputs, inputs) in shapes.items()}
        for _ in range(n)
    ]


def moved(heads):
    """The weights after these adapters are added at scale 1."""
    return {
        name: layer._replace(W=layer.W + sum(lora.product(head[name]) for head in heads))
        for name, layer in TASK.weights.items()
    }


def taken(heads=None, weights=None, task=TASK, step=7):
    found = measures(task, weights or moved(heads or some_heads(0)), heads, NAMES, step)
    assert json.loads(json.dumps(found, allow_nan=False)) == found  # plain numbers, strings, dicts
    return found


def why(value):
    assert list(value) == ["undefined"]
    return value["undefined"]


@given(st.integers(0, 2**32))
def test_every_number_is_that_of_the_plain_measure(seed):
    heads = some_heads(seed)
    weights, found = moved(heads), taken(heads)
    assert found["step"] == 7 and list(found["layers"]) == NAMES
    for name, layer in found["layers"].items():
        change, pairs = weights[name].W - TASK.weights[name].W, [head[name] for head in heads]
        assert layer["rank"] == ranks.numerical_rank(change)
        assert layer["stable_rank"] == pytest.approx(ranks.stable_rank(change))
        assert layer["effective_rank"] == pytest.approx(ranks.effective_rank(change))
        assert layer["cosine"] == pytest.approx(over_pairs(cosine, pairs))
        assert layer["grassmann"] == pytest.approx(over_pairs(grassmann, pairs), abs=1e-6)
    drawn = [TASK.batch(n, 7) for n in range(3)]
    dense = [networks.loss_and_grads(TASK.net, weights, x, y)[1] for x, y in drawn]
    try:
        assert found["noise_scale"] == noise_scale(dense, [3, 3, 2])
    except BadInput as error:
        assert why(found["noise_scale"]) == str(error)


def test_a_change_of_low_rank_keeps_its_rank_and_order_in_float32():
    weights = {name: Linear(layer.W.astype("float32"), layer.c) for name, layer in TASK.weights.items()}
    task = TASK._replace(weights=weights)
    pair = some_heads(1, 1, r=2)[0]["layer1"]
    after = weights | {"layer1": Linear((weights["layer1"].W + lora.product(pair)).astype("float32"), None)}
    layer = measures(task, after, None, ["layer1"], 1)["layers"]["layer1"]
    assert layer["rank"] == 2 < ranks.numerical_rank(after["layer1"].W - weights["layer1"].W)  # the rest is rounding
    assert 1 <= layer["stable_rank"] <= layer["effective_rank"] <= 2
    expected = np.linalg.svd(lora.product(pair), compute_uv=False)
    found = {key: value for key, value in layer.items() if key.startswith("sigma_")}
    assert found == {"sigma_1": pytest.approx(expected[0]), "sigma_2": pytest.approx(expected[1], rel=1e-5)}


def test_singular_values_are_told_at_the_indices_that_they_are_named_by():
    U, V = (np.linalg.qr(np.random.default_rng(seed).standard_normal((12, 9)))[0] for seed in (1, 2))
    sizes = np.arange(9.0, 0.0, -1)
    found = module.change_ranks("layer1", np.zeros((12, 12)), (U * sizes) @ V.T, 1)
    assert {key: value for key, value in found.items() if key.startswith("sigma_")} == {
        f"sigma_{at}": pytest.approx(10.0 - at) for at in (1, 2, 4, 8)
    }


@pytest.mark.parametrize(
    "changes",
    [{}, dict(dtype="float64"), dict(merge_every=1), *(dict(method=name) for name in ("lora", "mhlora", "fedit"))],
    ids=str,
)
def test_a_run_keeps_its_rank_bound_by_this_measure(changes):
    session = tiny.session(**dict(inputs=12, outputs=9, heads=3, rank=2, steps=40) | changes)
    built, states = session.built, [state for _, state in advance(session, first_state(session))]
    bound = built.method.facts.bound["layer1"]
    for state in states[1:]:
        weights = built.method.weights(state.main)
        found = measures(built.task, weights, None, ["layer1"], state.step)["layers"]["layer1"]
        assert found["rank"] <= bound
    assert found["rank"] == bound
    assert why(found["cosine"]) == why(found["grassmann"]) == "the factors of the heads are not at hand"


def test_before_the_first_step_there_is_no_direction():
    heads = [{name: pair._replace(B=0 * pair.B) for name, pair in head.items()} for head in some_heads(0)]
    for layer in taken(heads, TASK.weights, step=0)["layers"].values():
        assert all("nothing to measure" in why(layer[name]) for name in RANKS)
        assert all("before the first step" in why(layer[name]) for name in ("cosine", "grassmann"))


def test_a_change_below_the_rounding_of_the_weights_has_no_rank():
    weights = {name: layer._replace(W=layer.W * (1 + 2**-52)) for name, layer in TASK.weights.items()}
    assert "not above the rounding" in why(taken(weights=weights)["layers"]["layer1"]["stable_rank"])


def test_one_head_has_no_pairs_and_one_batch_no_noise():
    task = TASK._replace(shards=(1.0,))
    found = taken(some_heads(0, 1), task=task)
    assert "two heads, got 1" in why(found["layers"]["layer1"]["cosine"])
    assert "two heads, got 1" in why(found["layers"]["layer1"]["grassmann"])
    assert "two batches" in why(found["noise_scale"])


def test_heads_on_the_same_batch_say_nothing_of_noise():
    task, _ = support.make_task(None, 0.1, share="same")
    assert "all have the same batch" in why(taken(task=task)["noise_scale"])


@pytest.mark.parametrize("alike", [(0, 0, 2), (0, 1, 0), (0, 1, 1)])
def test_two_heads_of_three_on_a_batch_leave_noise_to_measure(alike):
    task = TASK._replace(batch=lambda n, step: TASK.batch(alike[n], step))
    batches = [task.batch(n, 7) for n in range(3)]
    weights = moved(some_heads(2))  # where the gradient is above the noise
    dense = [networks.loss_and_grads(task.net, weights, x, y)[1] for x, y in batches]
    assert module.gradient_noise(task, weights, 7) == noise_scale(dense, [len(x) for x, _ in batches])


@pytest.mark.parametrize(("times", "rank"), [(1.1, 2), (0.9, 1)])
def test_the_rounding_of_merges_adds_up_as_a_random_walk(times, rank):
    steps, W_0 = 10_000, np.diag([3.0, 4.0])
    edge = 2.0**-52 * 100 * 10  # eps sqrt(steps) (|W_0| + |W|), with norms of 5 each
    sigma = module.change_spectrum("layer1", W_0, W_0 + np.array([[0.0, times * edge], [1e-3, 0.0]]), steps)
    assert len(sigma) == rank


def test_without_factors_at_hand_the_matrices_are_measured():
    found = taken()
    assert list(found["layers"]) == NAMES and found["layers"]["layer1"]["rank"] > 0
    assert isinstance(found["noise_scale"], (float, dict))
    assert "not at hand" in why(found["layers"]["layer1"]["cosine"])


def test_only_the_layers_asked_for_are_measured():
    found = measures(TASK, moved(some_heads(0)), some_heads(0), ["layer2"], 7)
    assert list(found["layers"]) == ["layer2"]


def test_a_matrix_too_large_for_its_singular_values_is_skipped_by_name(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 4)
    layers = taken(some_heads(0))["layers"]
    assert all("layer1 is 6 x 5: " in why(layers["layer1"][name]) for name in RANKS)
    assert isinstance(layers["layer1"]["cosine"], float) and layers["layer2"]["rank"] == 4


def test_nothing_is_changed_in_place():
    heads = some_heads(0)
    weights = moved(heads)
    before = json.dumps([lora.product(head[name]).tolist() for head in heads for name in NAMES])
    assert taken(heads, weights) == taken(heads, weights)
    assert before == json.dumps([lora.product(head[name]).tolist() for head in heads for name in NAMES])
