"""Flora: the optimizer sees every matrix's gradient in r random directions, which all know from a seed.

    R = G A^T, A of r x n from N(0, 1/r), so that E[A^T A] = I;   W <- W - eta (step of R) A;   where m < n from the left

Hao et al. 2024 (https://arxiv.org/abs/2402.03293). A is never sent and in no state: it is drawn from (seed, layer, period),
and anew every `project_every` steps, when momentum moves, M <- M A_old A_new^T (their algorithm 2). Choices: the smaller
side is projected, as in their code, but of every layer, where theirs leaves out those with a side four times the other.
Momentum is that of the run's optimizer, of R alone: G does not travel, whose newest part theirs takes whole. Adam's v stays,
for all random directions expect the same square. (Their JAX code moves momentum to the old directions, which is a slip.)

The step is unbiased for plain SGD alone, without clipping, with a variance about n / r times the square of the gradient. Kept is law L11;
the rank of W_t - W_0 has no bound (L2).
"""

import functools
import math

from minilte.core.method import Method
from minilte.core.random import stream
from minilte.core.types import Task
from minilte.methods.projected import (
    PROJECT_EVERY,
    PROJECT_LAYERS,
    PROJECT_RANK,
    Bases,
    projected,
    ranks_of,
    refuse_other_decay,
    turned,
)
from minilte.settings.part import part


def flora(task: Task, ranks: dict[str, int], every: int = 200, seed: int = 0, decay: float = 0.0) -> Method:
    """Flora of layers with these ranks."""
    numbers = {name: number for number, name in enumerate(task.weights)}

    @functools.lru_cache(maxsize=2)  # all heads ask for the same
    def draw(period: int) -> Bases:
        bases = {}
        for name, r in ranks.items():
            W = task.weights[name].W
            normal = stream(seed, "flora", numbers[name], period).standard_normal((min(W.shape), r))
            bases[name] = (normal / math.sqrt(r)).astype(W.dtype)
        return bases

    return projected(task, ranks, every, lambda _, step: draw(step // every), moved=turned, decay=decay)


@part("method", "flora-projected", gives={"sums"})
class Flora:
    """The gradient of every matrix in random directions from a seed (Flora, Hao et al. 2024)."""

    project_rank: int = PROJECT_RANK
    project_every: int = PROJECT_EVERY
    project_layers: tuple[str, ...] = PROJECT_LAYERS

    check_with = refuse_other_decay

    def build(self, task: Task, config) -> Method:
        ranks = ranks_of(self, task.weights)
        return flora(task, ranks, self.project_every, config.seed, config.weight_decay)
