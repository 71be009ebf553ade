"""Stochastic gradient descent: the formula is `core.optim.sgd`."""

from minilte.core.errors import BadInput
from minilte.core.networks import Network
from minilte.core.optim import Optimizer, sgd
from minilte.settings.knob import knob
from minilte.settings.part import part

# of every optimizer
LR = knob(1e-3, "largest learning rate", above=0.0)
WEIGHT_DECAY = knob(0.0, "coupled for sgd, else decoupled", least=0.0)
CLIP = knob(0.0, "largest norm of a gradient; 0 for none", least=0.0)


@part("optimizer", "sgd", rates=(0.1, 0.2, 0.4))
class SGD:
    """SGD, with momentum where it is asked for (Sutskever et al. 2013)."""

    lr: float = LR
    momentum: float = knob(0.0, "fraction of the buffer that is kept", least=0.0, below=1.0)
    nesterov: bool = knob(False, "Nesterov's form of the momentum")
    weight_decay: float = WEIGHT_DECAY
    clip: float = CLIP

    def check(self):
        if self.nesterov and not self.momentum:
            raise BadInput("nesterov: expected a --momentum above 0")

    def build(self, net: Network) -> Optimizer:
        """The optimizer of these settings."""
        return sgd(self.momentum, self.nesterov, self.weight_decay)
