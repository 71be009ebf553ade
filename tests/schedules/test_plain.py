"""The schedules from settings are the shapes of their names."""

import pytest
from tiny import config

from minilte.schedules.plain import CONSTANT, COSINE, LINEAR, SHAPES, schedule


@pytest.mark.parametrize(("part", "shape"), [(CONSTANT, "constant"), (LINEAR, "linear"), (COSINE, "cosine")])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3])
def test_a_schedule_is_that_of_its_settings(part, shape, warmup):
    rate, expected = part(warmup).build(0.3, 40), schedule(shape, 0.3, 40, warmup)
    assert part.name == shape and [rate(step) for step in range(40)] == [expected(step) for step in range(40)]


def test_every_shape_can_be_chosen_and_the_warm_up_is_a_twentieth_unless_given():
    assert [part.name for part in (CONSTANT, LINEAR, COSINE)] == list(SHAPES)
    for shape in SHAPES:
        made = config(schedule=shape, steps=40).schedule.build(0.3, 40)
        assert [made(step) for step in range(3)] == [schedule(shape, 0.3, 40, 0.05)(step) for step in range(3)]
