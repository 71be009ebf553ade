"""AdamW: the formula is `core.optim.adamw`; runs take the same steps in place."""

from minilte.core.networks import Network
from minilte.core.optim import Optimizer
from minilte.optimizers.sgd import CLIP, LR, WEIGHT_DECAY
from minilte.settings.knob import knob
from minilte.settings.part import part
from minilte.steps.adamw import adamw

BETA1 = knob(0.9, "of the running mean of gradients", least=0.0, below=1.0)
BETA2 = knob(0.999, "of the running mean of their squares", least=0.0, below=1.0)
EPS = knob(1e-8, "added to the root of that mean", above=0.0)


@part("optimizer", "adamw", rates=(1e-3, 2e-3, 4e-3))
class AdamW:
    """Adam with decoupled decay (Loshchilov & Hutter 2019)."""

    lr: float = LR
    beta1: float = BETA1
    beta2: float = BETA2
    eps: float = EPS
    weight_decay: float = WEIGHT_DECAY
    clip: float = CLIP

    def build(self, net: Network) -> Optimizer:
        """The optimizer of these settings."""
        return adamw(self.beta1, self.beta2, self.eps, self.weight_decay)
