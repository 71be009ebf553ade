"""A process that is behind takes no steps."""

import pytest

from minilte.around.catching_up import catching_up
from minilte.laws.world import Case, build
from minilte.steps.stacked import stacked_steps

WORLD = build(Case(ranks=(2, 1)))


def test_no_steps_are_taken_while_a_merge_is_over_already_and_all_else_stays():
    over, plain = [False], WORLD.method()
    method = catching_up(plain, lambda: over[0])
    main, head = method.begin(), method.enter(1)
    assert method.local(main, head, 0, 2).loss == plain.local(main, head, 0, 2).loss
    over[0] = True
    assert method.local(main, head, 0, 2) is head
    over[0] = False
    assert method.local(main, head, 0, 2) is not head
    assert method._replace(local=plain.local) == plain


@pytest.mark.parametrize("behind", [False, True])
def test_neither_are_steps_of_many_heads_together(behind):
    fast = WORLD.method()._replace(together=stacked_steps(2, WORLD.task, WORLD.plan, [1.0, 1.0]))
    method = catching_up(fast, lambda: behind)
    main, heads = method.begin(), tuple(method.enter(n) for n in range(2))
    done = method.together(main, heads, 0, 2, map)
    assert isinstance(done, list) and all((new is old) is behind for new, old in zip(done, heads, strict=True))
    assert catching_up(WORLD.method(), lambda: behind).together is None
