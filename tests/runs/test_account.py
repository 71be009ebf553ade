"""What a run cost: counted bytes meet the closed form, held bytes are those of the arrays."""

import re

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.comm.ranks import share
from minilte.core import tree
from minilte.runs import account
from minilte.runs.session import advance, first_state


def trained(transport=None, **changes):
    session = tiny.session(transport, **changes)
    *_, (_, state) = advance(session, first_state(session))
    return session, state


def sent(size, **changes):
    def rank(transport):
        session, state = trained(transport, **changes)
        return account.bytes_sent(session.comm, session.parts, state.facts["sent"], state.step)

    first, *others = threads.run(size, rank)
    assert all(other == first for other in others) and sum(first["per_rank"]) == first["total"]
    return first


def adapters(heads, inputs=6, outputs=4, rank=2):
    """Numbers in the factors and biases that `heads` heads send."""
    return heads * (rank * (inputs + outputs) + outputs)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("heads", [1, 3, 8])
@pytest.mark.parametrize(("dtype", "itemsize"), [("float32", 4), ("float64", 8)])
def test_a_merge_sends_every_heads_factors_and_biases_to_all_other_ranks(size, heads, dtype, itemsize):
    got = sent(size, heads=heads, dtype=dtype)
    assert got["total"] == (size - 1) * adapters(heads) * itemsize * 3  # 6 steps, a merge every 2
    each = [adapters(len(share(heads, size, rank))) for rank in range(size)]
    assert got["per_rank"] == [(size - 1) * numbers * itemsize * 3 for numbers in each]


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [
        (dict(head_ranks=(1, 3)), adapters(1, rank=1) + adapters(1, rank=3)),
        (dict(replicas="frozen"), adapters(2) - 2 * 4),
        (dict(bias=False), adapters(2) - 2 * 4),
        (dict(reset="ab", reset_optimizer=True), adapters(2)),
    ],
    ids=str,
)
def test_only_what_is_trained_travels(settings, numbers):
    assert sent(2, **settings)["total"] == numbers * 4 * 3


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("heads", [1, 3, 8])
def test_data_parallel_sends_slices_to_their_adder_and_sums_to_all(size, heads):
    M = 4 * 6 + 4
    pieces = [len(share(M, size, rank)) for rank in range(size)]
    to_adders = sum(len(share(heads, size, rank)) * (M - pieces[rank]) for rank in range(size))
    assert sent(size, heads=heads, method="full")["total"] == (to_adders + (size - 1) * M) * 4 * 6


@pytest.mark.parametrize("method", ["lte", "full"])
def test_dense_gradients_are_counted_by_formula_for_the_same_ranks(method):
    dense = (4 * 6 + 4) * 4 * 6  # bytes of all gradients
    got = sent(3, heads=3, method=method)
    assert got["full_rank_ring"] == 2 * (3 - 1) * dense and got["full_rank_all_to_all"] == 3 * (3 - 1) * dense


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_memory_is_that_of_the_arrays_a_worker_holds(kind):
    session, state = trained(**tiny.KINDS[kind])
    method, head = session.config.method, state.heads[0]
    got = account.memory(session.parts, state.main, head)
    held = dict.fromkeys(got, 0) | dict(weights=tree.nbytes(session.parts.task.weights))
    if method == "lte":
        own = tree.nbytes((head.now, head.replica))
        held |= dict(
            adapters=own, gradients=own, optimizer=tree.nbytes(head.opt), merged_factors=tree.nbytes(state.main.then)
        )
    else:
        own = tree.nbytes(state.main.trained)
        adapted = 0 if method == "full" else own
        held |= dict(adapters=adapted, gradients=own, optimizer=tree.nbytes(state.main.opt))
    held["total"] = sum(held.values())
    full = 2 * held["weights"] + tree.nbytes(session.parts.task.optimizer.init(session.parts.task.weights))
    assert got == held | dict(full_rank_total=full)


def test_a_full_rank_worker_holds_what_is_said_of_one():
    session, state = trained(method="full")
    got = account.memory(session.parts, state.main, state.heads[0])
    assert got["total"] == got["full_rank_total"]


@given(st.integers(0, 10**17))
def test_a_count_for_people_is_right_to_its_last_figure(count):
    number, unit = account.human(count).split()
    size = 1000 ** ("B", "kB", "MB", "GB", "TB", "PB").index(unit)
    # half of the last figure, a tenth; 1e-9: rounding of large counts
    assert abs(float(number) * size - count) <= 0.05 * size * (size > 1) * (1 + 1e-9)
    assert re.fullmatch(r"\d{1,3}(\.\d)?", number)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1234567, "1.2 MB"),
        (999_950, "1.0 MB"),
        (10**15, "1.0 PB"),
        (10**19, "10000.0 PB"),
    ],
)
def test_a_count_for_people_has_the_largest_unit_below_it(count, words):
    assert account.human(count) == words
