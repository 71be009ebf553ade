"""What a worker holds by the closed forms, in numbers of the training dtype: the paper's parts and what it leaves out."""

from fractions import Fraction
from typing import NamedTuple

from minilte.cost.forms import Exchange, Model, heads


class Memory(NamedTuple):
    """Numbers that a worker holds between steps. The paper counts the first three.

    The kinds are those of `account.KINDS`; scales of coded weights and replicas stand apart.
    """

    weights: Fraction
    adapters: int
    optimizer: int  # AdamW's two moments
    gradients: int
    merged_factors: int  # V_n, of the last merge
    scales: Fraction
    replicas: int  # with their moments and gradients

    @property
    def paper(self) -> Fraction:
        """3 M at full rank, q M + 3 M_lte for LTE."""
        return self.weights + self.adapters + self.optimizer


def full_memory(model: Model) -> Memory:
    """A worker of full-rank training: weights, gradients, two moments."""
    return Memory(Fraction(model.M), 0, 2 * model.M, model.M, 0, Fraction(0), 4 * model.replicas)


def lte_memory(model: Model, exchange: Exchange, master: bool = False) -> Memory:
    """The worker of LTE with the most heads; of a server with a single head it is the master's, and a worker has none.

    A process that merges (all under all-gather, the master of a server) keeps the V_n of all heads, others their own.
    A server's workers hold q(W); its master holds W, and q(W) beside it where that differs.
    """
    own = heads(model)[int(exchange.served and not master and model.P > 1)]  # process 0 of a server is no worker
    merges = master or exchange.by_all
    codes = model.M if exchange.served and model.q < 1 else 0
    weights = (model.M if master or not codes else 0) + (model.q - model.scales) * codes
    lte, kept = own * model.M_lte, (model.N if merges else own) * model.M_lte
    return Memory(weights, lte, 2 * lte, lte, kept, model.scales * codes, (1 + 4 * own) * model.replicas)


def basis_memory(model: Model) -> Memory:
    """The worker of the shared basis with the most heads: W, of each head its factors, their momentum and gradients, and the rest
    with two moments and gradients; the bases, and the momentum with which a round begins, once."""
    own = heads(model)[0]
    return Memory(
        weights=Fraction(model.M - (model.beside - model.replicas)),  # a small layer is a replica
        adapters=own * model.basis + model.drawn,
        optimizer=(own + 1) * model.basis,
        gradients=own * model.basis,
        merged_factors=0,
        scales=Fraction(0),
        replicas=(1 + 4 * own) * model.beside,
    )
