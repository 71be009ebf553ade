"""How a bug is planted: in a rule on trial, in a layer's pair, in LTE; and whether a law sees it."""

from minilte.core import layers, lte, networks
from minilte.core.types import Adapted, Rule
from minilte.laws import LAWS, Variant, try_law


def rule(wrong):
    """A rule without state from merge(weights, sent, then, scales, w)."""
    return Rule(lambda weights: None, lambda state, *args: (wrong(*args[:5]), state))


def falls(name, variant=Variant(), examples=60):
    """Does a number break the law? That a bug crashes says nothing of it.

    A search repeats and varies what it drew before, so a single choice of four may never come; a second search begins anew.
    """
    tries = (try_law(LAWS[name], examples, seed=seed, variant=variant, shrink=False) for seed in (1, 2))
    return any(not verdict.holds and verdict.trouble is None for verdict in tries)


def change_pair(monkeypatch, forward=None, backward=None):
    pair = networks.PAIRS[Adapted]
    monkeypatch.setitem(networks.PAIRS, Adapted, (forward or pair[0], backward or pair[1]))


def adapter_grad(change):
    """lora_back with the gradient of the adapter changed."""
    right = layers.lora_back

    def back(dy, cache, wrt_x=True):
        dx, dW, dc, ds, grad, dV = right(dy, cache, wrt_x)
        return dx, dW, dc, ds, change(grad, cache), dV

    return back


def lte_with(change):
    """LTE with other settings: change(plan, settings) -> settings."""

    def plant(mp):
        right = lte.lte
        mp.setattr(lte, "lte", lambda task, plan, **settings: right(task, plan, **change(plan, settings)))

    return plant
