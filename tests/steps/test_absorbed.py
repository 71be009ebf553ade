"""Two forms of a head's layer are the same: V beside W as factors, or absorbed into W."""

import numpy as np
from hypothesis import given

from minilte.core import lora, tree
from minilte.laws.strategies import cases
from minilte.laws.world import Case, apart, build, run, weights_along
from minilte.steps.absorbed import absorbed


def both(case):
    world = build(case)
    return world.method(), absorbed(world.method(), world.plan)


@given(cases(activation="tanh", reset="none"))
def test_an_absorbed_correction_is_the_correction(case):
    plain, other = (weights_along(method, case.heads, case.steps) for method in both(case))
    assert apart(other, plain) < 1e-8  # rounding of a dozen steps; Adam divides by roots as small as eps


@given(cases(reset="none"))
def test_the_main_state_keeps_its_V(case):
    plain, other = (run(method, case.heads, case.steps)[-1] for method in both(case))
    shapes = [[(path, leaf.shape) for path, leaf in tree.named(done.main.then)] for done in (plain, other)]
    assert shapes[0] == shapes[1]
    assert [V is head.now for V, head in zip(other.main.then, other.heads)] == [True] * case.heads


def test_a_head_computes_with_its_own_W_and_its_adapters_alone():
    world, seen = build(Case(ranks=(2, 1), steps=2)), []
    watched = world.method()._replace(local=lambda main, head, start, stop: (seen.append(main), head)[1])
    main = run(world.method(), 2, 2)[-1].main
    before = tree.map(np.copy, main.weights)
    absorbed(watched, world.plan).local(main, world.method().enter(1), 2, 4)
    (mine,) = seen
    assert mine.then is None
    for name, layer in mine.weights.items():
        V = lora.product(main.then[1][name])
        np.testing.assert_allclose(layer.W, main.weights[name].W - world.plan.scales[1][name] * V, atol=1e-14)
        assert layer.c is main.weights[name].c and np.array_equal(main.weights[name].W, before[name].W)
