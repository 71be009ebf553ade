"""What a bad head costs the others."""

import numpy as np
import tiny

from minilte.core import lte, tree
from minilte.run import build
from minilte.run.session import advance, first_state, open_session
from reliability.rows import Row

RUN = dict(data="fashion-mini", model="mlp", widths=(32,), batch=256, rank=8, heads=8, steps=60, merge_every=5)
PLAIN = dict(optimizer="sgd", lr=0.05, alpha=8.0)  # Adam would hide the size of a gradient
BAD = {"not a number": np.nan, "a million times as large": 1e6, "ten times as large, the other way": -10.0}


def measure(full: bool, seed: int) -> list[Row]:
    """The loss with one bad head of eight over that without."""
    clean, worst = held_out(), 0.0
    for policy in ("skip", "clip"):
        worst = max(worst, *(held_out(policy, factor) / clean for factor in BAD.values()))
    what = "one bad head of eight, skipped or clipped: loss over clean"
    return [Row(what, f"{worst:.3f}", "<= 1.02", worst <= 1.02)]


def held_out(policy: str = "stop", factor: float = 1.0) -> float:
    """The held-out loss of a run in which head 3's gradients are that many times their own for a third of the steps."""
    config, here = tiny.Config(**RUN | PLAIN, bad_heads=policy), []
    task_of, right = build.make_task, lte.trained_grads

    def watched(*settings):
        task = task_of(*settings)
        return task._replace(batch=lambda n, step: (here.append((n, step)), task.batch(n, step))[1])

    def wrong(grads, own):
        head, step = here[-1]
        times = factor if head == 3 and 20 <= step < 40 else 1.0
        return tree.map(lambda g: g * times, right(grads, own))

    build.make_task, lte.trained_grads = watched, wrong
    try:
        session = open_session(config)
        session.comm.pool = None  # one head after the other
        *_, (record, _) = advance(session, first_state(session))
    finally:
        build.make_task, lte.trained_grads = task_of, right
    return record.test_loss
