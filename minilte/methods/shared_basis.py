"""The shared basis as settings, and its facts; the method itself is `methods.on_bases`."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from minilte.comm.meetings import one_by_one
from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.head import replica_of
from minilte.core.method import Method
from minilte.core.optim import Optimizer
from minilte.core.types import Adapter, Task, Weights
from minilte.methods.adapters import adapted_names, refuse_ranks
from minilte.methods.bases import Bases, Basis
from minilte.methods.facts import Facts, Remainder
from minilte.methods.lte import MERGE_EVERY
from minilte.methods.on_bases import shared_basis
from minilte.optimizers.orthonormal import STEPS
from minilte.optimizers.polar import POLAR
from minilte.quant.wire import FULL
from minilte.rules.outer import OUTER_MOMENTUM, OUTER_RATE
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part


@part(
    "method",
    "shared-basis",
    brings=("guard", "quant", "wire"),
    gives={"sums", "codes", "served W"},
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
    move_remainder: bool = knob(
        False, "turn what a thin wire has still to send into a new basis, where else it is dropped"
    )
    replica_lr: float = knob(4e-3, "largest rate of the run's optimizer, for what has no basis", above=0.0)
    outer_rate: float = OUTER_RATE
    outer_momentum: float = OUTER_MOMENTUM

    def check(self):
        if self.basis_step == "adamw" and self.move_momentum:
            raise BadInput("move-momentum: expected with --basis-step orthonormal or sgd, adamw begins anew")

    def check_with(self, config):
        if self.move_remainder and config.wire.wire is FULL:
            raise BadInput("move-remainder: expected a thin --wire, without which nothing is left to send")
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
        rest = dataclasses.replace(config.optimizer, lr=self.replica_lr, weight_decay=0.0).build(task.net)
        outer = self.outer_rate, self.outer_momentum
        averaged = self.sends_momentum
        method = shared_basis(
            task._replace(optimizer=rest), task.shards, bases, steps, self.replica_lr / config.lr, config.weight_decay,
            averaged, self.move_momentum, *outer,
        )  # fmt: skip
        known = facts(task, task.shards, bases, steps, averaged, self.move_remainder)
        method = method._replace(
            facts=known._replace(**ends(task, bases, config.weight_decay, outer == (1, 0), config.steps))
        )
        return one_by_one(method) if any("each" in part.needs for part in config.parts.values()) else method

    def ranks(self, weights: Weights) -> dict[str, int]:
        """Layer -> r of those with a basis. Raises BadInput where none is large enough, or a named one is not."""
        names = adapted_names(weights, self.basis_layers, "basis-layers")
        refuse_ranks(weights, dict.fromkeys(names, self.basis_rank), "basis-rank")
        fitting = {name: self.basis_rank for name in names if self.basis_rank <= min(weights[name].W.shape)}
        if self.basis_layers and (small := [name for name in names if name not in fitting]):
            m, n = weights[small[0]].W.shape
            raise BadInput(
                f"basis-layers: {small[0]} is {m} x {n}, too small for a basis of rank {self.basis_rank}; leave it out"
            )
        return fitting


def ends(task: Task, bases: Bases, decay: float, plain: bool, steps: int) -> dict:
    """The facts of how far a run can come: a rank bound where nothing decays (law L26), and, where W is then k W_0 and a change
    of that rank, the change as an adapter. `plain` is without an outer step."""
    basis, W_0 = bases.of, {name: task.weights[name].W for name in bases.of.ranks}

    def rank(name: str, step: int) -> int:
        """The largest rank of the change after so many steps: r for every basis that was used."""
        return min(*W_0[name].shape, basis.ranks[name] * (1 + basis.period(max(0, step - 1))))

    def one_lora(main, heads):
        pairs, left = {}, float(main.left)
        for name, W in W_0.items():
            U, sigma, Vt = np.linalg.svd(main.weights[name].W.astype(np.float64) - left * W, full_matrices=False)
            few = rank(name, int(main.step))
            pairs[name] = Adapter(A=Vt[:few].astype(W.dtype), B=(U * sigma)[:, :few].astype(W.dtype))
        return [pairs], [dict.fromkeys(pairs, 1.0)], [1.0]

    known = {} if decay else {"bound": {name: rank(name, steps) for name in W_0}, "bound_law": "L26"}
    low = any(rank(name, steps) < min(W.shape) for name, W in W_0.items())
    return known | (
        {"one_lora": one_lora, "decayed": lambda main: float(main.left)} if low and (plain or not decay) else {}
    )


def facts(task: Task, w: Sequence[float], bases: Bases, steps: Optimizer, averaged: bool, moved: bool) -> Facts:
    """The facts of heads with shares w, whose factors step by `steps`; `moved` is of what a thin wire has still to send."""
    basis = bases.of
    period = max((0, 1), key=lambda period: tree.size(bases.zeros(period)))  # of sides in turn the larger

    def held(main, head, all_heads):
        factors, drawn = bases.zeros(period), bases.blank(period)
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
        """How far the head's momentum is from the average, |M_n - M|_F over all layers: orthonormal steps hide a gradient of any
        size, and momentum carries it to the others. Where momentum stays at home, |B_n Q|_F = |B_n|_F."""
        if not all(np.isfinite(leaf).all() for leaf in tree.leaves(said)):
            return math.inf
        far = said["factors"]
        if averaged:
            mean = bases.at_work(main.momentum, said["factors"])
            far = {name: M - w[n] * mean[name] for name, M in said["momentum"].items()}
        return math.sqrt(sum(float(np.sum(np.square(leaf, dtype=np.float64))) for leaf in far.values())) / w[n]

    def recover(main, head, fraction, step):
        """A bad head goes on with fresh optimizers, from the replicas' means."""
        factors = bases.zeros(basis.period(step - 1))
        return head._replace(state=steps.init(factors), opt=task.optimizer.init(head.replica))

    def carried(factors, step):
        old, new = basis.period(step - 1), basis.period(step)
        if new == old:
            return factors
        return bases.turned(factors, old, new) if moved else bases.zeros(new)

    longest = np.concatenate([factor.reshape(-1) for factor in bases.zeros(period).values()])
    remainder = Remainder(tree.blank(longest), carried)
    return Facts(held=held, remainder=remainder, still=still, distance=distance, recover=recover)
