"""Orthonormalised momentum ("Muon", Jordan et al. 2024): a matrix moves by the polar factor of its Nesterov momentum.

    M <- mu M + G,   W <- (1 - lr lambda) W - lr sqrt(max(1, m / n)) polar(G + mu M)      W of m x n

The rest (vectors, and the matrices of the last layer, whose rows are classes) is AdamW's, at a rate of its own.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.networks import Dense, Network
from minilte.core.optim import Optimizer
from minilte.core.types import Tree
from minilte.optimizers.adamw import BETA1, BETA2, EPS
from minilte.optimizers.polar import POLAR, quintic
from minilte.optimizers.sgd import CLIP, LR, WEIGHT_DECAY
from minilte.settings.knob import knob
from minilte.settings.part import part
from minilte.steps.adamw import adamw


class MuonState(NamedTuple):
    """The momentum of every matrix, None elsewhere; the state of the rest."""

    buf: Tree
    rest: Tree


def muon(
    momentum: float = 0.95, weight_decay: float = 0.0, polar: Callable = quintic, last: str = "",
    rest: Optimizer = adamw(), rest_rate: float = 1.0,
) -> Optimizer:  # fmt: skip
    """The optimizer; layer `last` is of the rest, which steps at `rest_rate` times the rate of the matrices."""

    def init(params):
        matrices, others = split(params, last)
        return MuonState(tree.zeros(matrices), rest.init(others))

    def update(params, grads, state, lr):
        matrices, others = split(params, last)
        buf = tree.map(lambda M, G: momentum * M + G, state.buf, grads)

        def moved(W, M, G):
            rate = lr * max(1.0, W.shape[0] / W.shape[1]) ** 0.5
            return (1 - lr * weight_decay) * W - rate * polar(G + momentum * M)

        others, memory = rest.update(others, grads, state.rest, lr * rest_rate)
        return joined(params, tree.map(moved, matrices, buf, grads), others), MuonState(buf, memory)

    return Optimizer(init, update)


def split(params: Tree, last: str = "") -> tuple[Tree, Tree]:
    """The matrices that are orthonormalised, and the rest: two trees alike, None where a leaf is the other's."""
    ours = [np.ndim(leaf) == 2 and f".{last}." not in f".{path}." for path, leaf in tree.named(params)]

    def of(flags: Iterator[bool]) -> Tree:
        return tree.map(lambda leaf: leaf if next(flags) else None, params)

    return of(iter(ours)), of(iter(not one for one in ours))


def joined(like: Tree, *pieces: Tree) -> Tree:
    """The tree of the structure of `like` with the leaves of the pieces in their places."""
    found = {path: leaf for piece in pieces for path, leaf in tree.named(piece)}
    paths = iter([path for path, _ in tree.named(like)])
    return tree.map(lambda _: found[next(paths)], like)


@part("optimizer", "muon", rates=(0.01, 0.02, 0.04))
class Muon:
    """Orthonormalised Nesterov momentum for matrices, AdamW for the rest (Jordan et al. 2024); --lr 0.02 is usual."""

    lr: float = LR
    muon_momentum: float = knob(0.95, "of the matrices, before they are orthonormalised", least=0.0, below=1.0)
    polar: str = knob("quintic", "five quintic steps toward the polar factor, or all the way", choices=tuple(POLAR))
    muon_last: bool = knob(False, "orthonormalise the last layer too")
    rest_lr: float = knob(4e-3, "largest rate of AdamW for what is not orthonormalised", above=0.0)
    beta1: float = BETA1
    beta2: float = BETA2
    eps: float = EPS
    weight_decay: float = WEIGHT_DECAY
    clip: float = CLIP

    def build(self, net: Network) -> Optimizer:
        """The optimizer of these settings."""
        rest = adamw(self.beta1, self.beta2, self.eps, self.weight_decay)
        settings = self.muon_momentum, self.weight_decay, POLAR[self.polar], self.apart(net)
        return muon(*settings, rest, self.rest_lr / self.lr)

    def apart(self, net: Network) -> str:
        """The layer that is left to the rest. Raises BadInput where nothing but that layer has a matrix."""
        *others, last = [name for name, shape in net.layers.items() if isinstance(shape, Dense)]
        if not (others or self.muon_last):
            raise BadInput(
                f"muon-last: expected with a --model of one layer: as the last, {last} would be left to AdamW"
            )
        return "" if self.muon_last else last
