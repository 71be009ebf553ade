"""Orthonormalised Nesterov momentum of every matrix of a tree: the step of Muon, without its AdamW and its rate by shape."""

from collections.abc import Callable

from minilte.core import optim, tree
from minilte.core.optim import Optimizer, SGDState
from minilte.core.types import Array
from minilte.optimizers.polar import quintic
from minilte.steps.adamw import adamw


def orthonormal(beta: float, polar: Callable[[Array], Array] = quintic) -> Optimizer:
    """M <- beta M + g, X <- X - lr polar(g + beta M): Nesterov momentum, every direction with length 1."""

    def update(params, grads, state, lr):
        buf = tree.map(lambda M, g: beta * M + g, state.buf, grads)
        return tree.map(lambda X, M, g: X - lr * polar(g + beta * M), params, buf, grads), SGDState(buf)

    return Optimizer(lambda params: SGDState(tree.zeros(params)), update)


STEPS = {  # (beta, polar) -> the optimizer of the factors
    "orthonormal": orthonormal,
    "sgd": lambda beta, _: optim.sgd(beta, nesterov=True),
    "adamw": lambda beta, _: adamw(),
}
