"""LTE whose ranks and heads change at merges: how many rows of an adapter live, and who takes part in a round.

    k_t of the r rows of A and columns of B live in round t; the others are zero, and stay zero (law L7)
    W <- W + sum_{n in S_t} w_n s_n (B_n A_n - V_n) / sum_{n in S_t} w_n,  S_t the heads that take part

A row that is dropped is dropped from V_n too: W keeps what was merged of it, and only its training ends. A row that is
added has a fresh A and B = 0. A head that sits out says nothing, and comes back with the factors it had. So right after
a merge every head computes the main function (L10), and W is the mean of the heads that took part (L13). V_n is no
longer all that W has of a head, so L1 and L2 fall, but for fixed ranks and all heads: then it is LTE to the bit.

These are questions that the paper leaves open (section 6): ranks and heads set dynamically. A rank by effective rank
(Roy & Vetterli 2007) or by energy (AdaRankGrad, Refael et al. 2024) is that of the last merged change, shared among the
heads that made it, with a few rows to spare so that it can grow again.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.lora import Plan
from minilte.core.lte import MEAN, lte
from minilte.core.method import Method
from minilte.core.random import stream
from minilte.core.types import Array, Head, Main, Rule, Task
from minilte.methods.changing import HEADS, as_rank, between, chosen, directions, refuse_unused
from minilte.methods.facts import Facts
from minilte.methods.live import cut, grown, padded, rows
from minilte.methods.lte import MERGE_EVERY, RESET, RESET_OPTIMIZER, resets, weighed
from minilte.methods.memory import forgotten
from minilte.settings.knob import MOST, flag_name, knob
from minilte.settings.part import part


class Changing(NamedTuple):
    """The main state of LTE, the rows that live, who takes part in the next round, and who took part in the last."""

    main: Main
    ranks: dict[str, Array]  # (), int64
    active: Array  # (N,), bool
    took: Array  # (N,), bool


class Seat(NamedTuple):
    """A head, the rows of it that live, and whether it takes part in this round."""

    index: int
    head: Head
    ranks: dict[str, Array]  # (), int64
    active: Array  # (), bool
    loss: float = float("nan")


def dynamic(
    task: Task, plan: Plan, every: int, next_rank: Callable, active: Callable, reset: str = "none",
    reset_optimizer: bool = False, replicas: str = "average", w: Sequence[float] | None = None, rule: Rule = MEAN,
) -> Method:  # fmt: skip
    """LTE whose layers have next_rank(step, k, r, change, heads) live rows after a merge, and whose heads active(step) train.

    k lived before, r at most; `change` is what the merge of so many heads made of the layer's W, None at the start.
    active(step) -> (N,), bool.
    """
    base, N = lte(task, plan, every, reset, reset_optimizer, "shard", replicas, rule=rule), len(plan.ranks)
    w = w or [1 / N] * N
    most = {name: len(pair.A) for name, pair in plan.shape(0).items()}
    at_first = {name: as_rank(next_rank(0, r, r, None, N), r) for name, r in most.items()}

    def begin():
        return Changing(base.begin(), at_first, chosen(active, N, 0), np.ones(N, bool))

    def enter(n):
        head = base.enter(n)
        now = {name: cut(pair, at_first[name]) for name, pair in head.now.items()}
        return Seat(n, head._replace(now=now), at_first, np.array(chosen(active, N, 0)[n]))

    def local(shown, seat, start, stop):
        if not seat.active:
            return seat._replace(loss=float("nan"))
        head = base.local(shown.main, seat.head, start, stop)
        return seat._replace(head=head, loss=head.loss)

    def tell(seat):
        live = {name: rows(pair, seat.ranks[name]) for name, pair in seat.head.now.items()}
        return base.tell(seat.head)._replace(factors=live) if seat.active else {}

    def like(n, shown, step):
        live = {name: rows(pair, shown.ranks[name]) for name, pair in plan.shape(n).items()}
        return tree.blank(base.like(n, shown.main, step)._replace(factors=live)) if shown.active[n] else {}

    def whole(said):
        """n -> what head n said, of those that spoke, with zeros for the rows that do not live."""
        shape = plan.shape(0)
        return {
            n: sent._replace(factors={name: padded(pair, shape[name]) for name, pair in sent.factors.items()})
            for n, sent in said
            if sent
        }

    def merge(main, said, step, each):
        old, sent = main.main, whole(enumerate(said))
        V = None if old.then is None else [old.then[n] for n in sent]
        scales, all_here = [plan.scales[n] for n in sent], sum(w[n] for n in sent) if len(sent) < N else 1.0
        part = list(sent.values()), V, scales, [w[n] / all_here for n in sent]
        weights, state = rule.merge(old.rule, old.weights, *part, each)
        ranks = {
            name: as_rank(
                next_rank(step, int(main.ranks[name]), r, weights[name].W - old.weights[name].W, len(sent)), r
            )
            for name, r in most.items()
        }
        return Changing(
            Main(weights, kept(old.then, sent, ranks), state), ranks, chosen(active, N, step), main.active
        )

    def kept(then, sent, ranks):
        """V_n of every head in the rows that live on: what it said now, or before."""
        said = [sent[n].factors if n in sent else V for n, V in enumerate(then or ())]
        V = [own and {name: cut(pair, ranks[name]) for name, pair in own.items()} for own in said]
        return None if then is None else tuple(V)

    def hear(shown, seat, step):
        head, had, n = base.hear(shown.main, seat.head, step), seat.ranks, seat.index
        more = any(shown.ranks[name] > had[name] for name in most)
        fresh = plan.draw(n, step) if more else head.now
        lived = {name: int(min(had[name], shown.ranks[name])) for name in most}
        now = {
            name: grown(cut(pair, lived[name]), fresh[name], lived[name], shown.ranks[name])
            for name, pair in head.now.items()
        }
        head = head._replace(now=now, opt=forgotten(head.opt, lived))
        ranks = tree.map(np.copy, shown.ranks)  # of its own: what is shown may be written over
        return Seat(n, head, ranks, np.array(shown.active[n]), seat.loss)

    def show(main, step):
        return base.show(main.main, step) | {"plan": {"ranks": main.ranks, "active": main.active, "took": main.took}}

    def view(shown, before, said):
        main = base.view({kind: part for kind, part in shown.items() if kind != "plan"}, before.main, None)
        if said is not None:
            main = main._replace(then=kept(before.main.then, whole(said.items()), shown["plan"]["ranks"]))
        return Changing(main, **shown["plan"])

    def held(main, seat, all_heads):
        trained, V = (seat.head.now, seat.head.replica), main.main.then
        merged = () if V is None else V if all_heads else V[seat.index]
        weights, rule = main.main.weights, main.main.rule if all_heads else None
        return dict(
            weights=weights,
            adapters=trained,
            merged_factors=merged,
            rule=rule,
            gradients=trained,
            optimizer=seat.head.opt,
        )

    return Method(
        every, begin, enter, local, tell, like, merge, hear, lambda main: main.main.weights, show,
        lambda: tree.blank(show(begin(), 0)), view,
        facts=Facts(held=held, trust=lambda main: main.took.astype(float), ranks=lambda main: main.ranks),
    )  # fmt: skip


@part("method", "dynamic", needs={"one rank"}, brings=("adapters", "rule"))
class Dynamic:
    """LTE whose ranks and heads change at merges, by a schedule or by what was merged."""

    merge_every: int = MERGE_EVERY
    reset: str = RESET
    reset_optimizer: bool = RESET_OPTIMIZER
    rank_rule: str = knob("fixed", "how many rows live", choices=("fixed", "schedule", "effective", "energy"))
    rank_from: int = knob(0, "rows that live at the start; 0: --rank", least=0, most=MOST)
    rank_to: int = knob(0, "rows that live at the end of a schedule; 0: --rank", least=0, most=MOST)
    rank_spare: int = knob(2, "rows beyond those that effective rank or energy ask for", least=1, most=MOST)
    rank_energy: float = knob(0.9, "of the merged change, which the rows are to hold", above=0.0, most=1.0)
    heads_rule: str = knob("all", "who takes part in a round", choices=tuple(HEADS))
    taking_part: int = knob(0, "heads that are drawn, or are there at the short end; 0: half", least=0, most=MOST)

    @property
    def gives(self):
        return {"factors", "served W"} | resets(self)

    def check_with(self, config):
        refuse_unused(self)
        rank = max(config.head_ranks or (config.rank,))
        for name, most in (("rank_from", rank), ("rank_to", rank), ("taking_part", config.heads)):
            if (value := getattr(self, name)) > most:
                of = "heads" if name == "taking_part" else "rank, which is the most that can live"
                raise BadInput(f"{flag_name(name)}: expected at most {most}, the {of}, got {value}")

    def build(self, task: Task, config) -> Method:
        plan, steps = config.adapters.plan(task.weights, config.heads, config.seed), max(1, config.steps)
        few = self.taking_part or max(1, config.heads // 2)

        def next_rank(step, k, r, change, heads):
            first, last = (min(r, asked or r) for asked in (self.rank_from, self.rank_to))
            if self.rank_rule == "schedule":
                return between(first, last, step / steps)
            if self.rank_rule == "fixed" or change is None:
                return first
            found = directions(change, self.rank_energy if self.rank_rule == "energy" else None)
            return min(r, math.ceil(found / heads) + self.rank_spare) if found else k

        def active(step):
            return HEADS[self.heads_rule](config.heads, few, step / steps, stream(config.seed, "heads", step))

        settings = self.reset, self.reset_optimizer, config.replicas, weighed(task, config)
        return dynamic(task, plan, self.merge_every, next_rank, active, *settings, config.rule.build(config))
