"""The loop of Algorithm 1: rounds, continuation, what it leaves alone. What it computes is tested by the laws."""

import numpy as np
import pytest
from support import RANKS, STEPS, TOGETHER, Alone, as_lists, make_plan, make_task, trajectory

from minilte.core import lte, optim, tree
from minilte.core.method import Meeting, Method, rounds


def plain(every=10, **settings):
    task, _ = make_task(optim.sgd(), 0.05)
    return task, lte.lte(task, make_plan(task), every, **settings)


def start(method, heads=len(RANKS)):
    comm = Alone(heads)
    return comm, TOGETHER, method.begin(), [method.enter(n) for n in comm.mine]


def test_a_round_that_begins_between_merges_ends_at_the_next():
    _, method = plain(8)
    assert [done.step for done in rounds(method, *start(method), 20, start=3)] == [8, 16, 20]


def test_the_last_round_may_be_shorter_and_always_merges():
    _, method = plain(8)
    assert [done.step for done in rounds(method, *start(method), 20)] == [8, 16, 20]


def test_no_step_changes_nothing():
    _, method = plain()
    assert list(rounds(method, *start(method), 0)) == []


def test_going_on_from_a_merge_is_the_same_run():
    task, _ = make_task(optim.adamw(), 0.01)
    method = lte.lte(task, make_plan(task), every=5)
    *_, first = rounds(method, *start(method), 15)
    *_, rest = rounds(method, Alone(3), TOGETHER, first.main, first.heads, STEPS, start=15)
    for mine, theirs in zip(as_lists(rest.main.weights), trajectory(method, 3)[-1], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_a_round_carries_the_losses_of_all_heads_and_what_they_see():
    _, method = plain()
    for done in rounds(method, *start(method), 30):
        assert done.losses == [head.loss for head in done.heads] and len(done.losses) == 3
        assert done.shown is done.main  # everyone hears everything


def same(one, other):
    pairs = zip(tree.leaves(one), tree.leaves(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)  # a head without a round has a loss of NaN


def test_nothing_passed_in_is_changed():
    task, _ = make_task(optim.adamw(), 0.01)
    method = lte.lte(task, make_plan(task), every=3)
    comm, meeting, main, heads = start(method)
    before = tree.map(np.copy, (task.weights, main, heads))
    for done in rounds(method, comm, meeting, main, heads, 9):
        held = tree.map(np.copy, (done.main, done.heads))
        *_, _ = rounds(method, comm, meeting, done.main, done.heads, done.step + 4, start=done.step)
        assert same((done.main, done.heads), held)
    assert same((task.weights, main, heads), before)


def told(log, **changes):
    """A method that does nothing but say in which order it is asked."""

    def local(shown, head, start, stop):
        log.append(("local", shown, head, start, stop))
        return head + 100

    def hear(shown, head, step):
        log.append(("hear", shown, head, step))
        return head - 100

    nothing = dict.fromkeys(Method._fields[: Method._fields.index("adds")])
    return Method(**nothing | dict(every=2, local=local, hear=hear) | changes)


def meeting_of(log):
    def merge(comm, method, main, shown, heads, step):
        log.append(("merge", main, shown, tuple(heads), step))
        return main + 1, -main - 1, heads, [0.5]

    return Meeting(lambda comm, method, main, step: (log.append(("open", main, step)), (main, -main))[1], merge)


def test_heads_see_what_is_shown_and_the_meeting_sees_the_main_state():
    log = []
    done = list(rounds(told(log), Alone(2), meeting_of(log), 7, [0, 1], 3))
    assert log == [
        ("open", 7, 0),
        *(("local", -7, n, 0, 2) for n in (0, 1)),
        ("merge", 7, -7, (100, 101), 2),
        *(("hear", -8, n, 2) for n in (100, 101)),
        *(("local", -8, n, 2, 3) for n in (0, 1)),
        ("merge", 8, -8, (100, 101), 3),
        *(("hear", -9, n, 3) for n in (100, 101)),
    ]
    assert [tuple(one) for one in done] == [(2, 8, [0, 1], [0.5], -8), (3, 9, [0, 1], [0.5], -9)]


@pytest.mark.parametrize("begin", [0, 1])
def test_a_faster_way_for_many_heads_takes_the_place_of_local_steps(begin):
    log = []

    def together(shown, heads, start, stop, each):
        log.append(("together", shown, tuple(heads), start, stop, each(abs, [-1])))
        return [head + 100 for head in heads]

    method = told(log, together=together)
    list(rounds(method, Alone(2), meeting_of(log), 7, [0, 1], 2, start=begin))
    assert log[1] == ("together", -7, (0, 1), begin, 2, [1]) and not any(what == "local" for what, *_ in log)
