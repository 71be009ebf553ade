"""Every topology makes the same merge, on any number of ranks, and a worker never holds what it should not."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.comm.buffers import cat
from minilte.comm.mpi import job
from minilte.comm.communicator import Ranks
from minilte.comm.solo import Solo
from minilte.comm.topologies import WHOLE, allgather, allreduce, server
from minilte.comm.wire import WIRES
from minilte.core import lte, tree
from minilte.core.head import replica_of
from minilte.laws.dense import dense_path
from minilte.laws.strategies import cases
from minilte.laws.world import Case, build, gap, uneven

RANKS = st.sampled_from([1, 2, 3, 5])
NAMES = ("allgather", "allreduce", "server")


def make(name, world, wire="full"):
    task, adapted = world.task, list(world.plan.ranks[0])
    replica = replica_of(task.weights, adapted)
    return {
        "allgather": lambda: allgather(WIRES[wire]),
        "allreduce": allreduce,
        "server": lambda: server(task.weights, replica, adapted, wire=WIRES[wire]),
    }[name]()


def path(world, topology, ranks, **parts):
    """Rank 0's dense weights after every merge, and the bits of all heads at the end."""
    case, method = world.case, world.method(topology=topology, **parts)

    def work(transport):
        comm = Ranks(transport, case.heads)
        rounds = lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], case.steps)
        dense = []
        for done in rounds:
            if comm.rank == 0:
                dense.append(method.dense(method.whole(done.main)))
        state = [tree.leaves((head.now, head.then, head.replica, head.opt)) for head in done.heads]
        return dense, [cat(leaves).tobytes() for leaves in state], done.losses

    everyone = threads.run(ranks, work)
    assert all(losses == everyone[0][2] for _, _, losses in everyone)  # every rank hears of every head
    return everyone[0][0], [bits for _, mine, _ in everyone for bits in mine]


@settings(max_examples=40)
@given(cases(activation="tanh"), st.sampled_from(NAMES), RANKS)
def test_every_topology_agrees_with_the_oracle(case, name, ranks):
    world = build(case)
    got, _ = path(world, make(name, world), ranks)
    expected = list(dense_path(case))
    # 1e-8: rounding of a dozen steps; Adam divides by roots as small as eps
    assert gap([[tuple(layer) for layer in weights.values()] for weights in got], expected) < 1e-8


@settings(max_examples=40)
@given(cases(), st.sampled_from(NAMES), RANKS, st.sampled_from(["full", "float16", "bfloat16"]))
def test_the_bits_do_not_depend_on_the_ranks(case, name, ranks, wire):  # law L20
    world = build(case)
    wire = "full" if name == "allreduce" else wire
    (alone, heads), (got, same) = (path(world, make(name, world, wire), size) for size in (1, ranks))
    assert heads == same
    assert [cat(tree.leaves(one)).tobytes() for one in got] == [cat(tree.leaves(one)).tobytes() for one in alone]


@settings(max_examples=30)
@given(cases(reset="none"), st.sampled_from(["allgather", "server"]), st.sampled_from(["float16", "bfloat16"]))
def test_telescoping_holds_for_the_factors_that_were_sent(case, name, wire):  # law L1
    world = build(case)
    method = world.method(topology=make(name, world, wire))
    comm = Ranks(Solo(), case.heads)
    for done in lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], case.steps):
        main = method.whole(done.main)
        for name, layer in main.weights.items():
            moved = sum(
                world.plan.scales[n][name] / case.heads * head.then[name].B @ head.then[name].A
                for n, head in enumerate(done.heads)
            )
            # 1e-11: rounding of a dozen merges in float64; the wire's own rounding is in V
            np.testing.assert_allclose(layer.W, world.task.weights[name].W + moved, atol=1e-11)
        assert all(
            np.array_equal(a, b) for a, b in zip(tree.leaves([h.then for h in done.heads]), tree.leaves(main.then))
        )


def test_a_worker_under_a_master_holds_no_factors_but_its_own_and_no_main_state():
    world = build(Case(ranks=(2, 1, 2)))
    method = world.method(topology=make("server", world))

    def work(transport):
        comm = Ranks(transport, 3)
        *_, last = lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], 4)
        return last.main.master is None, len(last.heads)

    assert threads.run(3, work) == [(False, 1), (True, 1), (True, 1)]


@pytest.mark.parametrize("quant", ["int4", "nf4", "int8"])
def test_no_float_matrix_ever_exists_on_a_worker(quant):
    """Not even for a moment: from the first line of the set-up on, all memory together stays below one matrix."""
    command = [*job(2, "held"), quant]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    master, worker, matrix = (int(word) for word in done.stdout.split())
    assert worker < 0.9 * matrix and master > 4 * matrix  # codes, factors, optimizer; W, its copy, a merge


@settings(max_examples=20)
@given(cases(activation="tanh"), st.sampled_from(["allreduce", "server"]), RANKS)
def test_every_topology_gives_the_heads_their_shares(case, name, ranks):
    world, w = build(case), uneven(case.heads)
    expected, _ = path(world, make("allgather", world), 1, w=w)
    got, _ = path(world, make(name, world), ranks, w=w)
    assert gap(got, expected) < 1e-8  # rounding of a dozen steps; Adam divides by roots as small as eps


def test_a_master_makes_a_copy_of_each_layer_for_each_merge_under_its_own_step():
    world, seen = build(Case(widths=(4, 3, 2), ranks=(1, 1), every=2, steps=5)), []

    def look(W, layer, step):
        seen.append((layer, step))
        return W

    task, adapted = world.task, list(world.plan.ranks[0])
    way = server(task.weights, replica_of(task.weights, adapted), adapted, WHOLE._replace(look=look))
    path(world, way, 1)
    assert seen == [(layer, step) for step in (0, 2, 4, 5) for layer in ("layer1", "layer2")]
