"""What a run cost: counted bytes meet the closed form, held bytes are those of the arrays."""

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.around.fed_back import Owing
from minilte.comm import threads
from minilte.comm.meetings import MASTER
from minilte.core import tree
from minilte.core.head import replica_of
from minilte.core.method import rounds
from minilte.core.optim import SGDState
from minilte.cost import account
from minilte.cost.traffic import sliced, slices
from minilte.methods.data_parallel import Shared
from minilte.methods.dynamic import Seat
from minilte.methods.fedavg import Averaged
from minilte.methods.on_bases import Shared as OnBases
from minilte.methods.relora import Layers
from minilte.methods.summed import Summed
from minilte.run.session import advance, first_state


def trained(transport=None, **changes):
    session = tiny.session(transport, **changes)
    *_, (_, state) = advance(session, first_state(session))
    return session, state


def sent(size, **changes):
    def process(transport):
        session, state = trained(transport, **changes)
        return account.bytes_sent(session.comm, session.built.task, state.facts["sent"], state.step)

    first, *others = threads.run(size, process)
    assert all(other == first for other in others) and sum(first["per_process"]) == first["total"]
    return first


def adapters(heads, inputs=6, outputs=4, rank=2):
    """Numbers in the factors and biases that `heads` heads send."""
    return heads * (rank * (inputs + outputs) + outputs)


# ---------------------------------------------------------------- bytes sent


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("heads", [1, 3, 8])
@pytest.mark.parametrize(("dtype", "itemsize"), [("float32", 4), ("float64", 8)])
def test_a_merge_sends_every_heads_factors_and_biases_to_all_other_processes(size, heads, dtype, itemsize):
    got = sent(size, heads=heads, dtype=dtype)
    assert got["total"] == (size - 1) * adapters(heads) * itemsize * 3  # 6 steps, a merge every 2
    assert got["per_process"] == [(size - 1) * adapters(own) * itemsize * 3 for own in slices(heads, size)]


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        (dict(head_ranks=(1, 3)), adapters(1, rank=1) + adapters(1, rank=3)),
        (dict(replicas="frozen"), adapters(2) - 2 * 4),
        (dict(bias=False), adapters(2) - 2 * 4),
        (dict(reset="ab", reset_optimizer=True), adapters(2)),
    ],
    ids=str,
)
def test_only_what_is_trained_travels(changes, numbers):
    assert sent(2, **changes)["total"] == numbers * 4 * 3


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("heads", [1, 3, 8])
def test_data_parallel_sends_slices_to_their_adder_and_sums_to_all(size, heads):
    M = 4 * 6 + 4
    to_adders = sum(own * (M - piece) for own, piece in zip(slices(heads, size), slices(M, size)))
    assert sent(size, heads=heads, method="full")["total"] == (to_adders + (size - 1) * M) * 4 * 6


@pytest.mark.parametrize("method", ["lte", "full"])
def test_dense_gradients_are_counted_by_formula_for_the_same_processes(method):
    dense = (4 * 6 + 4) * 4 * 6  # bytes of all gradients
    got = sent(3, heads=3, method=method)
    assert got["full_rank_ring"] == 2 * (3 - 1) * dense and got["full_rank_all_to_all"] == 3 * (3 - 1) * dense


@settings(max_examples=30)
@given(
    st.sampled_from(["full", "lora", "mhlora"]),
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from(["average", "frozen"]),
    st.sampled_from(["float32", "float64"]),
)
def test_the_methods_that_sum_gradients_send_what_the_closed_form_says(method, heads, size, replicas, dtype):
    kept = {} if method == "full" else dict(replicas=replicas)
    got = sent(size, method=method, heads=heads, dtype=dtype, **kept)
    factors = 2 * (6 + 4) * (heads if method == "mhlora" else 1)
    numbers = 4 * 6 + 4 if method == "full" else factors + 4 * (replicas == "average")
    expected = (
        sliced(slices(heads, size), slices(numbers, size)) * (4 if dtype == "float32" else 8) * 6
    )  # at every step
    assert got["by_kind"] == ({"gradients": expected} if expected else {}) and got["total"] == expected
    assert got["headers"] == 6 * (size - 1) * 8 * (heads + 2 * size)


def test_what_was_sent_before_a_resume_is_in_all_but_the_processes_own():
    session, state = trained()
    got = account.bytes_sent(session.comm, session.built.task, {"factors": 5, "headers": 3}, state.step)
    assert (got["total"], got["before_resume"], got["per_process"]) == (5, 5, [0])
    assert (got["by_kind"], got["headers"]) == ({"factors": 5}, 3)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)), max_size=4))
def test_counts_add_up_by_kind(counts):
    total = account.added(counts)
    assert all(total.get(kind, 0) == sum(count.get(kind, 0) for count in counts) for kind in "abc")


# ---------------------------------------------------------------- bytes held


def on_their_own(**changes):
    """(session and main state of the first process, what the last sees and its head): a head on every process."""

    def process(transport):
        session = tiny.session(transport, **changes)
        state, method, meeting = first_state(session), session.built.method, session.built.meeting
        *_, done = rounds(method, session.comm, meeting, state.main, state.heads, session.config.steps)
        return session, done

    (first, done), *_, (_, last) = threads.run(tiny.config(**changes).heads, process)
    return first, done.main, last.shown, last.heads[0]


def arrays(shown, head, task, low_rank, pool, side) -> dict:
    """The arrays of a worker that are of each part, by what it sees of the main state and what its head is."""
    shown = getattr(shown, "main", shown)  # a guard's trust is a number a head
    if isinstance(shown, Shared) and isinstance(shown.trained, Layers):
        own = shown.trained.now, replica_of(shown.trained.weights, shown.trained.now)
        now, opt = shown.trained.now, shown.opt and shown.opt[1]
        return dict(weights=shown.trained.weights, adapters=now, gradients=own, optimizer=opt)
    if isinstance(shown, Shared) and pool:
        own = shown.trained[0][0], shown.trained[1]  # a pair that was drawn; a worker of a master knows no other
        return dict(
            weights=task.weights, adapters=shown.trained if shown.opt else own, gradients=own, optimizer=shown.opt
        )
    if isinstance(shown, Shared):  # of the gradients' shapes
        own = shown.trained
        return dict(weights=task.weights, adapters=own if low_rank else (), gradients=own, optimizer=shown.opt)
    if isinstance(shown, OnBases):
        if isinstance(head, Owing):  # a remainder, of the thin wire
            return of_a_basis(shown, head.head, side) | dict(merged_factors=head.owed)
        return of_a_basis(shown, head, side)
    if isinstance(shown, Averaged):
        both = shown.weights, head.weights  # apart from the first step of a round on
        return dict(weights=both, rule=shown.outer, gradients=head.weights, optimizer=head.opt)
    then = head.then if isinstance(head, Summed) else getattr(shown, "then", ())
    head = head.head if isinstance(head, (Summed, Seat)) else head
    own = head.now, head.replica
    held = dict(weights=shown.weights, adapters=own, merged_factors=then, gradients=own, optimizer=head.opt)
    return held | {"rule": getattr(shown, "rule", ())}


def of_a_basis(shown, head, side) -> dict:
    """The same of a factor of rank 2 and its basis beside a matrix of 4 x 6, of sides in turn where the factor is longer."""
    long = {"a": 6, "b": 4, "alternating": 6}[side]
    factor, Q = (np.zeros((2, size), np.float32) for size in (long, 10 - long))
    state = head.state or SGDState(factor)  # while a round lasts
    return dict(
        weights=shown.weights, adapters=(factor, head.replica, Q), gradients=(factor, head.replica),
        optimizer=(state, head.opt, shown.momentum), rule=shown.outer,
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind", [kind for kind in tiny.KINDS if "quorum" not in kind]
)  # where a head is late by chance
def test_memory_is_that_of_the_arrays_a_worker_holds(kind):
    session, main, shown, head = on_their_own(**tiny.KINDS[kind])
    task = session.built.task
    got = account.memory(task, session.built.method, main, head, session.built.meeting is MASTER)
    held = dict.fromkeys(account.KINDS, 0)
    low_rank, flat = "adapters" in session.config.parts, session.config.flat()
    own = arrays(shown, head, task, low_rank, "pool" in flat, flat.get("basis_side"))
    held |= {part: tree.nbytes(of) for part, of in own.items()}
    full = 2 * tree.nbytes(task.weights) + tree.nbytes(task.optimizer.init(task.weights))
    assert got == held | dict(total=sum(held.values()), full_rank_total=full)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_parts_of_memory_add_up_and_templates_hold_as_much_as_arrays(kind):
    session, state = trained(**tiny.KINDS[kind])
    task, method, master = session.built.task, session.built.method, session.built.meeting is MASTER
    got = account.memory(task, method, state.main, state.heads[0], master)
    assert got["total"] == sum(got[part] for part in account.KINDS) > 0
    assert got == account.memory(task, method, method.begin(), method.enter(0), master)


def test_a_full_rank_worker_holds_what_is_said_of_one():
    session, state = trained(method="full")
    got = account.memory(session.built.task, session.built.method, state.main, state.heads[0], False)
    assert got["total"] == got["full_rank_total"]
