"""Data parallel training in which the optimizer sees every matrix's gradient in r directions: what GaLore and Flora share.

    R = G P          of m x r; where m < n from the other side, R = P^T G of r x n      P: (min(m, n), r)
    W <- (1 - eta lambda) W - eta scale (step of R) P^T                                 the step: the optimizer's, on R

Heads say R, and the gradient of what is not projected, whose step is the optimizer's as it is. Every `every` steps the
bases change: either they come from the summed gradient, and heads say all of it at those steps, or from a seed.

The optimizer moves a matrix of zeros, so that what it returns is the step alone; decay acts on W, decoupled, whatever the
optimizer (which takes the shape of R for that of the matrix, as Muon's rate does). A gradient is clipped as the optimizer sees it, R and the rest together: G is there in few steps alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.core import optim, tree
from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.core.types import Array, Task, Tree, Weights
from minilte.methods.adapters import adapted_names, refuse_ranks
from minilte.methods.data_parallel import Shared
from minilte.methods.facts import Facts
from minilte.methods.full import full
from minilte.settings.knob import MOST, knob

PROJECT_RANK = knob(32, "directions of a projected gradient; a layer uses min(this, m, n)", least=1, most=MOST)
PROJECT_EVERY = knob(200, "steps between new directions", least=1, most=MOST)
PROJECT_LAYERS = knob((), "names of the layers whose gradients are projected, as layer1,layer2; default all")

Bases = dict[str, Array]  # projected layer -> P


class Inside(NamedTuple):
    """What the optimizer remembers of R, and the bases that this is about; {} where a seed tells them."""

    bases: Bases
    state: Tree


def projected(
    task: Task,
    ranks: dict[str, int],
    every: int,
    known: Callable[[Bases, int], Bases],
    found: Callable[[Array, int], Array] | None = None,
    moved: Callable[[Tree, Bases], Tree] = lambda state, turns: state,
    scale: float = 1.0,
    decay: float = 0.0,
) -> Method:
    """The method of layers with these ranks, r <= min(m, n).

    known(bases that are kept, step) are those of a step; found(summed G, r) is a new P, where it comes from there;
    moved(state, layer -> P_old^T P_new) is the optimizer's state in new bases.
    """
    whole = full(task)
    blank = {name: np.zeros((min(W.shape), r), W.dtype) for name, r in ranks.items() for W in [task.weights[name].W]}
    small = inside(task.weights, blank)  # zeros of R's shapes, and the rest

    def dense(step):
        return found is not None and step % every == 0

    def local(main, worker, start, stop):
        worker = whole.local(main, worker, start, stop)
        return worker if dense(start) else worker._replace(grads=inside(worker.grads, known(main.opt.bases, start)))

    def renewed(main, grads, step):
        """The summed gradient inside the bases of a step, these, and the optimizer's state in them."""
        (kept, state), bases = main.opt, known(main.opt.bases, step)
        if dense(step):
            bases = {name: found(grads[name].W, r) for name, r in ranks.items()}
            grads = inside(grads, bases)
        if step and step % every == 0:
            state = moved(state, {name: P.T @ bases[name] for name, P in known(kept, step - 1).items()})
        return optim.clip(grads, task.clip), bases, state

    def merge(main, said, step, each):
        grads, bases, state = renewed(main, said["gradients"], step - 1)
        rate = task.rate(step - 1)
        still = {name: main.trained[name]._replace(W=small[name].W) for name in ranks}
        layers, state = task.optimizer.update(main.trained | still, grads, state, rate)
        for name, P in bases.items():
            W = (1 - rate * decay) * main.trained[name].W + scale * times(P.T, layers[name].W)
            layers[name] = layers[name]._replace(W=W)
        return Shared(layers, Inside(bases if found else {}, state))

    def show(main, step):
        return {"weights": main.trained, "projections": main.opt.bases}

    def held(main, worker, all_heads):
        opt = main.opt if all_heads else main.opt._replace(state=None)
        return {"weights": main.trained, "gradients": main.trained, "optimizer": opt}

    begin = lambda: Shared(task.weights, Inside(blank if found else {}, task.optimizer.init(small)))  # noqa: E731
    return whole._replace(
        begin=begin,
        local=local,
        like=lambda n, main, step: {"gradients": tree.blank(task.weights if dense(step - 1) else small)},
        merge=merge,
        show=show,
        frame=lambda: tree.blank(show(begin(), 0)),
        view=lambda shown, before, said: Shared(shown["weights"], Inside(shown["projections"], None)),
        facts=Facts(held=held),
    )


def times(P: Array, X: Array) -> Array:
    """X P, or P^T X where X is wider than high: R from G, and with P^T in the place of P back again."""
    return P.T @ X if X.shape[0] < X.shape[1] else X @ P


def inside(layers: Weights, bases: Bases) -> Weights:
    """`layers` with R in the place of every matrix that has a basis; None stays None."""
    return {
        name: layer._replace(W=times(bases[name], layer.W)) if name in bases and layer.W is not None else layer
        for name, layer in layers.items()
    }


def turned(state: Tree, turns: Bases, squares: Callable[[Tree, Bases], Tree] = lambda state, turns: state.v) -> Tree:
    """An optimizer's state in new bases: its means of gradients (m, buf) times P_old^T P_new, v as `squares` has it."""
    new = {kind: inside(mean, turns) for kind, mean in state._asdict().items() if kind in ("m", "buf") and mean}
    if "v" in state._fields:
        new["v"] = squares(state, turns)
    if "rest" in state._fields:  # of an optimizer for what another leaves
        new["rest"] = turned(state.rest, turns, squares)
    return state._replace(**new)


def refuse_other_decay(chosen, config) -> None:
    """Raises BadInput where a layer would decay at a rate that is not that of its step."""
    if config.weight_decay and not config.flat().get("muon_last", True):
        raise BadInput(
            f"weight-decay: {chosen.name} decays all matrices at the largest --lr; with --optimizer {config.optimizer.name}"
            " the last layer steps at another, so add --muon-last"
        )


def ranks_of(chosen, weights: Weights) -> dict[str, int]:
    """Layer -> r of a part with these knobs. Raises BadInput where a rank or a name fits no layer."""
    names = adapted_names(weights, chosen.project_layers, "project-layers")
    asked = dict.fromkeys(names, chosen.project_rank)
    refuse_ranks(weights, asked, "project-rank")
    return {name: min(rank, *weights[name].W.shape) for name, rank in asked.items()}
