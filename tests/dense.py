"""The dense oracle on the problems of `support`: what it starts from, where it merges, and with which rule."""

from support import STEPS, as_lists

from minilte.laws import oracle
from minilte.laws.exact import redrawn


def dense_start(task, plan):
    """Weights, adapters and scales at the start, as the dense oracle takes them."""
    adapters = [[tuple(pair) for pair in plan.draw(n, 0).values()] for n in range(len(plan.ranks))]
    return as_lists(task.weights), adapters, [list(scales.values()) for scales in plan.scales]


def up_to_merges(run, batch):
    """The steps of an `oracle.Explorer`; yields their number where it has to merge, which is left to the caller."""
    for t in range(STEPS):
        for n in range(run.N):
            run.step(n, t, *batch(n, t))
        if (t + 1) % run.s.every == 0 or t + 1 == STEPS:
            yield t + 1


def by_rule(task, plan, w, settings, merged, whole=False):
    """LTE by matrices with another rule: every head has its own full W - s V + s B A, and D_n = s (B A - V) as a matrix.

    merged([D_1 … D_N], w) is the change of W in a layer; biases are averaged. `whole`: merged gets a list of each head's
    changes, those of all layers and then those of all biases, and gives such a list of what becomes of them.
    """
    run = oracle.Explorer(*dense_start(task, plan), settings, w, redraw=redrawn(plan))
    for t in up_to_merges(run, task.batch):
        before, heads = run.weights(), range(run.N)
        moves = [[run.scales[n][i] * (run.B[n][i] @ run.A[n][i] - run.V[n][i]) for i in run.L] for n in heads]
        biases = [[run.bias[n][i] - run.c[i] for i in run.L] for n in heads]
        run.merge(t)  # V, biases, resets
        if whole:
            changes = merged([moves[n] + biases[n] for n in heads], w)
            run.c = [c + change for (_, c), change in zip(before, changes[len(before) :], strict=True)]
            run.bias = [[c.copy() for c in run.c] for _ in heads]
        else:
            changes = [merged(list(layer), w) for layer in zip(*moves)]
        run.W = [W + change for (W, _), change in zip(before, changes)]
        yield run.weights()
