"""The same bits for any number of ranks: heads in blocks, gathered and summed in head order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import OPTIMIZERS, RANKS, make_plan, make_task

from minilte.methods import data_parallel
from minilte.comm import threads
from minilte.comm.buffers import cat, payload
from minilte.comm.communicator import Ranks, share
from minilte.comm.solo import Solo
from minilte.core import lte, tree
from minilte.core.random import stream

counts = st.integers(1, 9)


@given(st.integers(0, 50), counts)
def test_shares_are_the_blocks_of_array_split(total, parts):
    got = [list(share(total, parts, i)) for i in range(parts)]
    assert got == [list(block) for block in np.array_split(np.arange(total), parts)]


def head_tree(n, size, dtype="float32"):
    draw = stream(n, "check").standard_normal
    return {"a": draw((size, 2)).astype(dtype), "b": (draw(size + n).astype(dtype), None)}


@given(heads=counts, ranks=counts, size=st.integers(0, 5))
def test_everyone_gathers_every_head_in_head_order_with_its_note(heads, ranks, size):
    like = [tree.blank(head_tree(n, size)) for n in range(heads)]

    def work(transport):
        comm = Ranks(transport, heads)
        return comm.gather([head_tree(n, size) for n in comm.mine], like, [float(n) for n in comm.mine])

    for trees, notes in threads.run(ranks, work):
        assert notes == list(range(heads))
        for n, got in enumerate(trees):
            assert cat(tree.leaves(got)).tobytes() == cat(tree.leaves(head_tree(n, size))).tobytes()


@given(heads=counts, ranks=counts, size=st.integers(0, 5))
def test_a_sum_is_added_in_head_order_whatever_the_ranks(heads, ranks, size):
    one = lambda n: {"a": head_tree(n, size)["a"] * np.float32(10.0 ** (n % 5))}  # noqa: E731

    def work(transport):
        comm = Ranks(transport, heads)
        return comm.sum("numbers", [one(n) for n in comm.mine], [float(n) for n in comm.mine])

    expected = one(0)["a"]
    for n in range(1, heads):
        expected = expected + one(n)["a"]
    for total, notes in threads.run(ranks, work):
        assert total["a"].tobytes() == expected.tobytes() and notes == list(range(heads))


@given(heads=counts, ranks=counts, size=st.integers(0, 5))
def test_bytes_sent_are_those_of_the_closed_forms(heads, ranks, size):
    like = [tree.blank(head_tree(n, size)) for n in range(heads)]

    def gathered(transport):
        comm = Ranks(transport, heads)
        comm.gather([head_tree(n, size) for n in comm.mine], like, [0.0 for _ in comm.mine])
        return payload(comm.sent)

    def summed(transport):
        comm = Ranks(transport, heads)
        comm.sum("numbers", [head_tree(0, size) for _ in comm.mine], [0.0 for _ in comm.mine])
        return payload(comm.sent)

    assert sum(threads.run(ranks, gathered)) == (ranks - 1) * tree.nbytes(like)
    slices, blocks = [[len(share(total, ranks, p)) for p in range(ranks)] for total in (tree.size(like[0]), heads)]
    # every rank sends its heads' slices to the ranks that add them, and each sum goes to all others
    expected = sum(b * (sum(slices) - own) for b, own in zip(blocks, slices)) + (ranks - 1) * sum(slices)
    assert sum(threads.run(ranks, summed)) == 4 * expected


@given(ranks=counts, wishes=st.lists(st.sampled_from([0, 2, 15]), min_size=9, max_size=9))
def test_all_ranks_agree_when_to_stop(ranks, wishes):
    def work(transport):
        comm = Ranks(transport, 3)
        comm.wish = wishes[comm.rank]
        comm.gather(
            [head_tree(n, 1) for n in comm.mine], [head_tree(n, 1) for n in range(3)], [0.0 for _ in comm.mine]
        )
        return comm.stop

    assert set(threads.run(ranks, work)) == {max(wishes[:ranks])}


METHODS = {
    "lte": lambda task: lte.lte(task, make_plan(task), 3),
    "lte, reset": lambda task: lte.lte(task, make_plan(task), 3, "ab", True),
    "full": data_parallel.full,
    "mhlora": lambda task: data_parallel.mhlora(task, make_plan(task)),
}


def final_bits(method, comm, steps=12):
    rounds = lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], steps)
    *_, last = rounds
    return cat(tree.leaves(method.dense(last.main))).tobytes(), last.losses


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_has_the_same_bits_on_any_number_of_ranks_and_threads(name, optimizer):  # law L20
    pair, lr, _ = OPTIMIZERS[optimizer]
    method = METHODS[name](make_task(pair, lr)[0])
    alone = final_bits(method, Ranks(Solo(), len(RANKS)))
    assert final_bits(method, Ranks(Solo(), len(RANKS), threads=2)) == alone
    for ranks in (1, 2, 3, 4, 5, 8, 12):
        got = threads.run(ranks, lambda transport: final_bits(method, Ranks(transport, len(RANKS))))
        assert got == [alone] * ranks


def test_a_rank_that_fails_does_not_leave_the_others_waiting():
    def work(transport):
        if transport.rank == 1:
            raise ValueError("rank 1 fell over")
        Ranks(transport, 4).gather([head_tree(0, 1)], [head_tree(0, 1)] * 4, [0.0])

    with pytest.raises(ValueError, match="rank 1 fell over"):
        threads.run(3, work)
