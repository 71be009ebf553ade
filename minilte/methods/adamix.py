"""AdaMix: a pool of K adapters a layer, of which every step trains an A and a B, drawn apart; at the end, their means.

    step t        W + s B_i A_j in each layer, i and j uniform in 0 … K-1 and independent; B_i and A_j move
    its weights   W + s mean(B) mean(A)                                                    (Wang et al. 2022)

The weights are the mean over draws of what one layer computes (drawn as pairs it would be mean(B A)), not of what a deep
network computes. All B begin at zero. Each A has a start of its own, so their mean is smaller by sqrt(1/K); with
`--head-init same` all have the same, as in the authors' code. Left out: their consistency loss, and a B that all share.

A factor that was not drawn stays as it is, without decay or momentum: it has optimizer state and a count of its own, as
in PyTorch, which skips a parameter without gradient. Replicas move at every step. All workers of a step have the same
draw, so a step is LoRA's on it, and K = 1 is LoRA to the bit. Law L11 holds, and L2 with the bound r.
Source: arXiv 2205.12410, section 3.
"""

import dataclasses

from minilte.core import tree
from minilte.core.lora import Plan, refuse_dead
from minilte.core.lte import mean
from minilte.core.method import Method
from minilte.core.optim import Optimizer
from minilte.core.random import stream
from minilte.core.types import Adapter, Adapters, Task, Tree
from minilte.methods.data_parallel import Shared
from minilte.methods.facts import Facts
from minilte.methods.mhlora import lora
from minilte.settings.knob import knob
from minilte.settings.part import part


def adamix(task: Task, plan: Plan, seed: int = 0, replicas: str = "average") -> Method:
    """AdaMix whose pool has an adapter for each head of the plan, all of one rank."""
    pool, own = range(len(plan.ranks)), apart(task.optimizer)
    single = lora(task._replace(optimizer=own), plan, replicas)
    members = tuple(plan.draw(k, 0) for k in pool)
    for member in members:
        refuse_dead(member)

    def draw(step):
        """In the place of the factors of each layer the numbers of the members that they are of."""
        numbers = stream(seed, "adamix", step).integers(len(pool), size=(len(plan.ranks[0]), 2))
        return {name: Adapter(*pair) for name, pair in zip(plan.ranks[0], numbers.tolist(), strict=True)}

    def begin():
        start = members, single.begin().trained[1]
        return Shared(start, own.init(start))

    def local(main, worker, start, stop):
        return single.local(Shared(taken(main.trained, draw(start)), None), worker, start, stop)

    def merge(main, said, step, each):
        drawn = draw(step - 1)
        done = single.merge(Shared(*(taken(of, drawn) for of in main)), said, step, each)
        return Shared(*(put_back(of, new, drawn) for of, new in zip(main, done, strict=True)))

    def view(shown, before, said):
        now, rest = shown["weights"]
        return Shared((now * len(pool), rest), None)  # the pair of the next step, whichever is asked for

    def averaged(main):
        factors, rest = main.trained
        return Shared(((mean(factors, [1 / len(pool)] * len(pool)),), rest), None)

    def held(main, worker, all_heads):
        one = taken(main.trained, draw(0))
        trained, opt = (main.trained, main.opt) if all_heads else (one, None)
        return {"weights": task.weights, "adapters": trained, "gradients": one, "optimizer": opt}

    return single._replace(
        begin=begin,
        local=local,
        merge=merge,
        weights=lambda main: single.weights(averaged(main)),
        show=lambda main, step: {"weights": taken(main.trained, draw(step))},
        view=view,
        facts=Facts(
            bound=single.facts.bound,
            held=held,
            one_lora=lambda main, heads: single.facts.one_lora(averaged(main), heads),
        ),
    )


def apart(optimizer: Optimizer) -> Optimizer:
    """The optimizer with a state for each factor, and for the replicas together: of (members of the pool, replicas)."""

    def init(trained):
        of = lambda name, pair: Adapter(*(optimizer.init({name: factor}) for factor in pair))  # noqa: E731
        states = tuple({name: of(name, pair) for name, pair in member.items()} for member in trained[0])
        return states, optimizer.init(trained[1])

    def update(trained, grads, state, lr):
        ((now,), rest), ((by_now,), by_rest), ((memory,), rests) = trained, grads, state
        new, kept = {}, {}
        for name, pair in now.items():
            each = zip(pair, by_now[name], memory[name], strict=True)
            moved = [optimizer.update({name: p}, {name: g}, state, lr) for p, g, state in each]
            new[name], kept[name] = Adapter(*(p[name] for p, _ in moved)), Adapter(*(state for _, state in moved))
        rest, rests = optimizer.update(rest, by_rest, rests, lr)
        return ((new,), rest), ((kept,), rests)

    return Optimizer(init, update)


def taken(pool: Tree, drawn: Adapters) -> Tree:
    """(members, rest) -> ((the pair drawn,), rest): of each layer the A of one member and the B of another."""
    members, rest = pool
    return (tree.map(lambda k, *factors: factors[k], drawn, *members),), rest


def put_back(pool: Tree, one: Tree, drawn: Adapters) -> Tree:
    """The pool with the pair drawn in its place, and the rest that came with it."""
    (pair,), rest = one
    put = lambda k, member: tree.map(lambda i, new, old: new if i == k else old, drawn, pair, member)  # noqa: E731
    return tuple(put(k, member) for k, member in enumerate(pool[0])), rest


@part("method", "adamix", needs={"one rank"}, gives={"sums"}, brings=("adapters",))
class AdaMix:
    """A pool of adapters a layer, of which each step trains a pair drawn; factors averaged (Wang et al. 2022)."""

    pool: int = knob(4, "adapters of each layer, of which a step draws an A and a B", least=1, most=1000)

    def build(self, task: Task, config) -> Method:
        members = dataclasses.replace(config.adapters, head_ranks=config.head_ranks[:1] * self.pool)
        return adamix(task, members.plan(task.weights, self.pool, config.seed), config.seed, config.replicas)
