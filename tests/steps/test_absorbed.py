"""Two forms of a head's layer are one: V beside W as factors, or absorbed into W."""

from hypothesis import given

from minilte.core import tree
from minilte.steps.absorbed import absorbed_steps
from minilte.laws.strategies import cases
from minilte.laws.world import apart, build, run, weights_along


@given(cases(activation="tanh"))
def test_an_absorbed_correction_is_the_correction(case):
    world = build(case)
    plain, other = (
        weights_along(world.method(**way), case.heads, case.steps) for way in ({}, {"local_steps": absorbed_steps})
    )
    assert apart(other, plain) < 1e-8  # rounding of a dozen steps; Adam divides by roots as small as eps


@given(cases(reset="none"))
def test_the_heads_keep_their_V(case):
    world = build(case)
    plain, other = (
        run(world.method(**way), case.heads, case.steps)[-1] for way in ({}, {"local_steps": absorbed_steps})
    )
    shapes = [
        [(path, leaf.shape) for head in done.heads for path, leaf in tree.named(head.then)] for done in (plain, other)
    ]
    assert shapes[0] == shapes[1]
