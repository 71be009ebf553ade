"""Factors on a thin wire: half the bytes, and V is what was decoded."""

import numpy as np
import pytest

from minilte.around.guarded import Guarded, guarded
from minilte.around.wired import wired
from minilte.comm import threads
from minilte.comm.buffers import cat
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE, MASTER
from minilte.comm.solo import Solo
from minilte.core import tree
from minilte.core.lora import product
from minilte.core.method import rounds
from minilte.laws.world import Case, build
from minilte.methods.lte import facts
from minilte.quant.wire import WIRES, decoded, encoded

THIN = ["float16", "bfloat16"]
MEETINGS = {"everyone": EVERYONE, "master": MASTER}
WORLD = build(Case(widths=(6, 5, 4), ranks=(2, 1, 2), every=2, steps=6, lr=0.3))


def plain(**changes):
    known = facts(WORLD.task, WORLD.plan, [1 / 3] * 3, False, False)
    return WORLD.method(**changes)._replace(facts=known)


def rounded(wire, factors):
    return decoded(WIRES[wire], encoded(WIRES[wire], factors), factors)


def same(one, other):
    return cat(tree.leaves(one)).tobytes() == cat(tree.leaves(other)).tobytes()


def path(method, meeting, processes):
    def work(transport):
        comm = Communicator(transport, 3)
        return list(rounds(method, comm, meeting, method.begin(), [method.enter(n) for n in comm.mine], 6)), comm.sent

    return threads.run(processes, work)


def test_a_full_wire_is_no_wire():
    method = plain()
    assert wired(method, WIRES["full"]) is method


@pytest.mark.parametrize("wire", THIN)
def test_what_a_head_says_is_coded_and_fits_its_template(wire):
    method = wired(plain(), WIRES[wire])
    main, head = method.begin(), method.local(method.begin(), method.enter(1), 0, 2)
    said, like = method.tell(head), method.like(1, main, 2)
    assert {leaf.shape[1] for leaf in tree.leaves(said.factors)} == {2}  # bytes of a number
    assert [(path, leaf.shape, leaf.dtype) for path, leaf in tree.named(said)] == [
        (path, leaf.shape, leaf.dtype) for path, leaf in tree.named(like)
    ]
    assert same(said.replicas, head.replica)  # these travel as they are


@pytest.mark.parametrize("wire", THIN)
@pytest.mark.parametrize("meeting", MEETINGS)
def test_what_is_merged_and_remembered_is_what_was_decoded(wire, meeting):
    method = wired(plain(), WIRES[wire])
    main, ((path_, _),) = method.begin(), path(method, MEETINGS[meeting], 1)
    for done in path_:
        arrived = [rounded(wire, head.now) for head in done.heads]
        for name, layer in done.main.weights.items():
            moves = sum(
                WORLD.plan.scales[n][name] / 3 * (product(now[name]) - product(V[name]))
                for n, (now, V) in enumerate(zip(arrived, main.then, strict=True))
            )
            np.testing.assert_allclose(layer.W, main.weights[name].W + moves, atol=1e-13)  # rounding
        assert same(done.main.then, arrived) and not same(done.main.then, [head.now for head in done.heads])
        main = done.main


@pytest.mark.parametrize("wire", THIN)
@pytest.mark.parametrize("meeting", MEETINGS)
@pytest.mark.parametrize("processes", [2, 3, 5])
def test_every_head_remembers_what_arrived_of_it_wherever_it_lives(wire, meeting, processes):
    method = wired(plain(), WIRES[wire])
    everyone = [done for done, _ in path(method, MEETINGS[meeting], processes)]
    for merge in zip(*everyone):
        for done in merge:
            for head in done.heads:
                assert same(done.shown.then[head.index], merge[0].main.then[head.index])
    ((alone, _),) = path(method, MEETINGS[meeting], 1)
    assert all(same(a.main, b.main) for a, b in zip(everyone[0], alone, strict=True))


@pytest.mark.parametrize("wire", THIN)
@pytest.mark.parametrize("meeting", MEETINGS)
def test_the_error_of_a_merge_is_sent_with_the_next(wire, meeting):
    """Error feedback: a head that stands still from then on is there after as many merges as its digits take."""
    method = wired(plain(), WIRES[wire])
    heads = [method.local(method.begin(), method.enter(n), 0, 2) for n in range(3)]
    still = method._replace(local=lambda shown, head, start, stop: head)
    *_, last = rounds(still, Communicator(Solo(), 3), MEETINGS[meeting], still.begin(), heads, 6)
    assert same(last.main.then, [rounded(wire, head.now) for head in heads])


@pytest.mark.parametrize("wire", THIN)
def test_factors_take_their_part_of_the_bytes_and_the_rest_all_of_theirs(wire):
    sent = {name: path(wired(plain(), WIRES[name]), EVERYONE, 3) for name in ("full", wire)}
    for (_, whole), (_, thin) in zip(sent["full"], sent[wire], strict=True):
        assert thin["factors"] * 4 == whole["factors"] > 0  # two bytes of eight
        assert (thin["replicas"], thin["headers"]) == (whole["replicas"], whole["headers"])


@pytest.mark.parametrize("reset", ["none", "b"])
@pytest.mark.parametrize("wire", THIN)
def test_a_head_that_did_not_count_in_full_goes_on_from_what_was_heard_of_it(wire, reset):
    method = wired(guarded(plain(reset=reset), 3, clip=True), WIRES[wire])
    start, heads = method.begin(), [method.local(method.begin(), method.enter(n), 0, 2) for n in range(3)]
    state = method.merge(start, [method.tell(head) for head in heads], 2, map)
    merged = state.main.then[1] if reset == "none" else rounded(wire, heads[1].now)
    for trust, at in ((0.5, merged), (1.0, heads[1].now)):
        new = method.hear(Guarded(state.main, np.array([1.0, trust, 1.0])), heads[1], 2)
        for name, pair in new.now.items():
            assert same(pair.A, at[name].A)
            assert same(pair.B, at[name].B if reset == "none" else np.zeros_like(pair.B))
