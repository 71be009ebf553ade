"""Data parallel training on the loop: gradients summed in head order, clipped after the sum, a step for all."""

import numpy as np
import pytest
from support import OPTIMIZERS, RANKS, STEPS, assert_same, make_task, trajectory

from minilte.core import networks, optim, tree
from minilte.methods.data_parallel import Trainee, data_parallel
from minilte.methods.facts import Facts
from minilte.methods.full import full


def biases(task):
    """A trainee of its own: only the biases move."""
    start = {name: layer.c for name, layer in task.weights.items()}

    def params(trained):
        return {name: layer._replace(c=trained[name]) for name, layer in task.weights.items()}

    return Trainee(start, params, lambda grads, _: {name: grads[name].c for name in grads}, params)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_is_that_of_the_optimizer_on_the_clipped_gradient_of_the_whole_batch(name):
    optimizer, lr, _ = OPTIMIZERS[name]
    task, whole = make_task(optimizer, lr, clip=0.1)
    end = trajectory(data_parallel(task, biases(task)), 3)
    trained = {name: layer.c for name, layer in task.weights.items()}
    state, expected = optimizer.init(trained), []
    for step in range(STEPS):
        params = {name: layer._replace(c=trained[name]) for name, layer in task.weights.items()}
        _, grads = networks.loss_and_grads(task.net, params, *whole(step))
        grads = optim.clip({name: grads[name].c for name in grads}, 0.1)
        trained, state = optimizer.update(trained, grads, state, task.rate(step))
        expected.append([(layer.W, trained[name]) for name, layer in task.weights.items()])
    assert_same(end, expected)


def test_gradients_are_shared_at_every_step():
    method = full(make_task(optim.sgd(), 0.05)[0])
    assert len(trajectory(method, len(RANKS))) == STEPS and method.every == 1 and method.adds


def test_workers_say_gradients_and_hear_weights_and_the_optimizer_is_the_masters():
    task, _ = make_task(optim.adamw(), 0.01)
    method = data_parallel(task, biases(task))
    main = method.begin()
    workers = [method.local(main, method.enter(n), 0, 1) for n in range(3)]
    assert [worker.index for worker in workers] == [0, 1, 2] and all(np.isfinite(one.loss) for one in workers)
    said = method.tell(workers[1])
    assert list(said) == ["gradients"]
    shapes = [{path: leaf.shape for path, leaf in tree.named(one)} for one in (said, method.like(1, main, 1))]
    assert shapes[0] == shapes[1]
    assert list(method.show(main, 0)) == list(method.frame()) == ["weights"]
    seen = method.view(method.show(main, 0), main, None)
    assert seen.trained is main.trained and seen.opt is None
    assert method.hear(seen, workers[1], 1).grads is None  # nothing is held between steps
    assert method.facts == Facts()


def test_a_workers_part_is_its_part_of_the_batch():
    task, whole = make_task(optim.sgd(), 0.05)  # of 8 rows 3, 3 and 2
    method = data_parallel(task, biases(task))
    said = [method.tell(method.local(method.begin(), method.enter(n), 0, 1)) for n in range(3)]
    total = tree.map(lambda *leaves: sum(leaves), *said)["gradients"]
    _, expected = networks.loss_and_grads(task.net, task.weights, *whole(0))
    for name, grad in total.items():
        np.testing.assert_allclose(grad, expected[name].c, atol=1e-15)  # rounding
