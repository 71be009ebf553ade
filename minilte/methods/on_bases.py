"""The shared basis: heads train one factor each in a basis that all know from a seed, so a sum of factors merges exactly.

    Q      orthonormal rows, drawn from (seed, layer, period); a period is K merges; never sent
    head   B_n = 0;  T steps on own data:   g = dY^T (x Q^T) = G Q^T
           M_n <- beta M_n + g,   B_n <- B_n - eta_t polar(g + beta M_n)
    merge  W <- (1 - lambda sum eta_t) W + (sum_n w_n B_n) Q,   M_n <- sum_n w_n M_n;   in a new period M_n <- 0

B_n of m x r and Q of r x n is side b. On side a, A_n of r x n is trained, Q is r x m, and the change is Q^T A_n. All heads
share Q, so sum_n w_n B_n Q = (sum_n w_n B_n) Q: the merge is exact as an all-reduce of factors (law L21). No scale s, no
V_n, no second moment. polar is that of `optimizers.polar`; the steps see the subspace of Q and no basis of it (L23), and
no scale of the loss (L24).

What has no basis is a replica, as biases are: trained by the run's optimizer without its decay, and averaged. At a merge
every matrix decays, once, by lambda times the sum of its own rates over the round: eta_t where it has a basis, those of the
replicas where not. Vectors do not decay.
With an outer rate or momentum the merge is a direction, as DiLoCo's is (`rules.outer`).

Relatives: GaLore, Flora and GoLore project gradients; FFA-LoRA and RoLoRA freeze a factor so that averaging is exact; PowerSGD
and Dion send low-rank updates, Dion's orthonormalised, with error feedback; MuLoCo takes Muon's steps (Jordan et al. 2024) under an
outer Nesterov; LDAdam moves the optimizer's state between bases.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.core import optim, tree
from minilte.core.head import descend, overlay, replica_of
from minilte.core.method import Method
from minilte.core.optim import Optimizer, SGDState
from minilte.core.types import Array, Linear, Task, Tree, Weights
from minilte.methods.bases import Bases, Factors, every_part
from minilte.rules.outer import toward


class Shared(NamedTuple):
    """What all agree on after a merge; momentum at rest, see `Bases.at_rest`."""

    weights: Weights
    momentum: Factors | None  # with which the next round begins; None: every head keeps its own
    step: Array  # (), int64, of the last merge
    left: Array  # (), float64: what the decay of all merges has left of W_0, the product of 1 - lambda sum eta_t
    outer: Tree = None


class Worker(NamedTuple):
    """A head: its factors and their optimizer's state while a round lasts, its replica and that one's."""

    index: int
    factors: Factors | None  # None between rounds, which begin at zero
    replica: Weights
    state: Tree  # None between rounds where momentum is averaged
    opt: Tree  # of the replica
    loss: float = float("nan")


def shared_basis(
    task: Task,
    w: Sequence[float],
    bases: Bases,
    steps: Optimizer,
    rest_rate: float = 1.0,
    decay: float = 0.0,
    averaged: bool = True,
    moved: bool = False,
    outer_rate: float = 1.0,
    outer_momentum: float = 0.0,
) -> Method:
    """The method of heads with shares w. `steps` move the factors, at the task's rate; the task's own optimizer, which must not
    decay, moves the replicas, at `rest_rate` times it. `averaged` momentum is sent and averaged; `moved` momentum is
    turned into a new basis, where it else begins at zero.
    """
    basis, replica = bases.of, replica_of(task.weights, bases.of.ranks)
    plain, outer = (outer_rate, outer_momentum) == (1.0, 0.0), optim.sgd(outer_momentum, nesterov=True)

    def kept(momentum, step):
        """The momentum of a round that ended at a step, for the next: as it is, in a new basis moved or zero; at rest."""
        old, new = basis.period(step - 1), basis.period(step)
        if new != old:
            momentum = bases.turned(momentum, old, new) if moved else bases.zeros(new)
        return bases.at_rest(momentum)

    def update(trained, grads, opt, lr):
        factors, state = steps.update(trained[0], grads[0], opt[0], lr)
        copies, memory = task.optimizer.update(trained[1], grads[1], opt[1], lr * rest_rate)
        return (factors, copies), (state, memory)

    both = task._replace(optimizer=Optimizer(None, update))

    def local(main, head, start, stop):
        period = basis.period(start)
        Q, beside = bases.draw(period), bases.beside(period)

        def see(trained):
            layers = overlay(main.weights, trained[1])
            return layers | {name: beside(*layers[name], factor, Q[name]) for name, factor in trained[0].items()}

        def pick(grads, trained):
            mine = {name: grads[name].factor for name in trained[0]}
            return mine, tree.map(lambda _, g: g, trained[1], replica_of(grads, trained[0]))

        factors, begun = bases.zeros(period), SGDState(main.momentum) if averaged else head.state
        state = every_part(begun, lambda part: bases.at_work(part, factors))
        trained, opt = (factors, head.replica), (state, head.opt)
        (factors, copies), (state, opt), loss = descend(both, see, pick, trained, opt, head.index, start, stop)
        return Worker(head.index, factors, copies, state, opt, loss)

    def tell(head):
        none = None if head.factors else bases.zeros(0)  # of a head that is late and took no steps: nobody hears it
        said = {"factors": head.factors or none, "replicas": head.replica}
        said |= {"momentum": none or head.state.buf} if averaged else {}
        return tree.map(lambda leaf: w[head.index] * leaf, said)

    def like(n, main, step):
        factors = tree.blank(bases.zeros(basis.period(step - 1)))
        return {"factors": factors, "replicas": tree.blank(replica)} | ({"momentum": factors} if averaged else {})

    def merge(main, said, step, each):
        gone = decay * sum(task.rate(t) for t in range(int(main.step), step))
        weights = overlay(main.weights, said["replicas"])
        for name, layer in weights.items():
            if isinstance(layer, Linear):
                keep = 1 - gone * (1 if name in basis.ranks else rest_rate)
                weights[name] = layer._replace(W=keep * layer.W)
        for name, change in bases.product(said["factors"], basis.period(step - 1)).items():
            weights[name] = weights[name]._replace(W=weights[name].W + change)
        memory = main.outer
        if not plain:
            weights, memory = toward(outer, main.weights, weights, memory, outer_rate)
        momentum = kept(said["momentum"], step) if averaged else None
        return Shared(weights, momentum, np.asarray(step), np.asarray(main.left * (1 - gone)), memory)

    def hear(main, head, step):
        if averaged:
            state = None
        elif isinstance(head.state, SGDState) and head.state.buf is not None:
            state = SGDState(kept(head.state.buf, step))
        elif basis.period(step) != basis.period(step - 1):
            state = fresh(step)
        else:
            state = every_part(head.state, bases.at_rest)
        copies = tree.map(lambda _, now: now, head.replica, replica_of(main.weights, basis.ranks))
        return Worker(head.index, None, copies, state, head.opt, head.loss)

    def fresh(step):
        return every_part(steps.init(bases.zeros(basis.period(step))), bases.at_rest)

    def enter(n):
        return Worker(n, None, replica, None if averaged else fresh(0), task.optimizer.init(replica))

    def show(main, step):
        shown = {"weights": {name: main.weights[name].W for name in basis.ranks}}
        shown |= {"replicas": replica_of(main.weights, basis.ranks)}
        return shown | ({"momentum": main.momentum} if averaged else {})

    def view(shown, before, said):
        weights = {
            name: layer._replace(W=shown["weights"][name]) if name in basis.ranks else layer
            for name, layer in overlay(task.weights, shown["replicas"]).items()
        }
        return Shared(weights, shown.get("momentum"), np.asarray(0), np.asarray(1.0))

    def begin():
        momentum = bases.at_rest(bases.zeros(0)) if averaged else None
        return Shared(
            task.weights, momentum, np.asarray(0), np.asarray(1.0), None if plain else outer.init(task.weights)
        )

    return Method(
        every=basis.every,
        begin=begin,
        enter=enter,
        local=local,
        tell=tell,
        like=like,
        merge=merge,
        hear=hear,
        weights=lambda main: main.weights,
        show=show,
        frame=lambda: tree.blank(show(begin(), 0)),
        view=view,
        adds=True,
    )
