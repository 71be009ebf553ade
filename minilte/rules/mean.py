"""The paper's merge: the mean of what the heads moved (section 3.3)."""

from minilte.core.lte import MEAN
from minilte.core.types import Rule
from minilte.settings.part import part


@part("rule", "mean")
class Mean:
    """W <- W + sum_n w_n s_n (B_n A_n - V_n)."""

    def build(self, config) -> Rule:
        return MEAN
