"""What an optimizer remembers of adapters: pruned, and forgotten by rows."""

import numpy as np
import pytest
from support import make_plan, make_task

from minilte.core import optim, tree
from minilte.core.head import replica_of
from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.methods.memory import PRUNE, forgotten, pruned
from minilte.optimizers.muon import muon


def remembered(optimizer):
    """The state over (factors, replicas) after three steps along random gradients."""
    task, _ = make_task(optimizer, 0.01)
    now = make_plan(task).draw(0, 0)
    trained = now, replica_of(task.weights, now)
    state = optimizer.init(trained)
    for step in range(3):
        grads = tree.map(lambda leaf: stream(step, "check").standard_normal(leaf.shape), trained)
        trained, state = optimizer.update(trained, grads, state, 0.01)
    return state


def test_an_optimizer_forgets_the_rows_that_do_not_live_and_nothing_else():
    full = Adapter(np.ones((3, 4)), np.ones((5, 3)))
    state = {"m": ({"layer1": full, "my.layer1": full}, {"layer1": np.ones(5)}), "count": np.array(7)}
    new = forgotten(state, {"layer1": 1, "my.layer1": 3})
    assert all(leaf.all() for leaf in new["m"][0]["my.layer1"])  # a name that another ends with
    assert new["m"][0]["layer1"].A.tolist() == [[1] * 4, [0] * 4, [0] * 4]
    assert new["m"][0]["layer1"].B.tolist() == [[1, 0, 0]] * 5
    assert new["count"] == 7 and new["m"][1]["layer1"].all() and state["m"][0]["layer1"].A.all()


def test_pruning_by_hand():
    x = np.array([[4.0, -3.0, 2.0, -1.0, 0.5]])
    assert PRUNE["magnitude"](x, 0.5, None).tolist() == [[True, True, False, False, False]]
    assert PRUNE["magnitude"](x, 0.99, None).tolist() == [[True, False, False, False, False]]
    assert PRUNE["magnitude"](x, 0.0, None).all()
    assert not PRUNE["magnitude"](x, 1.0, None).any() and not PRUNE["zero"](x, 0.0, None).any()
    many, rng = np.ones((100, 100), np.float32), stream(0, "check")
    assert abs(PRUNE["random"](many, 0.7, rng).mean() - 0.3) < 0.02  # four deviations of 0.005
    assert PRUNE["random"](x, 0.0, rng).all() and not PRUNE["random"](x, 1.0, rng).any()
    assert not PRUNE["magnitude"](np.zeros((2, 2)), 0.5, None).any()


@pytest.mark.parametrize("prune", PRUNE)
def test_an_entry_is_kept_or_forgotten_in_all_arrays_of_the_state(prune):
    state = remembered(optim.adamw())
    after = pruned(state, prune, 0.6, stream(0, "check"))
    for name in state.m[0]:
        for was, m, v in zip(state.m[0][name], after.m[0][name], after.v[0][name], strict=True):
            assert np.array_equal(m != 0, v != 0) and ((m == 0) | (m == was)).all()
            assert prune == "random" or np.count_nonzero(m) == (
                0 if prune == "zero" else int(np.ceil(0.4 * (m.size - 1)))
            )


@pytest.mark.parametrize("optimizer", [optim.sgd(), optim.sgd(0.9), optim.adamw(), muon(last="layer3")])
def test_of_any_state_the_arrays_of_A_and_B_are_pruned_and_no_others(optimizer):
    state = remembered(optimizer)
    after = dict(tree.named(pruned(state, "zero", 0.0, None)))
    factors = {path for path in after if path[-2:] in (".A", ".B")}
    assert len(factors) == len([path for path, _ in tree.named(state) if ".layer" in path and path[-1] in "AB"])
    for path, leaf in tree.named(state):
        assert not after[path].any() if path in factors else after[path] is leaf, path
    assert state == optim.SGDState(None) or factors and factors != set(after)
