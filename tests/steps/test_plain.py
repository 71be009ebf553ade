"""Plain local steps are those of the method itself."""

from minilte.laws.world import Case, build
from minilte.steps.plain import Plain


def test_nothing_is_changed():
    world = build(Case())
    method = world.method()
    assert Plain().wrap(method, world.task, world.plan, [1.0, 1.0]) is method
