"""What an optimizer remembers of adapters, and how a part of it is forgotten."""

import numpy as np

from minilte.core import tree
from minilte.core.types import Tree

PRUNE = {  # (array, ratio, random generator) -> where it is kept
    "magnitude": lambda x, ratio, rng: (abs(x) > np.quantile(abs(x), ratio)) | (ratio == 0),
    "random": lambda x, ratio, rng: rng.random(x.shape) >= ratio,
    "zero": lambda x, ratio, rng: np.zeros(x.shape, bool),
}


def pruned(state: Tree, prune: str, ratio: float, rng: np.random.Generator) -> Tree:
    """An optimizer state over (factors, replicas) with what is of the factors pruned, by a mask for each A and B."""
    paths, masks = iter([path for path, _ in tree.named(state)]), {}

    def left(x):
        _, of_factors, place = next(paths).rpartition(".0.")  # as in m.0.layer1.A and v.0.layer1.A
        if of_factors and place not in masks:
            masks[place] = PRUNE[prune](x, ratio, rng)
        return x * masks[place] if of_factors else x

    return tree.map(left, state)


def forgotten(opt: Tree, ranks: dict[str, int]) -> Tree:
    """An optimizer's state without what it remembers of the rows from ranks[layer] on."""
    paths = iter([path for path, _ in tree.named(opt)])

    def clean(leaf):
        layer, _, factor = f".{next(paths)}".rpartition(".")
        name = max((name for name in ranks if layer.endswith(f".{name}")), key=len, default="")
        dead = {"A": np.s_[ranks.get(name, 0) :], "B": np.s_[:, ranks.get(name, 0) :]}.get(factor)
        if not name or dead is None or not leaf[dead].any():
            return leaf
        new = leaf.copy()
        new[dead] = 0
        return new

    return tree.map(clean, opt)
