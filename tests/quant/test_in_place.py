"""Without a master most of a small merge is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.merge import MEAN
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Sent
from minilte.quant.codes import Quantizer, fake
from minilte.quant.in_place import in_place, requantized


def no_draw(layer, merge):
    return None


def survives(code, size=0.01):
    """How much of a move along itself is left: <q(q(W) + D) - q(W), D> / |D|^2, without and with a master copy."""
    draw = stream(0, "check").standard_normal
    W, D, q = draw((256, 256)), size * draw((256, 256)), Quantizer(code)
    moved, kept = fake(fake(W, q) + D, q) - fake(W, q), W + D - W
    return [float((one * D).sum() / (D * D).sum()) for one in (moved, kept)]


@pytest.mark.parametrize("code", ["int4", "nf4"])
def test_a_move_of_one_percent_is_lost_without_a_master(code):
    without, with_it = survives(code)
    assert without < 0.05 and with_it == pytest.approx(1)


@given(st.integers(0, 2**32), st.sampled_from(["int8", "int4", "nf4"]))
def test_a_merge_ends_on_codes_and_is_the_quantized_merge(seed, code):
    draw, q = stream(seed, "check").standard_normal, Quantizer(code)
    start = requantized({"layer1": Linear(draw((5, 6)), draw(5))}, ["layer1"], q, no_draw, 0)
    sent = [Sent({"layer1": Adapter(draw((2, 6)), draw((5, 2)))}, {}) for _ in range(2)]
    work = start, sent, None, [{"layer1": 1.0}] * 2, [0.5, 0.5], map
    rule = in_place(MEAN, ["layer1"], q, no_draw)
    new, (_, merges) = rule.merge(rule.init(start), *work)
    plain, _ = MEAN.merge(None, *work)
    assert np.array_equal(new["layer1"].W, fake(plain["layer1"].W, q)) and merges == 1
    assert np.array_equal(fake(new["layer1"].W, q), new["layer1"].W)
    assert np.array_equal(new["layer1"].c, plain["layer1"].c)


def test_each_merge_draws_its_own_rounding():
    seen = []
    draw = lambda layer, merge: lambda shape: seen.append((layer, merge)) or np.zeros(shape)  # noqa: E731
    q = Quantizer("int4", rounding="stochastic")
    weights = {"layer1": Linear(np.ones((2, 2)) / 3, None)}
    rule = in_place(MEAN, ["layer1"], q, draw)
    state = rule.init(weights)
    for _ in range(2):
        weights, state = rule.merge(
            state,
            weights,
            [Sent({"layer1": Adapter(np.ones((1, 2)), np.ones((2, 1)))}, {})],
            None,
            [{"layer1": 1.0}],
            [1.0],
            map,
        )
    assert seen == [("layer1", 1), ("layer1", 2)]
