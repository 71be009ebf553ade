"""An outer optimizer: the merge of another rule is a direction, and the main weights take a step along it.

    d = W - merged(W),  W <- W - e step(d)
    nesterov   buf <- mu buf + d, step = d + mu buf      (DiLoCo, Douillard et al. 2023)
    sgd        buf <- mu buf + d, step = buf             (FedAvgM, Hsu et al. 2019)
    adam       m <- mu m + (1 - mu) d, v <- 0.99 v + 0.01 d^2, step = m^ / (sqrt(v^) + 1e-3)
                                                           (FedAdam, Reddi et al. 2021, algorithm 2)
    muon       step = sqrt(max(1, m / n)) polar(d + mu buf) in matrices, that of adam in the rest
                                                           (Jordan et al. 2024)

FedAdam has neither hat and starts v at 1e-6 or more; here both begin at zero and m^, v^ are Adam's own corrections of
that, so the first step is of full size. All layers take part in muon, the last one too. A step of adam or muon does not
grow with d: their rates are a hundredth or so, where the others' are about 1.

nesterov and sgd at rate 1 without momentum are the other rule itself. At another rate they keep law L2, and W is W_0 and
e times the factors' sum (L12); L1, L3, L10 and L13, which ask for the mean itself, fall. Momentum carries what the
factors no longer say, so it breaks L2 and L12 too, as do adam and muon with or without it.
"""

from minilte.core import tree
from minilte.core.lte import MEAN
from minilte.core.optim import Optimizer, adamw, sgd
from minilte.core.types import Rule, Tree
from minilte.optimizers.muon import muon
from minilte.settings.knob import knob
from minilte.settings.part import find, part
from minilte.settings.places import PLACES

OUTER_RATE = knob(0.7, "part of the way to the mean", above=0.0)
OUTER_MOMENTUM = knob(0.9, "of the outer step", least=0.0, below=1.0)
STEPS = {  # momentum -> the optimizer
    "nesterov": lambda momentum: sgd(momentum, nesterov=True),
    "sgd": sgd,
    "adam": lambda momentum: adamw(momentum, 0.99, 1e-3),
    "muon": lambda momentum: muon(momentum, rest=adamw(momentum, 0.99, 1e-3)),
}


def outer(rate: float = 0.7, momentum: float = 0.9, rule: Rule = MEAN, kind: str = "nesterov") -> Rule:
    """A rule that steps along what `rule` would do, by one of `STEPS`."""
    optimizer = STEPS[kind](momentum)

    def init(weights):
        return rule.init(weights), optimizer.init(weights)

    def merge(state, weights, *work):
        inner, memory = state
        goal, inner = rule.merge(inner, weights, *work)
        weights, memory = toward(optimizer, weights, goal, memory, rate)
        return weights, (inner, memory)

    along = kind in ("nesterov", "sgd") and not momentum
    return Rule(init, merge, bounded=rule.bounded and along, telescopes=rule.telescopes and along and rate == 1)


def toward(optimizer: Optimizer, now: Tree, goal: Tree, memory: Tree, rate: float) -> tuple[Tree, Tree]:
    """One outer step from `now` toward `goal`: (the new weights, the optimizer's state)."""
    return optimizer.update(now, tree.map(lambda now, goal: now - goal, now, goal), memory, rate)


@part("rule", "outer", needs={"each"}, brings=("inner_rule",))
class Outer:
    """A step along what another rule does, as DiLoCo takes it (Douillard et al. 2023)."""

    outer_step: str = knob(
        "nesterov", "the outer optimizer; adam wants a rate of 0.003 to 0.01, muon 0.01 to 0.05", choices=tuple(STEPS)
    )
    outer_rate: float = OUTER_RATE
    outer_momentum: float = OUTER_MOMENTUM

    def build(self, config) -> Rule:
        return outer(self.outer_rate, self.outer_momentum, config.inner_rule.build(config), self.outer_step)


def inside(name: str) -> type:
    """The part of a rule again, for the place inside an outer step."""
    cls = find("rule", name)
    same = {word: getattr(cls, word) for word in ("__doc__", "needs", "gives", "check_with")}
    return part("inner_rule", name)(type(cls.__name__, (cls,), same | {"__module__": __name__}))


for name in PLACES["inner_rule"].names:
    inside(name)
