"""An outer optimizer: the merge of another rule is a direction, and the main weights take a step along it.

    d = W - merged(W),  buf <- mu buf + d,  W <- W - e d            (mu = 0)
                                            W <- W - e (d + mu buf) (Nesterov)

Rate 1 without momentum is the other rule itself. Without momentum law L2 holds; momentum carries what the factors no
longer say, so it breaks the rank bound and telescoping (law L12). Source: DiLoCo, Douillard et al. 2023.
"""

from minilte.core import tree
from minilte.core.lte import MEAN
from minilte.core.types import Rule, Tree
from minilte.settings.knob import knob
from minilte.settings.part import part

OUTER_RATE = knob(0.7, "part of the way to the mean", above=0.0)
OUTER_MOMENTUM = knob(0.9, "of the outer step", least=0.0, below=1.0)


def outer(rate: float = 0.7, momentum: float = 0.9, rule: Rule = MEAN) -> Rule:
    """A rule that steps along what `rule` would do."""

    def init(weights):
        return (rule.init(weights), tree.zeros(weights) if momentum else None)

    def merge(state, weights, *work):
        inner, buf = state
        goal, inner = rule.merge(inner, weights, *work)
        weights, buf = toward(weights, goal, buf, rate, momentum)
        return weights, (inner, buf)

    itself = rate == 1 and not momentum
    return Rule(init, merge, bounded=rule.bounded and not momentum, telescopes=rule.telescopes and itself)


def toward(now: Tree, goal: Tree, buf: Tree, rate: float, momentum: float) -> tuple[Tree, Tree]:
    """One outer step from `now` toward `goal`: (the new weights, the momentum buffer)."""
    d = tree.map(lambda now, goal: now - goal, now, goal)
    if momentum:
        buf = tree.map(lambda b, d: momentum * b + d, buf, d)
        d = tree.map(lambda d, b: d + momentum * b, d, buf)
    return tree.map(lambda now, d: now - rate * d, now, d), buf


@part("rule", "outer", needs={"each"})
class Outer:
    """A Nesterov step along the mean, as DiLoCo takes it (Douillard et al. 2023)."""

    outer_rate: float = OUTER_RATE
    outer_momentum: float = OUTER_MOMENTUM

    def build(self) -> Rule:
        return outer(self.outer_rate, self.outer_momentum)
