"""AdamW from settings takes the steps of the formula."""

import numpy as np

from minilte.core import optim, tree
from minilte.core.random import stream
from minilte.optimizers.adamw import AdamW


def steps(optimizer, count=5):
    p = {"a": stream(0, "check").standard_normal((3, 4))}
    state = optimizer.init(p)
    for step in range(count):
        p, state = optimizer.update(p, {"a": stream(step, "check", 1).standard_normal((3, 4))}, state, 0.1)
    return tree.leaves((p, state))


def test_it_is_that_of_its_settings():
    for settings, expected in (
        ({}, optim.adamw()),
        (dict(beta1=0.5, beta2=0.7, eps=0.1, weight_decay=0.2), optim.adamw(0.5, 0.7, 0.1, 0.2)),
    ):
        pairs = zip(steps(AdamW(**settings).build(None)), steps(expected), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    assert AdamW().build(None).in_place is not None
