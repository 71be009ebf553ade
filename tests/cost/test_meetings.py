"""What a merge sends by its templates is what is counted where it is sent, kind by kind."""

from collections import Counter

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic import merges

from minilte.comm import threads
from minilte.comm.buffers import kinds
from minilte.comm.meetings import MASTER
from minilte.core.errors import BadInput
from minilte.cost import account
from minilte.cost.meetings import merge_bytes
from minilte.cost.traffic import slices
from minilte.run.session import advance, first_state

BY_CHANCE = ("quorum", "dynamic", "dynamic-server")  # heads are late, or what lives depends on what was learnt
AT_ONCE = [kind for kind in tiny.KINDS if kind not in BY_CHANCE]


def counted(size, **changes) -> dict:
    """What a run on so many processes sent; all of them know."""

    def process(transport):
        session = tiny.session(transport, **changes)
        *_, (_, state) = advance(session, first_state(session))
        return account.bytes_sent(session.comm, session.built.task, state.facts["sent"], state.step)

    first, *others = threads.run(size, process)
    assert all(other == first for other in others) and sum(first["per_process"]) == first["total"]
    return first


def by_formula(size, **changes) -> tuple[dict, int]:
    """(bytes by kind, bytes of headers) of the same run, from templates."""
    session = tiny.session(**changes)
    config, (method, meeting) = session.config, session.built[2:4]
    steps, expected = merges(method, config.steps), Counter()
    for step in steps:
        expected.update(merge_bytes(method, meeting, method.begin(), config.heads, size, step))
    if meeting is MASTER:  # a view goes down before the first step
        expected.update({kind: (size - 1) * bytes_ for kind, bytes_ in kinds(method.frame()).items()})
    by_kind = {kind: bytes_ for kind, bytes_ in expected.items() if bytes_}
    return by_kind, headers(meeting, config.heads, size, len(steps))


def headers(meeting, heads, size, merges):
    """Losses, wishes and marks of the run, eight bytes each."""
    notes = 8 * (heads + 2 * size)
    if meeting is MASTER:
        up, down = notes - 8 * (slices(heads, size)[0] + 2), (size - 1) * 8 * (heads + 2)
        return merges * (up + down) + down
    return merges * (size - 1) * notes


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("kind", AT_ONCE)
def test_bytes_counted_are_those_of_the_templates_for_every_kind_of_run(kind, size):
    got = counted(size, **tiny.KINDS[kind])
    assert (got["by_kind"], got["headers"]) == by_formula(size, **tiny.KINDS[kind])


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


def fitting(changes: dict) -> dict:
    """The same settings, without those that do not go together."""
    changes = changes | dict(heads=len(changes["head_ranks"]), model="mlp", batch=12, steps=4, rank=3)
    if changes["topology"] == "allreduce":
        changes |= dict(wire="full", quant="none")
    if changes["quant"] == "none":
        changes = {name: value for name, value in changes.items() if not name.startswith("quant_")}
    return changes


@settings(max_examples=60)
@given(TRAFFIC.map(fitting), st.integers(1, 6))
def test_bytes_counted_are_those_of_the_templates_for_any_settings(changes, size):
    got = counted(size, **changes)
    by_kind, of_headers = by_formula(size, **changes)
    assert got["by_kind"] == by_kind and got["total"] == sum(by_kind.values()) and got["headers"] == of_headers


@settings(max_examples=40)
@given(TRAFFIC.map(fitting))
def test_auto_takes_the_topology_of_the_fewest_bytes_with_a_head_on_every_process(changes):
    def at_a_merge(topology):
        try:
            built = tiny.session(**changes | dict(topology=topology)).built
        except BadInput:
            return None
        sent = merge_bytes(built.method, built.meeting, built.method.begin(), heads, heads)
        return sum(sent.values())

    heads, possible = (
        changes["heads"],
        ["server"] if changes["quant"] != "none" else ["allgather", "allreduce", "server"],
    )
    assert at_a_merge("auto") == min(filter(lambda size: size is not None, map(at_a_merge, possible)))
