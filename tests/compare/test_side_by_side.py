"""Jobs in processes of their own: all of them, as many at a time as asked, and no process is left, whatever happens."""

import os
import signal
import time

import pytest

from minilte.compare.side_by_side import Interrupted, Lost, side_by_side
from minilte.core.errors import BadInput

NEVER = lambda: 0  # noqa: E731


def children():
    """Processes of which this one is the parent."""
    mine = os.path.join("/proc", str(os.getpid()), "task", str(os.getpid()), "children")
    with open(mine, encoding="ascii") as file:
        return file.read().split()


@pytest.fixture(autouse=True)
def none_is_left():
    before = set(children())
    yield
    assert set(children()) <= before


@pytest.mark.parametrize("width", [1, 2, 7])
def test_every_job_is_done_once_in_a_process_of_its_own(width):
    values = [object() for _ in range(5)]  # what cannot be sent is there without being sent
    jobs = [lambda k=k, value=value: (k, os.getpid(), id(value)) for k, value in enumerate(values)]
    found = dict(side_by_side(jobs, width, NEVER))
    assert [found[k][0] for k in range(5)] == list(range(5))
    assert (
        os.getpid() not in {pid for _, pid, _ in found.values()} and len({pid for _, pid, _ in found.values()}) == 5
    )
    assert [found[k][2] for k in range(5)] == list(map(id, values))


def test_at_most_so_many_at_a_time(tmp_path):
    def job(k):
        (tmp_path / f"{k}").touch()
        most = 0
        for _ in range(20):
            most = max(most, len(list(tmp_path.iterdir())))
            time.sleep(0.002)
        (tmp_path / f"{k}").unlink()
        return most

    found = dict(side_by_side([lambda k=k: job(k) for k in range(6)], 2, NEVER))
    assert max(found.values()) <= 2


def test_an_error_of_a_job_is_raised_here_and_the_others_end():
    def wrong():
        raise BadInput("rank: expected less")

    with pytest.raises(BadInput, match="^rank: expected less$"):
        list(side_by_side([wrong, lambda: time.sleep(60)], 2, NEVER))


def test_what_nobody_expected_comes_with_its_trace():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(side_by_side([lambda: 1 / 0], 1, NEVER))


def test_a_child_that_is_killed_is_said_to_be_lost():
    with pytest.raises(Lost, match="ended without a word.*exit code -9"):
        list(side_by_side([lambda: os.kill(os.getpid(), signal.SIGKILL)], 1, NEVER))


def test_a_wish_to_stop_ends_the_children_soon():
    begun = time.monotonic()
    with pytest.raises(Interrupted) as stopped:
        list(side_by_side([lambda: time.sleep(60)] * 4, 2, lambda: 15 if time.monotonic() > begun + 0.3 else 0))
    assert stopped.value.args == (15,) and time.monotonic() < begun + 20


def test_what_was_done_before_the_wish_is_not_lost():
    done = []
    with pytest.raises(Interrupted):
        for number, outcome in side_by_side(
            [lambda: 1, lambda: 2, lambda: time.sleep(60)], 1, lambda: 2 * (len(done) == 2)
        ):
            done.append((number, outcome))
    assert done == [(0, 1), (1, 2)]


def test_no_jobs_are_no_work():
    assert list(side_by_side([], 2, NEVER)) == []
