"""The same bits for any number of processes: heads in blocks, gathered and summed in head order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import OPTIMIZERS, RANKS, make_plan, make_task

from minilte.comm import sums, threads
from minilte.comm.blocks import block
from minilte.comm.buffers import cat, payload
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE
from minilte.comm.solo import Solo
from minilte.core import lte, tree
from minilte.core.errors import ProcessesDisagree
from minilte.core.method import rounds
from minilte.core.random import stream
from minilte.methods.full import full
from minilte.methods.mhlora import mhlora

counts = st.integers(1, 9)


def head_tree(n, size, dtype="float32"):
    draw = stream(n, "check").standard_normal
    return {"a": draw((size, 2)).astype(dtype), "b": (draw(size + n).astype(dtype), None)}


def bits(trees):
    return cat(tree.leaves(trees)).tobytes()


@given(heads=counts, processes=counts, size=st.integers(0, 5))
def test_everyone_gathers_every_head_in_head_order_with_its_note(heads, processes, size):
    like = [tree.blank(head_tree(n, size)) for n in range(heads)]

    def work(transport):
        comm = Communicator(transport, heads)
        return comm.gather([head_tree(n, size) for n in comm.mine], like, [float(n) for n in comm.mine])

    for trees, notes in threads.run(processes, work):
        assert notes == list(range(heads))
        assert [bits(got) for got in trees] == [bits(head_tree(n, size)) for n in range(heads)]


@given(heads=counts, processes=counts, size=st.integers(0, 5), lasting=st.sampled_from([(), ("b",), ("b", "a")]))
def test_a_master_collects_every_head_and_spreads_what_all_get(heads, processes, size, lasting):
    like = [tree.blank(head_tree(n, size)) for n in range(heads)]

    def work(transport):
        comm = Communicator(transport, heads)
        got = comm.collect([head_tree(n, size) for n in comm.mine], like, [float(n) for n in comm.mine])
        told = head_tree(77, size) if comm.process == 0 else tree.map(np.empty_like, head_tree(77, size))
        return got, told, comm.spread(told, [1.5, 2.5] if comm.process == 0 else [0.0, 0.0], lasting)

    for process, (got, told, notes) in enumerate(threads.run(processes, work)):
        assert bits(told) == bits(head_tree(77, size)) and notes == [1.5, 2.5]
        if process:
            assert got is None
        else:
            trees, losses = got
            assert losses == list(range(heads))
            assert [bits(one) for one in trees] == [bits(head_tree(n, size)) for n in range(heads)]


def test_only_what_does_not_last_is_written_over_by_the_newest():
    broadcasts = []

    class Heard(Solo):
        def broadcast(self, *buffers, newest=False):
            broadcasts.append((newest, sum(buffer.size for buffer in buffers)))

    Communicator(Heard(), 1).spread({"a": np.zeros(3), "b": np.zeros(5), "c": np.zeros(7)}, [0.5], ("b",))
    assert broadcasts == [(False, 24), (False, 40), (True, 80)]  # the header, what lasts, the newest of the rest


def summand(n, size):
    return {"a": head_tree(n, size)["a"] * np.float32(10.0 ** (n % 5)), "b": (head_tree(n, 3)["a"], None)}


@given(heads=counts, processes=counts, size=st.integers(0, 5))
def test_a_sum_is_added_in_head_order_whatever_the_processes(heads, processes, size):
    def work(transport):
        comm = Communicator(transport, heads)
        return sums.of_numbers(
            comm, [summand(n, size) for n in comm.mine], summand(0, size), [float(n) for n in comm.mine]
        )

    expected = summand(0, size)
    for n in range(1, heads):
        expected = tree.map(np.add, expected, summand(n, size))
    for total, notes in threads.run(processes, work):
        assert bits(total) == bits(expected) and notes == list(range(heads))
        assert [(path, leaf.shape) for path, leaf in tree.named(total)] == [
            (path, leaf.shape) for path, leaf in tree.named(expected)
        ]


def test_a_process_without_heads_adds_its_slice_and_hears_the_sum():
    def work(transport):
        comm = Communicator(transport, 2)
        total, notes = sums.of_numbers(
            comm, [summand(n, 4) for n in comm.mine], summand(0, 4), [float(n) for n in comm.mine]
        )
        return len(comm.mine), bits(total), notes, payload(comm.sent)

    got = threads.run(5, work)
    assert [here for here, *_ in got] == [1, 1, 0, 0, 0]
    expected = bits(tree.map(np.add, summand(0, 4), summand(1, 4)))
    assert all((total, notes) == (expected, [0, 1]) for _, total, notes, _ in got)
    own = 4 * len(block(tree.size(summand(0, 4)), 5, 4))
    assert got[4][3] == 4 * own > 0  # the slice that it added goes to the four others


@given(heads=counts, processes=counts, size=st.integers(0, 5))
def test_another_shape_may_be_asked_for_at_every_meeting(heads, processes, size):
    def work(transport):
        comm, got = Communicator(transport, heads), []
        for other in (size, size + 1, 0):
            like = [tree.blank(head_tree(n, other)) for n in range(heads)]
            gathered, _ = comm.gather([head_tree(n, other) for n in comm.mine], like, [0.0 for _ in comm.mine])
            total, _ = sums.of_numbers(
                comm, [summand(n, other) for n in comm.mine], summand(0, other), [0.0 for _ in comm.mine]
            )
            got.append((bits(gathered), total["a"].shape))
        return got

    expected = [(bits([head_tree(n, other) for n in range(heads)]), (other, 2)) for other in (size, size + 1, 0)]
    assert threads.run(processes, work) == [expected] * processes


def test_what_does_not_fit_its_template_is_refused_before_it_is_sent():
    def work(transport):
        comm = Communicator(transport, 2)
        like = [tree.blank(head_tree(n, 2)) for n in range(2)]
        wrong, none = [head_tree(n, 3) for n in comm.mine], [0.0 for _ in comm.mine]
        for meet in (
            comm.gather,
            comm.collect,
            lambda trees, like, notes: sums.of_numbers(comm, trees, like[0], notes),
        ):
            with pytest.raises(ValueError, match="where its template has"):
                meet(wrong, like, none)
        assert not comm.sent

    threads.run(2, work)


def test_heads_may_name_their_arrays_in_any_order():
    like = [{"a": np.zeros(2), "b": np.zeros(3)}] * 2

    def work(transport):
        comm = Communicator(transport, 2)
        said = {"a": np.full(2, 1.0), "b": np.full(3, 2.0)}
        said = dict(reversed(said.items())) if comm.process else said
        heard, _ = comm.gather([said], like, [0.0])
        total, _ = sums.of_numbers(comm, [said], like[0], [0.0])
        return [one["a"].tolist() for one in heard], [one["b"].tolist() for one in heard], total["b"].tolist()

    assert threads.run(2, work) == [([[1, 1]] * 2, [[2, 2, 2]] * 2, [4, 4, 4])] * 2


# ---------------------------------------------------------------------------------- counting


def sent_by(processes, heads, meet):
    """What every process counts after a meeting of it."""

    def work(transport):
        comm = Communicator(transport, heads)
        meet(comm)
        return dict(comm.sent)

    return threads.run(processes, work)


@given(heads=counts, processes=counts, size=st.integers(0, 5))
def test_bytes_gathered_are_those_of_the_closed_form_by_kind(heads, processes, size):
    like = [tree.blank(head_tree(n, size)) for n in range(heads)]

    def meet(comm):
        comm.gather([head_tree(n, size) for n in comm.mine], like, [0.0 for _ in comm.mine])

    for process, sent in enumerate(sent_by(processes, heads, meet)):
        own = [like[n] for n in block(heads, processes, process)]
        for kind in ("a", "b"):
            assert sent.get(kind, 0) == (processes - 1) * sum(tree.nbytes(one[kind]) for one in own)
        assert sent["headers"] == (processes - 1) * 8 * (len(own) + 2)  # a note a head, a wish, a mark


@given(heads=counts, processes=counts, size=st.integers(0, 5))
def test_bytes_under_a_master_are_those_of_the_closed_form_by_kind(heads, processes, size):
    like = [tree.blank(head_tree(n, size)) for n in range(heads)]

    def meet(comm):
        comm.collect([head_tree(n, size) for n in comm.mine], like, [0.0 for _ in comm.mine])
        comm.spread({"down": np.zeros(7)}, [0.0] * heads)

    for process, sent in enumerate(sent_by(processes, heads, meet)):
        own, others = [like[n] for n in block(heads, processes, process)], processes - 1
        for kind in ("a", "b"):
            assert sent.get(kind, 0) == (sum(tree.nbytes(one[kind]) for one in own) if process else 0)
        assert sent.get("down", 0) == (0 if process else others * 56)
        assert sent["headers"] == (8 * (len(own) + 2) if process else others * 8 * (heads + 2))


@given(heads=counts, processes=counts, size=st.integers(0, 5))
def test_bytes_summed_are_those_of_the_closed_form_by_kind(heads, processes, size):
    like = tree.blank(summand(0, size))
    meet = lambda comm: sums.of_numbers(comm, [summand(n, size) for n in comm.mine], like, [0.0 for _ in comm.mine])  # noqa: E731
    slices = [set(block(tree.size(like), processes, process)) for process in range(processes)]
    places = {"a": set(range(2 * size)), "b": set(range(2 * size, 2 * size + 6))}
    everyone = sent_by(processes, heads, meet)
    for process, sent in enumerate(everyone):
        own = len(block(heads, processes, process))
        for kind, where in places.items():
            # its heads' numbers of the slices that others add; and of its own slice the sum, to all others
            expected = own * len(where - slices[process]) + (processes - 1) * len(where & slices[process])
            assert sent.get(kind, 0) == 4 * expected
        assert sent["headers"] == (processes - 1) * 8 * (own + 2)
    if heads == processes:  # a ring all-reduce, by all processes together
        assert sum(map(payload, everyone)) == 4 * 2 * (processes - 1) * tree.size(like)


# ---------------------------------------------------------------------------------- agreement


@given(processes=counts, wishes=st.lists(st.sampled_from([0, 2, 15]), min_size=9, max_size=9))
def test_all_processes_agree_when_to_stop(processes, wishes):
    def work(transport):
        comm, stops = Communicator(transport, 3), []
        comm.wish = wishes[comm.process]
        like, none = [head_tree(n, 1) for n in range(3)], [0.0 for _ in comm.mine]
        said = [like[n] for n in comm.mine]
        for meet in ("gather", "sum", "master"):
            comm.stop = 0
            if meet == "master":
                comm.collect(said, like, none)
                comm.spread({"down": np.zeros(1)}, [])
            elif meet == "sum":
                sums.of_numbers(comm, [like[0] for _ in comm.mine], like[0], none)
            else:
                comm.gather(said, like, none)
            stops.append(comm.stop)
        return stops

    assert threads.run(processes, work) == [[max(wishes[:processes])] * 3] * processes


ELSEWHERE = {
    "run": (dict(tag=8), "is at another run than process 0"),
    "merge": (dict(met=5), "is at merge 6 where process 0 is at merge 1"),
}


@pytest.mark.parametrize("differ", ELSEWHERE)
@pytest.mark.parametrize("meet", ["gather", "sum", "collect"])
def test_processes_of_different_runs_or_merges_do_not_merge(meet, differ):
    changes, words = ELSEWHERE[differ]

    def work(transport):
        comm, one = Communicator(transport, 3), {"a": np.zeros(2)}
        for name, value in changes.items() if comm.process == 2 else ():
            setattr(comm, name, value)
        try:
            sums.of_numbers(comm, [one], one, [0.0]) if meet == "sum" else getattr(comm, meet)(
                [one], [one] * 3, [0.0]
            )
        except ProcessesDisagree as trouble:
            return str(trouble), trouble.agreed

    said = f"process 2: {words}; start all processes alike, then --resume"
    assert threads.run(3, work) == ([(said, False), None, None] if meet == "collect" else [(said, True)] * 3)


def test_a_worker_that_is_elsewhere_finds_out_when_it_is_spoken_to():
    def work(transport):
        comm = Communicator(transport, 3)
        comm.met = int(comm.process == 2)
        try:
            comm.spread({"down": np.zeros(2)}, [])
        except ProcessesDisagree as trouble:
            transport.broadcast(np.empty(16, np.uint8))  # takes part in what the others still do
            return str(trouble), trouble.agreed

    said = "process 2: is at merge 1 where process 0 is at merge 0; start all processes alike, then --resume"
    assert threads.run(3, work) == [None, None, (said, False)]


# ---------------------------------------------------------------------------------- whole runs


METHODS = {
    "lte": lambda task: lte.lte(task, make_plan(task), 3),
    "lte, reset": lambda task: lte.lte(task, make_plan(task), 3, "ab", True),
    "full": full,
    "mhlora": lambda task: mhlora(task, make_plan(task)),
}


def final_bits(method, comm, steps=12):
    *_, last = rounds(method, comm, EVERYONE, method.begin(), [method.enter(n) for n in comm.mine], steps)
    return bits(method.weights(last.main)), last.losses


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_has_the_same_bits_on_any_number_of_processes_and_threads(name, optimizer):  # law L20
    pair, lr, _ = OPTIMIZERS[optimizer]
    method = METHODS[name](make_task(pair, lr)[0])
    alone = final_bits(method, Communicator(Solo(), len(RANKS)))
    assert final_bits(method, Communicator(Solo(), len(RANKS), threads=2)) == alone
    for processes in (1, 2, 3, 4, 5, 8, 12):
        got = threads.run(processes, lambda transport: final_bits(method, Communicator(transport, len(RANKS))))
        assert got == [alone] * processes


def test_a_process_that_fails_does_not_leave_the_others_waiting():
    def work(transport):
        if transport.process == 1:
            raise ValueError("process 1 fell over")
        like = [head_tree(n, 1) for n in range(4)]
        Communicator(transport, 4).gather(like[:2], like, [0.0, 0.0])

    with pytest.raises(ValueError, match="process 1 fell over"):
        threads.run(3, work)
