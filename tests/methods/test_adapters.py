"""Which layers get adapters, of which rank in each head, and with which scale."""

import numpy as np
import pytest
import tiny

from minilte.core import lora
from minilte.core.errors import BadInput
from minilte.core.types import Linear, Norm
from minilte.methods.adapters import (
    LARGEST_SCALE,
    Factors,
    adapted_names,
    largest_ranks,
    layer_ranks,
    refuse_ranks,
)

WEIGHTS = {
    "layer1": Linear(np.zeros((6, 9)), np.zeros(6)),
    "norm1": Norm(np.ones(6), np.zeros(6)),
    "layer2": Linear(np.zeros((2, 6)), None),
}


@pytest.mark.parametrize("rank", [0, -1, 7])
def test_a_rank_that_fits_no_layer_is_refused(rank):
    with pytest.raises(BadInput, match="expected 1 to 6.*, got .* in layer1"):
        refuse_ranks(WEIGHTS, {"layer1": rank, "layer2": 1})
    assert refuse_ranks(WEIGHTS, {"layer1": 6, "layer2": 6}) is None


def test_layers_that_use_less_than_asked_are_named_with_the_scale_they_keep():
    assert Factors(rank=6).notes(WEIGHTS, 2) == ("layer2 is 2 x 6: rank 2 there, with the scale of rank 6",)
    assert Factors(rank=2).notes(WEIGHTS, 2) == ()
    assert Factors(head_ranks=(1, 4)).notes(WEIGHTS, 2) == (
        "layer2 is 2 x 6: rank 2 there, with the scale of rank 4",
    )
    assert Factors(rank=6, layer_ranks=("layer2=1",)).notes(WEIGHTS, 2) == ()


def test_layers_are_chosen_by_name_in_network_order():
    assert adapted_names(WEIGHTS) == ["layer1", "layer2"]
    assert adapted_names(WEIGHTS, ["layer2", "layer1"]) == ["layer1", "layer2"]
    assert adapted_names(WEIGHTS, ["layer2"]) == ["layer2"]
    with pytest.raises(BadInput, match="norm1.*layer1, layer2"):
        adapted_names(WEIGHTS, ["norm1"])


def test_ranks_of_single_layers_override_those_of_heads():
    asked = Factors(head_ranks=(1, 3), layer_ranks=("layer2=2",)).asked(WEIGHTS, 2)
    assert asked == [{"layer1": 1, "layer2": 2}, {"layer1": 3, "layer2": 2}]
    assert Factors(rank=3, adapt=("layer1",)).asked(WEIGHTS, 2) == [{"layer1": 3}] * 2


@pytest.mark.parametrize(
    "items",
    [
        ("layer3=1",),
        ("layer1",),
        ("layer1=",),
        ("layer1=x",),
        ("layer1=-1",),
        ("layer1=٣",),
        ("layer1=1", "layer1=2"),
    ],
)
def test_ranks_of_single_layers_that_cannot_be_read_are_refused(items):
    with pytest.raises(BadInput, match="layer-ranks: expected NAME=RANK once for a name of layer1, layer2, got"):
        layer_ranks(items, ["layer1", "layer2"])
    assert layer_ranks(("layer2=64", "layer1=3"), ["layer1", "layer2"]) == {"layer2": 64, "layer1": 3}


def test_the_plan_is_that_of_the_settings():
    made = Factors(rank=4, alpha=8.0, scaling="sqrt-rank", init="gaussian", head_init="same").plan(WEIGHTS, 3, 5)
    ranks = [{"layer1": 4, "layer2": 4}] * 3
    expected = lora.plan(WEIGHTS, ranks, 8.0, "sqrt-rank", "gaussian", 5, "same")
    assert made.scales == expected.scales == ({"layer1": 4.0, "layer2": 4.0},) * 3
    for n in range(3):
        for name, pair in made.draw(n, 2).items():
            assert np.array_equal(pair.A, expected.draw(n, 2)[name].A)
    own = Factors(rank=4, alpha=8.0).plan(WEIGHTS, 3, 5)
    assert not np.array_equal(own.draw(0, 0)["layer1"].A, own.draw(1, 0)["layer1"].A)


def test_the_largest_rank_of_a_change_is_the_sum_of_what_the_heads_have():
    ranks = [{"layer1": 5, "layer2": 5}, {"layer1": 3, "layer2": 1}]
    assert largest_ranks(ranks, WEIGHTS) == {"layer1": 8, "layer2": 3}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(rank=1, alpha=2e6), r"alpha: expected alpha / rank of at most 1e\+06, got 2e\+06"),
        (dict(head_ranks=(4, 1), alpha=2e6), r"alpha / rank of at most 1e\+06, got 2e\+06"),
        (dict(rank=4, alpha=4e6, scaling="sqrt-rank"), r"alpha / sqrt-rank of at most 1e\+06, got 2e\+06"),
    ],
)
def test_a_scale_beyond_all_use_is_refused(settings, words):
    with pytest.raises(BadInput, match=words):
        Factors(**settings)
    assert Factors(rank=1, alpha=LARGEST_SCALE).alpha == LARGEST_SCALE == 1e6


def test_a_scale_beyond_all_use_is_refused_of_a_single_layer_too():
    with pytest.raises(BadInput, match=r"alpha / rank of at most 1e\+06, got 2e\+06"):
        Factors(rank=4, alpha=2e6, layer_ranks=("layer2=1",)).plan(WEIGHTS, 1, 0)


def test_every_head_has_a_rank():
    with pytest.raises(BadInput, match="head-ranks: expected a rank for each of 2 heads, got 3"):
        tiny.config(head_ranks=(1, 2, 3))
