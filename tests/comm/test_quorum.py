"""A quorum goes on without who is late, keeps what it has to say, and hears of it again."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.comm.quorum import Quorum

LONG = 60.0  # seconds of grace that nobody waits for


def data(process, at):
    return np.full(process + 1, 10 * at + process, np.uint8)


@settings(max_examples=25)
@given(size=st.integers(1, 5), need=st.integers(1, 5), rounds=st.integers(1, 4))
def test_where_nobody_is_late_everything_arrives_as_by_any_transport(size, need, rounds):
    def work(transport):
        quorum, heard = Quorum(transport, [1] * size, min(need, size), LONG), []
        for at in range(rounds):
            counts = [p + 1 for p in range(size)]
            everything = quorum.gather(data(quorum.process, at), counts)
            told = np.zeros(3, np.uint8) if quorum.process else np.array([at, 1, 2], np.uint8)
            quorum.broadcast(told[:1], told[1:], newest=True)
            heard.append((everything, told, quorum.objects(quorum.process), quorum.late))
        return heard

    for process, heard in enumerate(threads.run(size, work)):
        for at, (everything, told, objects, late) in enumerate(heard):
            if process == 0:
                assert np.array_equal(everything, np.concatenate([data(p, at) for p in range(size)]))
            assert told.tolist() == [at, 1, 2] and objects == list(range(size)) and not late


@pytest.mark.parametrize(("grace", "parting"), [(5.0, 5.0), (0.0, 1.0)])
def test_at_the_end_the_late_have_the_grace_and_at_least_a_second(grace, parting):
    assert threads.run(1, lambda transport: Quorum(transport, [1], 1, grace).inner.parting) == [parting]


def a_stall(missed, back, size=3, late=2, after=2):
    """The merges of process 0 and of a process that is away from its merge `after` on, for so many merges."""
    away, merges = threading.Event(), after + missed + back

    def work(transport):
        quorum, heard = Quorum(transport, [1] * size, 2, LONG), []
        for at in range(merges):
            if quorum.process == late and at == after:
                away.wait(LONG)
            if quorum.process == 0 and at == after:
                quorum.grace = 0.0
            if quorum.process == 0 and at == after + missed:
                quorum.grace = LONG
                away.set()
                transport.wait(lambda: transport.letters[late, 0])  # its late word
            trained = not quorum.behind()
            everything = quorum.gather(data(quorum.process, at), [1, 2, 3])
            told = np.zeros(1, np.uint8) if quorum.process else np.array([at], np.uint8)
            note = np.zeros(1, np.uint8) if quorum.process else np.array([at + 100], np.uint8)
            quorum.broadcast(note)
            quorum.broadcast(told, newest=True)
            heard.append((everything, int(note[0]), int(told[0]), trained, sorted(quorum.late)))
        return heard

    return threads.run(size, work)


def test_who_is_late_counts_as_not_a_number_and_takes_part_again():
    missed, after = 4, 2
    master, other, late = a_stall(missed, back=3, after=after)
    for at, (everything, *_, gone) in enumerate(master):
        absent = after <= at <= after + missed  # at the last of these it is heard of, and sits it out
        assert gone == ([2] if absent else [])
        assert np.array_equal(everything[3:], np.full(3, 255) if absent else data(2, at))
        assert np.array_equal(everything[:3], np.concatenate([data(0, at), data(1, at)]))
    assert [told for _, _, told, *_ in other] == list(range(9))


def test_a_late_process_hears_every_note_but_only_the_newest_of_what_is_written_over():
    missed, after = 4, 2
    late = a_stall(missed, back=3, after=after)[2]
    assert [note for _, note, *_ in late] == list(range(100, 109))
    told = [told for _, _, told, *_ in late]
    assert told[:after] == [0, 1] and told[after : after + missed - 1] == [0] * (missed - 1)  # left as it was
    assert told[after + missed - 1 :] == [5, 6, 7, 8]


def test_a_late_process_takes_no_steps_for_merges_that_are_over():
    trained = [trained for *_, trained, _ in a_stall(missed=4, back=3)[2]]
    assert trained == [True] * 3 + [False] * 4 + [True] * 2  # the third before it knew


def test_nobody_waits_for_a_process_that_is_back_and_sits_a_merge_out():
    begun = time.monotonic()
    a_stall(missed=2, back=1)
    assert time.monotonic() - begun < LONG / 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_a_late_process_are_not_a_number(dtype):
    away, size = threading.Event(), np.dtype(dtype).itemsize

    def work(transport):
        quorum = Quorum(transport, [1, 1, 1], 2, 0.0)
        if quorum.process == 2:
            away.wait(LONG)  # process 0 goes on without it, and is never answered
            return None
        everything = quorum.gather(np.full(2, quorum.process, dtype).view(np.uint8), [2 * size] * 3)
        if quorum.process == 0:
            away.set()
        return everything

    floats = threads.run(3, work)[0].view(dtype)
    assert np.isnan(floats[4:]).all() and floats[:4].tolist() == [0, 0, 1, 1]


def test_a_late_process_is_back_though_a_round_takes_longer_than_the_grace():
    def work(transport):
        quorum, late = Quorum(transport, [1, 1, 1], 2, 0.005), []
        for at in range(12):
            if not quorum.behind():
                time.sleep(0.2 if (quorum.process, at) == (2, 3) else 0.03)  # the steps of a round
            quorum.gather(data(quorum.process, 0), [1, 2, 3])
            quorum.broadcast(np.zeros(1, np.uint8))
            late.append(2 in quorum.late)
        return late

    late = threads.run(3, work)[0]
    assert late[3] and not all(late[4:])  # a busy machine may make it late again, but not for good


def test_a_merge_waits_for_the_quorum():
    def work(transport):
        quorum = Quorum(transport, [1, 2, 1], 3, 0.0)
        if quorum.process:
            time.sleep(0.05)
        begun = time.monotonic()
        everything = quorum.gather(data(quorum.process, 0), [1, 2, 3])
        return everything, time.monotonic() - begun

    everything, waited = threads.run(3, work)[0]
    assert waited > 0.02 and np.array_equal(everything[:3], [0, 1, 1])  # processes 0 and 1 hold three heads


@pytest.mark.parametrize(("heads", "need", "late"), [([2, 2, 2], 4, {2}), ([3, 1, 1], 4, {2}), ([1, 1, 4], 3, set())])
def test_a_quorum_counts_heads_and_not_processes(heads, need, late):
    """Process 2 comes when the merge is over, or after a while where it is needed."""
    over = threading.Event()

    def work(transport):
        quorum = Quorum(transport, heads, need, 0.0)
        if quorum.process == 2:
            over.wait(1.0 if not late else LONG / 6)
        quorum.gather(np.zeros(1, np.uint8), [1, 1, 1])
        if quorum.process == 0:
            over.set()
        return set(quorum.late)

    assert threads.run(3, work)[0] == late
