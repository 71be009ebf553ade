"""The mean of the A_n times the mean of the B_n: what averaging factors apart, as FedIT does, would make of a merge.

    A = sum_n w_n A_n,  B = sum_n w_n s_n B_n,   W <- W + B A - B' A',   A' and B' the same of V_n; zero with resets

Biased: a product of means is no mean of products. For independent heads |sum_n w_n B_n A_n - B A| is sqrt(1 - 1/N) of
|sum_n w_n B_n A_n| (equal shares): 0.71 at N = 2, 0.94 at N = 8. Where all heads have the same A, or the same B, it
is the mean. It needs equal ranks.

Without resets, with constant shares, W_t = W_0 + B A, a change of rank r: L2 holds. Laws about the mean
of the products fall: L1, L3, L4, L13. A single head is kept (L1-one, L10), equal heads are one head (L15), and heads
that share a frozen A are exact (L16). Source: Zhang et al. 2023, as a merge.
"""

from collections.abc import Callable, Sequence

from minilte.core.errors import BadInput
from minilte.core.head import overlay
from minilte.core.layers import change
from minilte.core.lora import plus_products
from minilte.core.lte import mean
from minilte.core.types import Adapter, Adapters, Rule, Sent, Weights
from minilte.settings.part import part


def merge(
    state, weights: Weights, sent: Sequence[Sent], then: Sequence[Adapters] | None,
    scales: Sequence[dict[str, float]], w: Sequence[float], each: Callable = map,
):  # fmt: skip
    """W + B A - B' A' in every adapted layer. Raises BadInput for heads of unequal rank."""

    def means(name, heads):
        pairs = [Adapter(head[name].A, s[name] * head[name].B) for head, s in zip(heads, scales, strict=True)]
        if len(ranks := {len(pair.A) for pair in pairs}) > 1:
            raise BadInput(f"factor-mean: expected one rank for all heads, got {sorted(ranks)} in {name}")
        return mean(pairs, w)

    layers = overlay(weights, mean([head.replicas for head in sent], w))
    for name in sent[0].factors:
        now = means(name, [head.factors for head in sent])
        move = now if then is None else change(now, means(name, then))
        layers[name] = layers[name]._replace(W=plus_products(weights[name].W, [move], [1.0], each))
    return layers, state


FACTOR_MEAN = Rule(lambda weights: None, merge, bounded=True)


@part("rule", "factor-mean", needs={"each", "one rank"})
class FactorMean:
    """The product of the means of the factors: biased."""

    def build(self, config) -> Rule:
        return FACTOR_MEAN
