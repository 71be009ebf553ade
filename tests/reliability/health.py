"""What a bad head costs the others, and what looking after the heads costs."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import tiny

from minilte.core import head as core_head
from minilte.core import lte, tree
from minilte.core.merge import TRUSTING
from minilte.around.guarded import guard
from minilte.run import build
from minilte.run.machine import one_blas_thread
from minilte.run.session import advance, first_state, open_session
from reliability.rows import Row

RUN = dict(data="fashion-mini", model="mlp", widths=(32,), batch=256, rank=8, heads=8, steps=60, merge_every=5)
PLAIN = dict(optimizer="sgd", lr=0.05, alpha=8.0)  # Adam would hide the size of a gradient
BAD = {"not a number": np.nan, "a million times as large": 1e6, "ten times as large, the other way": -10.0}


def measure(full: bool, seed: int) -> list[Row]:
    """The loss with one bad head of eight over that without, and the time with guards over that without."""
    clean, worst = held_out(), 0.0
    for policy in ("skip", "clip"):
        worst = max(worst, *(held_out(policy, factor) / clean for factor in BAD.values()))
    return [
        Row("one bad head of eight, skipped or clipped: loss over clean", f"{worst:.3f}", "<= 1.02", worst <= 1.02),
        cost("stop", 15 if full else 4),
        *([cost("clip", 15)] if full else []),  # it has no target
    ]


def held_out(policy: str = "stop", factor: float = 1.0) -> float:
    """The held-out loss of a run in which head 3's gradients are that many times their own for a third of the steps."""
    session, here = open_session(tiny.config(**RUN | PLAIN, bad_heads=policy)), []
    task, right = session.parts.task, core_head.trained_grads
    watched = task._replace(batch=lambda n, step: (here.append((n, step)), task.batch(n, step))[1])

    def wrong(grads, own):
        head, step = here[-1]
        times = factor if head == 3 and 20 <= step < 40 else 1.0
        return tree.map(lambda g: g * times, right(grads, own))

    made, session.comm.pool = build.make_task, None  # one head after the other
    build.make_task, core_head.trained_grads = lambda *_: watched, wrong
    try:
        session = session._replace(parts=build.build(session.config))
        *_, (record, _) = advance(session, first_state(session))
    finally:
        build.make_task, core_head.trained_grads = made, right
    return record.test_loss


def cost(policy: str, pairs: int) -> Row:
    """Rounds of the default run with a guard over rounds without, in turn."""
    session = open_session(tiny.Config(method="lte"))
    with one_blas_thread():
        rounds = [loop(session, one) for one in (guard(policy), TRUSTING)]
        times = [[seconds(one) for one in rounds] for _ in range(pairs + 1)][1:]
    ratio = statistics.median(a / b for a, b in times)
    what = f"  time of training with --bad-heads {policy} over none"
    if policy == "stop":  # the default, which every run pays
        return Row(what, f"{ratio:.3f}", "<= 1.02", ratio <= 1.02)
    return Row(what, f"{ratio:.3f}", "", None)


def loop(session, one) -> Callable[[], object]:
    """Ten rounds of the session's run under a guard."""
    task, config = session.parts.task, session.config
    ranks, _ = build.head_ranks(config, task.weights)
    plan = build.lora.plan(task.weights, ranks, config.alpha, seed=config.seed)
    method, comm = lte.lte(task, plan, config.merge_every, guard=one), session.comm
    rounds = lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], 10**9)
    return lambda: [next(rounds) for _ in range(10)]


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
