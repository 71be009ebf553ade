"""An outer optimizer: the merge of another rule is a direction, and the main weights take a step along it.

    d = W - merged(W),  buf <- mu buf + d,  W <- W - e d            (mu = 0)
                                            W <- W - e (d + mu buf) (Nesterov)

Rate 1 without momentum is the other rule itself. Without momentum law L2 holds; momentum carries what the factors no
longer say, so it breaks the rank bound and telescoping (law L12). Source: DiLoCo, Douillard et al. 2023.
"""

from minilte.core import tree
from minilte.core.merge import MEAN
from minilte.core.optim import zeros
from minilte.core.types import Rule


def outer(rate: float = 0.7, momentum: float = 0.9, rule: Rule = MEAN) -> Rule:
    """A rule that steps along what `rule` would do."""

    def init(weights):
        return (rule.init(weights), zeros(weights) if momentum else None)

    def merge(state, weights, *work):
        inner, buf = state
        goal, inner = rule.merge(inner, weights, *work)
        d = tree.map(lambda now, goal: now - goal, weights, goal)
        if momentum:
            buf = tree.map(lambda b, d: momentum * b + d, buf, d)
            d = tree.map(lambda d, b: d + momentum * b, d, buf)
        return tree.map(lambda now, d: now - rate * d, weights, d), (inner, buf)

    return Rule(init, merge)
