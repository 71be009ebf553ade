"""The mean over samples: the mean with the heads' parts of the data as shares."""

import pytest
import tiny
from support import assert_same, trajectory

from minilte.core.errors import BadInput
from minilte.core.lte import MEAN, lte
from minilte.methods.lte import weighed
from minilte.rules.weighted import Weighted
from minilte.run.build import build
from minilte.run.session import advance, first_state

UNEQUAL = dict(heads=3, batch=12, shard_sizes=(0.5, 0.25, 0.25), dtype="float64")


def test_it_is_the_mean_with_shares_by_the_data():
    config = tiny.config(merge_rule="weighted", **UNEQUAL)
    task = build(config).task
    assert task.shards == (0.5, 0.25, 0.25) and config.rule == Weighted() and Weighted().build(config) is MEAN
    plan = config.adapters.plan(task.weights, 3, config.seed)
    mine = trajectory(build(config).method, 3, 20)
    assert_same(mine, trajectory(lte(task, plan, config.merge_every, w=[0.5, 0.25, 0.25]), 3, 20))
    equal = trajectory(build(tiny.config(**UNEQUAL)).method, 3, 20)
    assert abs(mine[-1][0][0] - equal[-1][0][0]).max() > 1e-6


@pytest.mark.parametrize("method", ["fedavg", "diloco", "fedit", "fedex"])
def test_methods_that_average_weigh_heads_by_their_data(method):
    """A merge is a mean over samples: so the first after a step of plain SGD is a step on the whole batch."""
    plain = dict(outer_rate=1.0, outer_momentum=0.0) if method == "diloco" else {}
    settings = UNEQUAL | plain | dict(method=method, optimizer="sgd", lr=0.01, merge_every=1)
    built, whole = (build(tiny.config(**settings | changes)) for changes in ({}, dict(heads=1, shard_sizes=())))
    assert_same(trajectory(built.method, 3, 1), trajectory(whole.method, 1, 1))


def test_changing_heads_are_weighed_by_their_data_too():
    mine, plain = (
        trajectory(build(tiny.config(method=method, merge_rule="weighted", **UNEQUAL)).method, 3, 20)
        for method in ("dynamic", "lte")
    )
    assert_same(mine, plain)


@pytest.mark.parametrize("outer", [{}, dict(merge_rule="outer", outer_over="weighted")])
def test_inside_an_outer_step_too_and_by_sums(outer):
    settings = UNEQUAL | dict(merge_rule="weighted") | outer
    config = tiny.config(**settings)
    assert weighed(build(config).task, config) == [0.5, 0.25, 0.25]
    if not outer:
        session = tiny.session(**settings, topology="allreduce")
        *_, (_, summed) = advance(session, first_state(session))
        *_, (_, gathered) = advance(tiny.session(**settings), first_state(tiny.session(**settings)))
        a, b = (
            s.built.method.weights(m.main)["layer1"].W
            for s, m in ((session, summed), (tiny.session(**settings), gathered))
        )
        assert abs(a - b).max() < 1e-12


def test_inside_an_outer_step_shares_of_ones_own_are_refused_too():
    with pytest.raises(BadInput, match="^shares: outer-over weighted has shares of its own, by the data; leave"):
        tiny.config(merge_rule="outer", outer_over="weighted", shares=(0.75, 0.25))
