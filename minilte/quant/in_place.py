"""Merging without a master: every worker holds only q(W), and quantizes again after each merge.

    W <- q(q(W) + D)

Most of a small D is lost: where it does not carry a number past the middle between two codes, nothing moves. Of a
change of 1 % of W less than a fiftieth survives (section 4 of the paper keeps a master copy for that reason).
"""

from collections.abc import Callable

import numpy as np

from minilte.core.types import Array, Rule, Weights
from minilte.quant.codes import Quantizer, fake

Draw = Callable[[str, int], Callable[[tuple], Array]]  # (layer, merge) -> draw(shape)


def requantized(weights: Weights, adapted, quantizer: Quantizer, draw: Draw, merge: int) -> Weights:
    """The weights with q(W) in place of every adapted W."""
    coded = {name: weights[name]._replace(W=fake(weights[name].W, quantizer, draw(name, merge))) for name in adapted}
    return weights | coded


def in_place(rule: Rule, adapted, quantizer: Quantizer, draw: Draw) -> Rule:
    """A rule that quantizes what `rule` merged; it counts merges, so that each draws its own rounding."""

    def merge(state, *work):
        inner, merges = state
        weights, inner = rule.merge(inner, *work)
        return requantized(weights, adapted, quantizer, draw, int(merges) + 1), (inner, np.asarray(merges + 1))

    return Rule(lambda weights: (rule.init(weights), np.zeros((), np.int64)), merge)
