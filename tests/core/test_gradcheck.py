"""The gradient check accepts what is right and sees what is wrong, also what an all-ones dy would miss."""

import numpy as np
import pytest

from minilte.core import layers
from minilte.core.gradcheck import gradient_error
from minilte.core.random import stream
from minilte.core.types import Adapter

ARGS = [stream(1, "check", i).standard_normal(shape) for i, shape in enumerate([(4, 3), (2, 3), (2,)])]


def planted(change):
    def back(dy, cache, wrt_x=True):
        return change(*layers.linear_back(dy, cache))

    return back


BUGS = {
    "permuted rows": lambda dx, dW, dc: (dx[::-1], dW, dc),
    "row mean for row": lambda dx, dW, dc: (0 * dx + dx.mean(axis=0), dW, dc),
    "one bias too small": lambda dx, dW, dc: (dx, dW, dc * (1 + 1e-5)),
    "sign of one weight": lambda dx, dW, dc: (dx, dW * np.where(np.arange(3) == 1, -1, 1), dc),
}


@pytest.mark.parametrize("method, bar", [("central", 1e-7), ("complex", 1e-12)])
@pytest.mark.parametrize("name", BUGS)
def test_planted_bugs_are_seen(name, method, bar):
    assert gradient_error(layers.linear, layers.linear_back, ARGS, method=method) < bar
    assert gradient_error(layers.linear, planted(BUGS[name]), ARGS, method=method) > 1e-6


def test_trees_are_checked_leaf_by_leaf():
    x, W, c = ARGS
    pair = Adapter(np.ones((2, 3)), np.ones((2, 2)))

    def wrong(dy, cache, wrt_x=True):
        *rest, grad, none = layers.lora_back(dy, cache)
        return (*rest, Adapter(grad.A, grad.B.T), none)

    args = (x, W, c, 0.5, pair, None)
    assert gradient_error(layers.lora, layers.lora_back, args, frozen=[1]) < 1e-7
    assert gradient_error(layers.lora, wrong, args, frozen=[1]) > 1e-3


@pytest.mark.parametrize("method", ["central", "complex"])
def test_a_gradient_that_is_missing_or_nan_or_of_another_shape_is_an_infinite_error(method):
    for change in (
        lambda dx, dW, dc: (dx, None, dc),
        lambda dx, dW, dc: (dx, dW, dc * np.nan),
        lambda dx, dW, dc: (dx.reshape(1, *dx.shape), dW, dc),
        lambda dx, dW, dc: (dx, dW.ravel(), dc),
    ):
        assert gradient_error(layers.linear, planted(change), ARGS, method=method) == np.inf


def test_small_gradients_are_compared_on_the_scale_of_the_floor():
    f = lambda x: (1e-9 * x, None)  # noqa: E731
    assert gradient_error(f, lambda dy, _: 0 * dy, (ARGS[0],)) < 1e-5  # an error of 1e-9 over 1e-3


def test_large_gradients_are_compared_relatively():
    f = lambda x: (1e6 * x, None)  # noqa: E731
    error = gradient_error(f, lambda dy, _: (1e6 + 1) * dy, (ARGS[0],), method="complex")
    assert error == pytest.approx(1e-6, rel=1e-3)


def test_what_is_not_a_floating_point_array_is_not_checked_and_an_empty_one_is_right():
    pick = lambda x, labels: (x[labels], (x, labels))  # noqa: E731

    def back(dy, cache):
        x, labels = cache
        dx = np.zeros_like(x)
        np.add.at(dx, labels, dy)
        return dx, None

    assert gradient_error(pick, back, (ARGS[0], np.array([2, 0]))) < 1e-9
    assert gradient_error(lambda x: (x, None), lambda dy, _: dy, (np.empty((0, 3)),)) == 0


def test_the_seed_is_0_unless_given():
    wrong = planted(BUGS["permuted rows"])
    assert gradient_error(layers.linear, wrong, ARGS) == gradient_error(layers.linear, wrong, ARGS, 0)


def test_another_seed_is_another_upstream_gradient():
    wrong = planted(BUGS["permuted rows"])
    assert gradient_error(layers.linear, wrong, ARGS, 1) != gradient_error(layers.linear, wrong, ARGS, 2)
