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

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minilte.comm.communicator import in_order
from minilte.core import optim, tree
from minilte.core.errors import BadInput
from minilte.core.head import descend, overlay, replica_of
from minilte.core.method import Method
from minilte.core.optim import Optimizer, SGDState
from minilte.core.types import Array, Linear, Task, Tree, Weights
from minilte.methods.adapters import adapted_names, refuse_ranks
from minilte.methods.bases import Bases, Basis, Factors
from minilte.methods.facts import Facts
from minilte.methods.lte import MERGE_EVERY
from minilte.optimizers.orthonormal import orthonormal
from minilte.optimizers.polar import POLAR
from minilte.rules.outer import OUTER_MOMENTUM, OUTER_RATE, toward
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part
from minilte.steps.adamw import adamw


class Shared(NamedTuple):
    """What all agree on after a merge; momentum at rest, see `Bases.at_rest`."""

    weights: Weights
    momentum: Factors | None  # with which the next round begins; None: every head keeps its own
    step: Array  # (), int64, of the last merge
    outer: Tree = None


class Worker(NamedTuple):
    """A head: its factors and their optimizer's state while a round lasts, its replica and that one's."""

    index: int
    factors: Factors | None  # None between rounds, which begin at zero
    replica: Weights
    state: Tree  # None between rounds where momentum is averaged
    opt: Tree  # of the replica
    loss: float = float("nan")


STEPS = {  # (beta, polar) -> the optimizer of the factors
    "orthonormal": orthonormal,
    "sgd": lambda beta, _: optim.sgd(beta, nesterov=True),
    "adamw": lambda beta, _: adamw(),
}


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
        return Shared(weights, kept(said["momentum"], step) if averaged else None, np.asarray(step), memory)

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
        return Shared(weights, shown.get("momentum"), np.asarray(0))

    def held(main, head, all_heads):
        period = basis.period(int(main.step))
        factors, drawn = bases.zeros(period), tree.blank(bases.draw(period))
        return {
            "weights": main.weights,
            "adapters": (factors, head.replica, drawn),
            "gradients": (factors, head.replica),
            "optimizer": (steps.init(factors), head.opt, main.momentum),
            "rule": main.outer if all_heads else None,
        }

    def still(main, n, said):
        """What head n would say if it had taken no step."""
        unmoved = {"factors": tree.zeros(said["factors"]), "replicas": replica_of(main.weights, basis.ranks)}
        unmoved |= {"momentum": bases.at_work(main.momentum, said["factors"])} if averaged else {}
        return tree.map(lambda leaf: w[n] * leaf, unmoved)

    def distance(main, n, said):
        """|B_n Q|_F = |B_n|_F over all layers."""
        if not all(np.isfinite(leaf).all() for leaf in tree.leaves(said)):
            return math.inf
        return (
            math.sqrt(sum(float(np.sum(np.square(factor, dtype=np.float64))) for factor in said["factors"].values()))
            / w[n]
        )

    def recover(main, head, fraction, step):
        """A bad head goes on with fresh optimizers, from the replicas' means."""
        factors = bases.zeros(basis.period(step - 1))
        return head._replace(state=steps.init(factors), opt=task.optimizer.init(head.replica))

    def begin():
        momentum = bases.at_rest(bases.zeros(0)) if averaged else None
        return Shared(task.weights, momentum, np.asarray(0), None if plain else outer.init(task.weights))

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
        facts=Facts(held=held, still=still, distance=distance, recover=recover),
    )


def one_by_one(method: Method) -> Method:
    """The method whose merge gets what every head says, where somebody has to look at each; the same bits."""

    def merge(main, said, step, each):
        return method.merge(main, tree.map(lambda *leaves: in_order(leaves), *said), step, each)

    return method._replace(adds=False, merge=merge)


def every_part(state: Tree, f: Callable[[Factors], Factors]) -> Tree:
    """An optimizer's state with f of each part that is shaped like the factors."""
    return type(state)(*(f(part) if isinstance(part, dict) else part for part in state))


@part(
    "method",
    "shared-basis",
    brings=("guard", "quant"),
    gives={"sums", "any number", "served W"},
    usual={"lr": 0.1, "weight_decay": 0.02, "outer_rate": 1.0, "outer_momentum": 0.0},
    rates=(0.05, 0.1, 0.2),
)
class SharedBasis:
    """Heads train a factor each in a basis that all know from a seed, merged by a sum; lr 0.1, decay 0.02 unless given."""

    merge_every: int = MERGE_EVERY
    basis_rank: int = knob(
        64, "rank r of the basis; a layer whose smaller side is less is a replica", least=1, most=MOST
    )
    keep_basis: int = knob(4, "K, merges until a new basis is drawn", least=1, most=MOST)
    basis_side: str = knob(
        "a",
        "what is trained: B beside Q to its right, A beside Q^T to its left, or in turn",
        choices=("a", "b", "alternating"),
    )
    basis_layers: tuple[str, ...] = knob(
        (), "names of the layers that get a basis; default all that are large enough"
    )
    basis_step: str = knob("orthonormal", "how the factors step", choices=tuple(STEPS))
    basis_momentum: float = knob(0.95, "Nesterov momentum of the factors; not of adamw", least=0.0, below=1.0)
    basis_polar: str = knob(
        "quintic", "five quintic steps toward the polar factor, or all the way", choices=tuple(POLAR)
    )
    send_momentum: bool = knob(True, "average the momentum at merges, else every head keeps its own; adamw keeps it")
    move_momentum: bool = knob(
        False, "turn the momentum into a new basis, where else it begins at zero; not of adamw"
    )
    replica_lr: float = knob(4e-3, "largest rate of the run's optimizer, for what has no basis", above=0.0)
    outer_rate: float = OUTER_RATE
    outer_momentum: float = OUTER_MOMENTUM

    def check(self):
        if self.basis_step == "adamw" and self.move_momentum:
            raise BadInput("move-momentum: expected with --basis-step orthonormal or sgd, adamw begins anew")

    def check_with(self, config):
        if self.basis_side == "alternating" and config.topology.quorum:
            raise BadInput("basis-side alternating: what a late head sends has another shape; leave out --quorum")

    @property
    def sends_momentum(self) -> bool:
        """Is there momentum, and does it travel?"""
        return self.send_momentum and self.basis_step != "adamw" and self.basis_momentum > 0

    def build(self, task: Task, config) -> Method:
        basis = Basis(self.ranks(task.weights), self.merge_every, self.keep_basis, self.basis_side, config.seed)
        bases = Bases(basis, task.weights)
        steps = STEPS[self.basis_step](self.basis_momentum, POLAR[self.basis_polar])
        rest = dataclasses.replace(config.optimizer, weight_decay=0.0).build(task.net)
        outer = self.outer_rate, self.outer_momentum
        method = shared_basis(
            task._replace(optimizer=rest), task.shards, bases, steps, self.replica_lr / config.lr, config.weight_decay,
            self.sends_momentum, self.move_momentum, *outer,
        )  # fmt: skip
        return one_by_one(method) if any("each" in part.needs for part in config.parts.values()) else method

    def ranks(self, weights: Weights) -> dict[str, int]:
        """Layer -> r of those with a basis. Raises BadInput where none is large enough, or a named one is not."""
        names = adapted_names(weights, self.basis_layers, "basis-layers")
        refuse_ranks(weights, dict.fromkeys(names, self.basis_rank), "basis-rank")
        return {name: self.basis_rank for name in names if self.basis_rank <= min(weights[name].W.shape)}
