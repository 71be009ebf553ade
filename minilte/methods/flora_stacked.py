"""FLoRA: in every round each head trains an adapter of its own rank from scratch; stacked, they are the change of W.

    W <- W + [w_1 s_1 B_1 … w_N s_N B_N] [A_1; …; A_N] = W + sum_n w_n s_n B_n A_n        exactly (law L5)

then all A_n are redrawn, B_n <- 0, and the optimizers start anew. Source: Wang et al. 2024 (arXiv 2409.05976)
and their code. w_n is the head's part of the data, as there. Each head keeps its own s_n = alpha / r_n; their code takes
alpha_n = 2 r_n, so that all scales are equal. Biases and norms are averaged with w_n; there they are frozen.

It is LTE with both factors reset and the optimizer too, to the bit, and keeps the laws that LTE has then: a merge is the
weighted mean of what heads compute (L13), heads need no one rank; without V nothing telescopes (L1) or bounds a rank (L2).
"""

from minilte.core.lora import Plan
from minilte.core.lte import lte
from minilte.core.method import Method
from minilte.core.types import Task
from minilte.methods.lte import MERGE_EVERY, facts
from minilte.settings.part import part

BRINGS = ("adapters", "wire", "guard", "quant", "local_steps")  # no rule: stacking is its rule


def flora_stacked(task: Task, plan: Plan, every: int, replicas: str = "average") -> Method:
    """FLoRA of heads with the plan's ranks, whose shares are those of the data."""
    method = lte(task, plan, every, reset="ab", reset_optimizer=True, replicas=replicas, w=task.shards)
    return method._replace(facts=facts(task, plan, task.shards, bounded=False, telescopes=False))


@part("method", "flora-stacked", gives={"factors", "served W"}, brings=BRINGS)
class FLoRAStacked:
    """Fresh adapters of any ranks in every round, stacked and added to W (Wang et al. 2024)."""

    merge_every: int = MERGE_EVERY

    def build(self, task: Task, config) -> Method:
        plan = config.adapters.plan(task.weights, config.heads, config.seed)
        method = flora_stacked(task, plan, self.merge_every, config.replicas)
        return config.local_steps.wrap(method, task, plan, [1.0] * config.heads)
