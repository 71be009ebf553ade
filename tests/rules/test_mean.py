"""The paper's merge as a choice of settings; its arithmetic is tested with the core."""

from tiny import config

from minilte.core.lte import MEAN, merged
from minilte.laws.world import Case, build
from minilte.rules.mean import Mean


def test_it_is_the_rule_of_the_core_and_the_one_of_a_run_without_a_choice():
    assert (
        Mean().build(config()) is MEAN
        and config().rule.build(config()) is MEAN
        and config(merge_rule="mean") == config()
    )


def test_it_keeps_nothing_between_merges_and_bounds_the_rank():
    world = build(Case())
    method = world.method()
    heads = [method.local(method.begin(), method.enter(n), 0, 2) for n in range(2)]
    work = (
        world.task.weights,
        [method.tell(head) for head in heads],
        method.begin().then,
        world.plan.scales,
        [0.5] * 2,
    )
    weights, state = MEAN.merge(MEAN.init(world.task.weights), *work, map)
    assert state is None and MEAN.bounded
    expected = merged(*work)
    assert all((weights[name].W == expected[name].W).all() for name in weights)
