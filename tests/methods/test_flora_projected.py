"""Flora's directions: from a seed alone, and of the right size."""

import numpy as np
from support import SEED, as_lists, make_task, trajectory

from minilte.core import optim, tree
from minilte.core.random import stream
from minilte.methods.flora_projected import flora
from minilte.methods.full import full

R = {"layer1": 2, "layer2": 3, "layer3": 1}


def first_step(task, seed, ranks=R):
    """How every matrix moves in the first step."""
    done = trajectory(flora(task, ranks, seed=seed), 3, 1)
    return [new - W for (new, _), (W, _) in zip(done[0], as_lists(task.weights), strict=True)]


def test_over_seeds_the_mean_of_a_step_is_that_of_full_rank_training():
    task, _ = make_task(optim.sgd(), 0.05)
    task = task._replace(rate=lambda step: 0.05)
    expected = [new - W for (new, _), (W, _) in zip(trajectory(full(task), 3, 1)[0], as_lists(task.weights))]
    steps = [first_step(task, seed) for seed in range(400)]
    for i, (right, r) in enumerate(zip(expected, R.values())):
        of = np.array([step[i] for step in steps])
        small = min(right.shape)  # var of an entry: at most (n + 1) / r of the gradient's square
        bound = 5 * np.sqrt((small + 1) / r / len(steps)) * np.linalg.norm(right)
        assert np.linalg.norm(of.mean(axis=0) - right) < bound < np.linalg.norm(right)


def test_directions_are_of_a_seed_a_layer_and_a_period_whatever_else_is_projected():
    task, _ = make_task(optim.sgd(), 0.05)
    one, again, other = (first_step(task, seed) for seed in (1, 1, 2))
    assert all(map(np.array_equal, one, again)) and not any(map(np.allclose, one, other))
    alone = first_step(task, 1, {"layer2": 3})
    assert np.array_equal(alone[1], one[1])
    A = stream(1, "flora", 1, 0).standard_normal((4, 3)) / np.sqrt(3)
    assert np.linalg.matrix_rank(np.hstack([A, one[1]]), 1e-9) == 3


def test_nothing_of_the_directions_is_kept_or_sent():
    task, _ = make_task(optim.sgd(), 0.05)
    method = flora(task, R, seed=SEED)
    assert method.begin().opt.bases == {} and tree.nbytes(method.frame()["projections"]) == 0
    assert [method.like(0, method.begin(), step)["gradients"]["layer1"].W.shape for step in (1, 2)] == [(6, 2)] * 2
