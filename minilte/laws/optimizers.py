"""Optimizers that the conditions of some laws ask for: separate rates for A, for B and for replicas.

A head trains the tree (now, replica).
"""

from minilte.core import tree
from minilte.core.optim import Optimizer
from minilte.core.types import Adapter, Tree


def factors(trained: tuple, of_A: float, of_B: float, of_replica: float) -> Tree:
    """A tree shaped like (now, replica) with a number for every array."""
    now, replica = trained
    return ({name: Adapter(of_A, of_B) for name in now}, tree.map(lambda _: of_replica, replica))


def rates(inner: Optimizer, of_A: float = 1.0, of_B: float = 1.0, of_replica: float = 1.0) -> Optimizer:
    """`inner` with the learning rate multiplied by a factor for A, for B and for replicas.

    A move is linear in the rate, so p + k (p' - p) is the step at k times the rate.
    """

    def update(params, grads, state, lr):
        new, state = inner.update(params, grads, state, lr)
        by = factors(params, of_A, of_B, of_replica)
        return tree.map(lambda p, q, k: q if k == 1.0 else p + k * (q - p), params, new, by), state

    return Optimizer(inner.init, update)


def frozen_A(inner: Optimizer) -> Optimizer:
    """`inner`, but A stays where it is."""
    return rates(inner, of_A=0.0)
