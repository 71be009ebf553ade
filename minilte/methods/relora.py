"""ReLoRA: a LoRA on the whole batch that is merged and drawn anew, so that the sum of its changes has any rank.

    before every T-th step   W <- W + s B A,  A <- redrawn,  B <- 0,  the optimizer state of A and B pruned
    rate                     that of the run, times k / R in the k-th of the first R steps after that

Source: Lialin et al. 2023 (arXiv 2307.05695) and their code. The paper keeps the largest 1 % of the state
(a published setting of the code 10 %); of biases and norms it stays, and so does the count of AdamW's steps, which they
share. Here an entry of A or B is kept or forgotten in all arrays of the state, by its first one: the momentum, Adam's m.
Their code prunes each array by itself. Where m is kept and v is not, a step is m / eps, for B = 0 leaves A without
gradient: such runs of the default network diverge four steps after the first merge.

The first step of a forgotten entry is (1 - b1) / sqrt(1 - b2) of Adam's usual one, 3.2 by default: hence the warm-up. The
paper has 50 to 100 steps of thousands. Here R is 10, about as long as the mean of gradients remembers, and T at most; k
begins with 1, so that no step stands still.

A warm start is full-rank training at the rate of the run, with gradients of all weights; rounds of T steps are counted
from its end, where the optimizer starts anew and the rate is warmed up too.

The merge is put off to the next step's beginning, where everyone makes it: W itself travels after a warm start alone.
The rank of W - W_0 is at most r times the merges (+ 1), which is no bound of a whole run (L2 falls).
"""

from typing import NamedTuple

import numpy as np

from minilte.core import optim, tree
from minilte.core.errors import BadInput
from minilte.core.head import overlay, replica_of, seen, trained_grads
from minilte.core.lora import Plan, refuse_dead
from minilte.core.lte import merged
from minilte.core.method import Method
from minilte.core.random import stream
from minilte.core.types import Adapters, Array, Linear, Sent, Task, Weights
from minilte.methods.data_parallel import Shared, Trainee, data_parallel
from minilte.methods.facts import Facts
from minilte.methods.lte import MERGE_EVERY
from minilte.methods.memory import PRUNE, pruned
from minilte.schedules.jagged import jagged
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part


class Layers(NamedTuple):
    """The layers W + s B A, and when they are merged."""

    done: Array  # (), int64: steps so far
    weights: Weights  # biases and norms of now, W of the last merge
    now: Adapters


def relora(
    task: Task, plan: Plan, every: int, prune: str = "magnitude", ratio: float = 0.99, climb: int = 10, warm: int = 0,
    replicas: str = "average", seed: int = 0,
) -> Method:  # fmt: skip
    """ReLoRA of head 0 of the plan, merged every T = `every` steps, after `warm` steps of full-rank training."""
    adapted, average, scales = plan.ranks[0], replicas == "average", plan.scales[:1]
    start = Layers(np.zeros((), np.int64), task.weights, plan.draw(0, 0))
    refuse_dead(start.now)
    rate = jagged(task.rate, every, climb, warm)

    def replica(weights):
        return replica_of(weights, adapted) if average else {}

    def trained(at):
        if at.done >= warm:
            return at.now, replica(at.weights)
        return {}, at.weights if average else {name: Linear(at.weights[name].W, None) for name in adapted}

    def dense(at):
        return merged(at.weights, [Sent(at.now, {})], None, scales, [1.0])

    def due(at):
        return at.done > warm and (at.done - warm) % every == 0

    def opened(at):
        """The layers in which the next step is taken."""
        return at._replace(weights=dense(at), now=plan.draw(0, int(at.done))) if due(at) else at

    def params(at):
        at = opened(at)
        return seen(at.weights, *trained(at), None, scales[0])

    def merge(main, said, step, each):
        at, opts, low = opened(main.trained), list(main.opt), int(main.trained.done >= warm)
        if due(main.trained):
            opts[1] = pruned(opts[1], prune, ratio, stream(seed, "prune", 0, step - 1))
        grads = optim.clip(said["gradients"], task.clip)
        (now, rest), opts[low] = task.optimizer.update(trained(at), grads, opts[low], rate(step - 1))
        opts[0] = tree.blank(opts[0]) if low else opts[0]  # zeros without memory: of no use any more
        return Shared(Layers(np.asarray(at.done + 1), overlay(at.weights, rest), at.now | now), tuple(opts))

    def show(main, step):
        at = main.trained
        return {"factors": at.now, "weights": at.weights if warm else replica(at.weights)}

    def view(shown, before, said):
        at = before.trained
        if said is not None:  # not before the first step, where all hold what is shown
            at = opened(at)._replace(done=at.done + 1)
        now = tree.map(np.copy, shown["factors"])  # what is shown may be written over before these are merged
        return Shared(at._replace(weights=overlay(at.weights, shown["weights"]), now=now), None)

    def held(main, worker, all_heads):
        at, opt = main.trained, main.opt[1] if all_heads else None  # of what follows a warm start
        trains = at.now, replica(at.weights)
        return {"weights": at.weights, "adapters": at.now, "gradients": trains, "optimizer": opt}

    def begin():
        first, low = (task.optimizer.init(trained(start._replace(done=done))) for done in (0, warm))
        return Shared(start, (first if warm else None, low))

    pick = lambda grads, at: trained_grads(grads, trained(at))  # noqa: E731
    return data_parallel(task, Trainee(start, params, pick, dense), Facts(held=held))._replace(
        begin=begin,
        like=lambda n, main, step: {"gradients": tree.blank(trained(start._replace(done=max(0, step - 1))))},
        merge=merge,
        show=show,
        frame=lambda: tree.blank(show(Shared(start, None), 0)),
        view=view,
    )


@part("method", "relora", needs={"one rank"}, gives={"sums"}, brings=("adapters",))
class ReLoRA:
    """LoRA that is merged and drawn anew every T steps (Lialin et al. 2023)."""

    merge_every: int = MERGE_EVERY
    prune: str = knob("magnitude", "of the optimizer state of A and B, at merges", choices=tuple(PRUNE))
    prune_ratio: float = knob(0.99, "part of it that is set to zero; with --prune zero all is", least=0.0, most=1.0)
    restart_warmup: int = knob(10, "steps of a rising rate after a merge, at most T", least=0, most=MOST)
    warm_start: int = knob(0, "steps of full-rank training before", least=0, most=MOST)

    def check_with(self, config):
        if 0 < (steps := config.steps) <= self.warm_start:
            raise BadInput(f"warm-start: expected fewer than the {steps} steps of the run, got {self.warm_start}")

    def build(self, task: Task, config) -> Method:
        plan = config.adapters.plan(task.weights, config.heads, config.seed)
        knobs = self.merge_every, self.prune, self.prune_ratio, self.restart_warmup, self.warm_start
        return relora(task, plan, *knobs, config.replicas, config.seed)
