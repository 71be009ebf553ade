"""GaLore: the optimizer sees every matrix's gradient in its top-r singular directions, found anew now and then.

    P <- the first r right singular vectors of the summed G (left ones where m < n)          every `project_every` steps
    W <- W - eta scale (step of R = G P) P^T                                                 scale 1/4 by default

Zhao et al. 2024 (https://arxiv.org/abs/2403.03507), and their code where the paper leaves a choice: the smaller side is
projected, the right one of a square; P is of the very gradient that is projected next; decay is of the whole W, decoupled.
The optimizer's moments stay as they are when the basis changes. As they know a direction by its sign, and a singular
vector has none, its largest entry is made positive. `move_moments` moves them (LDAdam, Robert et al. 2024,
https://arxiv.org/abs/2410.16103), with C = P_old^T P_new:

    m <- m C,   v <- (1 - b2^t) | (v^ - m^ o m^) (C o C) + (m^ C) o (m^ C) |                 m^, v^ without their bias

and of SGD and Muon the buffer, as m. Moved or not, all directions, scale 1 and plain SGD are full-rank training, and so
is momentum that is moved (without decay, which SGD's own would pass through it). Kept is law L11; the rank of W_t - W_0 has no bound (L2), for every new P brings r directions.
"""

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.core.types import Array, Task
from minilte.methods.projected import (
    PROJECT_EVERY,
    PROJECT_LAYERS,
    PROJECT_RANK,
    Bases,
    inside,
    projected,
    ranks_of,
    refuse_other_decay,
    turned,
)
from minilte.settings.knob import knob
from minilte.settings.part import part


def galore(
    task: Task, ranks: dict[str, int], every: int = 200, scale: float = 0.25, decay: float = 0.0,
    move: bool = False, betas: tuple[float, float] = (0.9, 0.999),
) -> Method:  # fmt: skip
    """GaLore of layers with these ranks; `betas` are those of the task's Adam, where moments move."""

    def moved(state, turns):
        return turned(state, turns, lambda adam, turns: squares(adam, turns, *betas)) if move else state

    return projected(task, ranks, every, lambda bases, step: bases, top, moved, scale, decay)


def top(G: Array, r: int) -> Array:
    """The r directions of the smaller side in which G is largest.    (m,n)->(min(m,n),r)"""
    known = np.where(np.isfinite(G), G, 0)  # a run that diverges ends by its loss
    U, _, V = np.linalg.svd(known, full_matrices=False)
    P = (U if G.shape[0] < G.shape[1] else V.T)[:, :r]
    return np.ascontiguousarray(np.copysign(1, P[np.abs(P).argmax(axis=0), np.arange(r)]) * P)


def squares(adam, turns: Bases, b1: float, b2: float):
    """Adam's v in new bases: the variance along every new direction as if the old ones were independent."""
    t = int(adam.count)
    mean = tree.map(lambda m: m / (1 - b1**t), adam.m)
    spread = tree.map(lambda v, m: v / (1 - b2**t) - m * m, adam.v, mean)
    moved = inside(spread, {name: C * C for name, C in turns.items()}), inside(mean, turns)
    new = tree.map(lambda spread, m: (1 - b2**t) * np.abs(spread + m * m), *moved)
    return {name: layer._replace(W=new[name].W) if name in turns else layer for name, layer in adam.v.items()}


@part("method", "galore", gives={"sums"})
class GaLore:
    """The gradient of every matrix in its top singular directions (Zhao et al. 2024)."""

    project_rank: int = PROJECT_RANK
    project_every: int = PROJECT_EVERY
    project_layers: tuple[str, ...] = PROJECT_LAYERS
    galore_scale: float = knob(0.25, "of a step inside the directions", above=0.0)
    move_moments: bool = knob(False, "move the optimizer's moments to new directions, as LDAdam does")

    def check_with(self, config):
        refuse_other_decay(self, config)
        if self.move_moments and not config.flat().get("momentum", True):
            raise BadInput(f"move-moments: optimizer {config.optimizer.name} keeps none without a --momentum")

    def build(self, task: Task, config) -> Method:
        given = config.flat()
        settings = self.project_every, self.galore_scale, config.weight_decay, self.move_moments
        return galore(task, ranks_of(self, task.weights), *settings, (given.get("beta1"), given.get("beta2")))
