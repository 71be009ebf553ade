"""What a run cost: counted bytes meet the closed form, held bytes are those of the arrays."""

import re
from collections import Counter

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.comm.traffic import share, sliced
from minilte.core import tree
from minilte.core.head import replica_of
from minilte.core.lora import plan
from minilte.commands.cost import account
from minilte.run.adapt import head_ranks
from minilte.run.session import advance, first_state
from minilte.run.topology import merge_bytes, settled


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
    dense = tree.nbytes(session.parts.task.weights)
    held = dict.fromkeys(got, 0) | dict(weights=dense)
    if method == "lte":
        own = tree.nbytes((head.now, head.replica))
        seen = session.parts.method.share(session.comm, state.main, state.step).weights
        merges = session.parts.master or session.config.topology == "allreduce"
        held |= dict(
            weights=tree.nbytes(seen),
            adapters=own,
            gradients=own,
            optimizer=tree.nbytes(head.opt),
            merged_factors=tree.nbytes(head.then if merges else state.main.then),
        )
    else:
        own = tree.nbytes(state.main.trained)
        adapted = 0 if method == "full" else own
        held |= dict(adapters=adapted, gradients=own, optimizer=tree.nbytes(state.main.opt))
    held["total"] = sum(held.values())
    full = 2 * dense + tree.nbytes(session.parts.task.optimizer.init(session.parts.task.weights))
    assert got == held | dict(full_rank_total=full)


TRAFFIC = st.fixed_dictionaries(
    dict(
        topology=st.sampled_from(["default", "auto", "allgather", "allreduce", "server"]),
        quant=st.sampled_from(["none", "int8", "int4", "nf4"]),
        quant_scale=st.sampled_from(["tensor", "row", "block"]),
        quant_block=st.sampled_from([2, 16, 64]),
        quant_mode=st.sampled_from(["packed", "fake"]),
        wire=st.sampled_from(["full", "float16", "bfloat16"]),
        replicas=st.sampled_from(["average", "frozen"]),
        reset=st.sampled_from(["none", "ab"]),
        dtype=st.sampled_from(["float32", "float64"]),
        bias=st.booleans(),
        norm=st.booleans(),
        head_ranks=st.lists(st.integers(1, 3), min_size=1, max_size=6).map(tuple),
        widths=st.sampled_from([(5,), (3, 4)]),
        merge_every=st.integers(1, 4),
    )
)


@settings(max_examples=60)
@given(TRAFFIC, st.integers(1, 6))
def test_bytes_counted_are_those_of_the_closed_form_by_kind(settings, size):
    settings = settings | dict(heads=len(settings["head_ranks"]), model="mlp", batch=12, steps=4, rank=3)
    if settings["topology"] == "allreduce":
        settings |= dict(wire="full", quant="none")
    if settings["quant"] == "none":
        settings = {name: value for name, value in settings.items() if not name.startswith("quant_")}
    got = sent(size, **settings)
    config = tiny.config(**settings)
    session = tiny.session(**settings)
    weights, ranks = session.parts.task.weights, head_ranks(config, session.parts.task.weights)[0]
    replica = replica_of(weights, ranks[0]) if config.replicas == "average" else {}
    costs = merge_bytes(config, weights, replica, plan(weights, ranks, 1.0), size)
    name = settled(config, weights, replica, plan(weights, ranks, 1.0))[0].topology
    if config.topology == "auto" and config.quant == "none":  # the fewest, with a head on every rank
        whole = merge_bytes(config, weights, replica, plan(weights, ranks, 1.0), config.heads)
        assert sum(whole[name].values()) == min(sum(kinds.values()) for kinds in whole.values())
    merges = -(-config.steps // config.merge_every)
    expected = Counter({kind: merges * bytes_ for kind, bytes_ in costs[name].items()})
    if name == "server":  # the first copies go down before the first step
        up = {"factors", "replicas"}
        expected.update({kind: bytes_ for kind, bytes_ in costs[name].items() if kind not in up})
        expected["replicas"] += (size - 1) * tree.nbytes(replica)
    assert got["by_kind"] == {kind: bytes_ for kind, bytes_ in expected.items() if bytes_}
    assert got["total"] == sum(expected.values()) and got["headers"] == headers(name, config.heads, size, merges)


@settings(max_examples=30)
@given(
    st.sampled_from(["full", "lora", "mhlora"]),
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from(["average", "frozen"]),
    st.sampled_from(["float32", "float64"]),
)
def test_the_methods_that_sum_gradients_send_what_the_closed_form_says(method, heads, size, replicas, dtype):
    got = sent(size, method=method, heads=heads, replicas=replicas, dtype=dtype)
    factors = 2 * (6 + 4) * (heads if method == "mhlora" else 1)
    trained = 4 * 6 + 4 if method == "full" else factors + 4 * (replicas == "average")
    blocks = [len(share(heads, size, rank)) for rank in range(size)]
    expected = sliced(blocks, trained) * (4 if dtype == "float32" else 8) * 6  # at every step
    assert got["by_kind"] == ({"gradients": expected} if expected else {}) and got["total"] == expected
    assert got["headers"] == 6 * (size - 1) * 8 * (heads + 2 * size)


def headers(name, heads, size, merges):
    """Losses, wishes and marks of the run, eight bytes each."""
    notes = 8 * (heads + 2 * size)
    if name == "server":
        up, down = notes - 8 * (len(share(heads, size, 0)) + 2), (size - 1) * 8 * (2 * heads + 2)
        return merges * (up + down) + down
    return merges * (size - 1) * notes * (2 if name == "allreduce" else 1)


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
