"""Every meeting makes the same merge, on any number of processes, and a worker never holds what it should not."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.around.wired import wired
from minilte.comm import threads
from minilte.comm.buffers import cat, kinds
from minilte.comm.communicator import Communicator
from minilte.comm.launch import job
from minilte.comm.meetings import EVERYONE, MASTER
from minilte.core import tree
from minilte.core.errors import Diverged
from minilte.core.method import rounds
from minilte.laws.exact import as_layers, dense_path
from minilte.laws.strategies import cases
from minilte.laws.world import Case, apart, build, gap, uneven, weights_along
from minilte.methods.facts import Facts
from minilte.methods.full import full
from minilte.methods.summed import summed
from minilte.quant.wire import WIRES

PROCESSES, THIN = st.sampled_from([1, 2, 3, 5]), ["float16", "bfloat16"]
WAYS = {  # who hears what, and whether dense changes are added in the place of factors
    "everyone": (EVERYONE, False),
    "everyone, sums": (EVERYONE, True),
    "master": (MASTER, False),
    "master, sums": (MASTER, True),
}


def make(world, way, wire="full", w=None, **changes):
    meeting, sums = WAYS[way]
    w = w or [1 / world.case.heads] * world.case.heads
    method = world.method(w=w, **changes)._replace(facts=Facts())
    method = summed(method, world.task, world.plan, w) if sums else wired(method, WIRES[wire])
    return method, meeting


def bits(trees):
    return cat(map(np.asarray, tree.leaves(trees))).tobytes()


def path(world, method, meeting, processes):
    """Process 0's dense weights after every merge, and the bits of all heads at the end."""
    case = world.case

    def work(transport):
        comm, dense = Communicator(transport, case.heads), []
        heads = [method.enter(n) for n in comm.mine]
        for done in rounds(method, comm, meeting, method.begin(), heads, case.steps):
            if comm.process == 0:
                dense.append(method.weights(done.main))
        return dense, [bits(head) for head in done.heads], done.losses

    everyone = threads.run(processes, work)
    assert all(losses == everyone[0][2] for _, _, losses in everyone)  # every process hears of every head
    return everyone[0][0], [own for _, mine, _ in everyone for own in mine]


@settings(max_examples=40)
@given(cases(activation="tanh"), st.sampled_from(list(WAYS)), PROCESSES)
def test_every_meeting_agrees_with_the_oracle(case, way, processes):
    world = build(case)
    got, _ = path(world, *make(world, way), processes)
    # 1e-8: rounding of a dozen steps; Adam divides by roots as small as eps
    assert gap([as_layers(weights) for weights in got], list(dense_path(case))) < 1e-8


@settings(max_examples=40)
@given(cases(), st.sampled_from(list(WAYS)), PROCESSES, st.sampled_from(["full", *THIN]))
def test_the_bits_do_not_depend_on_the_processes_nor_on_the_meeting(case, way, processes, wire):  # law L20
    world, (_, sums) = build(case), WAYS[way]
    alone, heads = path(world, *make(world, "everyone, sums" if sums else "everyone", wire), 1)
    got, same = path(world, *make(world, way, wire), processes)
    assert heads == same and [bits(one) for one in got] == [bits(one) for one in alone]


@settings(max_examples=30)
@given(cases(reset="none"), st.sampled_from(["everyone", "master"]), st.sampled_from(THIN), PROCESSES)
def test_telescoping_holds_for_the_factors_that_were_sent(case, way, wire, processes):  # law L1
    world = build(case)
    method, meeting = make(world, way, wire)

    def work(transport):
        comm, along = Communicator(transport, case.heads), []
        heads = [method.enter(n) for n in comm.mine]
        for done in rounds(method, comm, meeting, method.begin(), heads, case.steps):
            along.append((done.main if comm.process == 0 else None, [done.shown.then[n] for n in comm.mine]))
        return along

    for merge in zip(*threads.run(processes, work)):
        main = merge[0][0]
        for name, layer in main.weights.items():
            moved = sum(s[name] / case.heads * V[name].B @ V[name].A for s, V in zip(world.plan.scales, main.then))
            # 1e-11: rounding of a dozen merges in float64; the wire's own rounding is in V
            np.testing.assert_allclose(layer.W, world.task.weights[name].W + moved, atol=1e-11)
        remembered = [V for _, own in merge for V in own]  # by every head, wherever it lives
        assert bits(remembered) == bits(main.then)


@settings(max_examples=20)
@given(cases(activation="tanh"), st.sampled_from(list(WAYS)), PROCESSES)
def test_every_meeting_gives_the_heads_their_shares(case, way, processes):
    world, w = build(case), uneven(case.heads)
    start = world.task.weights
    got, _ = path(world, *make(world, way, w=w), processes)
    # 1e-8: rounding of a dozen steps; Adam divides by roots as small as eps
    assert apart([start, *got], weights_along(world.method(w=w), case.heads, case.steps)) < 1e-8


def test_a_worker_under_a_master_holds_no_factors_but_its_own_and_no_main_state():
    world = build(Case(ranks=(2, 1, 2)))
    method, meeting = make(world, "master")

    def work(transport):
        comm = Communicator(transport, 3)
        *_, last = rounds(method, comm, meeting, method.begin(), [method.enter(n) for n in comm.mine], 4)
        held = [n for n, V in enumerate(last.shown.then) if V is not None]
        return held, len(last.heads), hasattr(last.main, "then"), last.shown.rule

    assert threads.run(3, work) == [([0], 1, True, None), ([1], 1, False, None), ([2], 1, False, None)]


def test_a_worker_keeps_its_receive_buffer_and_every_merge_writes_over_it():
    world = build(Case(ranks=(2, 1, 2), steps=6))
    method, meeting = make(world, "master")

    def work(transport):
        comm, seen = Communicator(transport, 3), []
        for done in rounds(method, comm, meeting, method.begin(), [method.enter(n) for n in comm.mine], 6):
            matrix = done.shown.weights["layer1"].W
            seen.append((matrix.ctypes.data, matrix.copy()))
            assert comm.process == 0 or np.shares_memory(done.main["weights"]["layer1"], matrix)
        return seen

    master, *workers = threads.run(3, work)
    assert all(len({place for place, _ in seen}) == 1 for seen in workers)
    for seen in workers:
        assert all(np.array_equal(own, told) for (_, own), (_, told) in zip(seen, master, strict=True))


def test_a_master_shows_its_weights_once_before_the_first_step_and_after_every_merge():
    world, seen = build(Case(widths=(4, 3, 2), ranks=(1, 1), every=2, steps=5)), []
    method, meeting = make(world, "master")
    watched = method._replace(show=lambda main, step: (seen.append(step), method.show(main, step))[1])
    path(world, watched, meeting, 2)
    assert seen == [0, 2, 4, 5]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_gradients_under_a_master_travel_as_often_as_the_closed_form_says(processes):
    world = build(Case(ranks=(1, 1, 1), steps=4))
    method, M, N = full(world.task), tree.nbytes(world.task.weights), 3

    def work(transport):
        comm = Communicator(transport, N)
        list(rounds(method, comm, MASTER, method.begin(), [method.enter(n) for n in comm.mine], 4))
        return comm.sent["gradients"], comm.sent["weights"], len(comm.mine)

    gradients, weights, heads = zip(*threads.run(processes, work))
    assert sum(gradients) == 4 * (N - heads[0]) * M and sum(weights) == (4 + 1) * (processes - 1) * M
    if processes == N:
        first = (processes - 1) * M  # the view before the first step
        assert sum(gradients) + sum(weights) - first == 4 * 2 * (processes - 1) * M


def test_trouble_in_a_merge_that_all_make_is_raised_by_all_and_a_masters_by_it_alone():
    world = build(Case(ranks=(1, 1)))

    def diverges(*_):
        raise Diverged("the weights are gone")

    def agreed(meeting, processes):
        method = world.method()._replace(merge=diverges)

        def work(transport):
            comm = Communicator(transport, 2)
            try:
                list(rounds(method, comm, meeting, method.begin(), [method.enter(n) for n in comm.mine], 2))
            except Diverged as trouble:
                return trouble.agreed

        return threads.run(processes, work)

    assert agreed(EVERYONE, 1) == [True] and agreed(EVERYONE, 2) == [True, True]
    assert agreed(MASTER, 1) == [False]


def test_what_is_told_is_counted_by_its_kind():
    world = build(Case(ranks=(2, 1)))
    method, meeting = make(world, "master")

    def work(transport):
        comm = Communicator(transport, 2)
        list(rounds(method, comm, meeting, method.begin(), [method.enter(n) for n in comm.mine], 2))
        return {kind: size for kind, size in comm.sent.items() if size and kind != "headers"}

    view, words = kinds(method.frame()), kinds(method.like(1, method.begin(), 0))
    assert threads.run(2, work) == [{kind: 2 * size for kind, size in view.items()}, words]


@pytest.mark.parametrize("quant", ["int4", "nf4", "int8"])
def test_no_float_matrix_ever_exists_on_a_worker(quant):
    """Not even for a moment: from the first line of the set-up on, all memory together stays below one matrix."""
    command = [*job(2, "held"), quant]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    master, worker, matrix = (int(word) for word in done.stdout.split())
    assert worker < 0.9 * matrix and master > 4 * matrix  # codes, factors, optimizer; W, its copy, a merge
