"""The mean with the heads' parts of the data as shares, w_n = b_n / b, in the place of 1 / N.

A head that has more data counts for more (McMahan et al. 2017, algorithm 1), so that the merge is a mean over samples.
With shards alike in size it is the mean, and so it is with more
clients than heads, whose parts of a batch are equal. Every law of the mean holds, for those shares.
"""

from minilte.core.errors import BadInput
from minilte.core.lte import MEAN
from minilte.core.types import Rule
from minilte.settings.part import part, words_of


@part("rule", "weighted", gives={"shares by data"})
class Weighted:
    """The mean over samples: w_n is the head's part of the data (McMahan et al. 2017)."""

    def check_with(self, config):
        if config.flat().get("shares"):
            raise BadInput(f"shares: {words_of(self)} has shares of its own, by the data; leave one of them out")

    def build(self, config) -> Rule:
        return MEAN
