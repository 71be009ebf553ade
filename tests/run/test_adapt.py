"""Which layers get adapters, and of which rank."""

import numpy as np
import pytest

from minilte.core.errors import BadInput
from minilte.core.types import Linear, Norm
from minilte.run.adapt import adapted_names, check_ranks

WEIGHTS = {
    "layer1": Linear(np.zeros((6, 9)), np.zeros(6)),
    "norm1": Norm(np.ones(6), np.zeros(6)),
    "layer2": Linear(np.zeros((2, 6)), None),
}


@pytest.mark.parametrize("rank", [0, -1, 7])
def test_a_rank_that_fits_no_layer_is_refused(rank):
    with pytest.raises(BadInput, match="expected 1 to 6"):
        check_ranks(WEIGHTS, {"layer1": rank, "layer2": 1})


def test_layers_that_use_less_than_asked_are_named():
    assert check_ranks(WEIGHTS, {"layer1": 6, "layer2": 6}) == ["layer2"]
    assert check_ranks(WEIGHTS, {"layer1": 1, "layer2": 2}) == []


def test_layers_are_chosen_by_name_in_network_order():
    assert adapted_names(WEIGHTS) == ["layer1", "layer2"]
    assert adapted_names(WEIGHTS, ["layer2", "layer1"]) == ["layer1", "layer2"]
    with pytest.raises(BadInput, match="norm1.*layer1, layer2"):
        adapted_names(WEIGHTS, ["norm1"])
