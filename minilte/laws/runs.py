"""Laws about whole runs: the same bits whatever the ranks, the threads, the interruptions."""

import tempfile
from pathlib import Path

from hypothesis import strategies as st

from minilte.methods import data_parallel
from minilte.comm import threads
from minilte.comm.communicator import Ranks
from minilte.comm.solo import Solo
from minilte.core import lte, tree
from minilte.laws.law import EXACT, law
from minilte.laws.strategies import cases
from minilte.laws.world import Case, World, build, run, same_path
from minilte.job import checkpoint
from minilte.job.checkpoint import State

RANKS = (1, 2, 3, 4, 5, 8, 12)


def bits(trees) -> bytes:
    """The bytes of all arrays, one after the other."""
    return b"".join(leaf.tobytes() for leaf in tree.leaves(trees))


METHODS = {
    "lte": lambda world, variant: world.method(variant),
    "full": lambda world, _: data_parallel.full(world.task),
    "lora": lambda world, _: data_parallel.lora(world.task, world.plan),
    "mhlora": lambda world, _: data_parallel.mhlora(world.task, world.plan),
}


def end_bits(method, case: Case, comm: Ranks) -> bytes:
    """The bits of the dense weights at the end of a run."""
    main = method.begin()
    for done in lte.rounds(method, comm, main, [method.enter(n) for n in comm.mine], case.steps):
        main = done.main
    return bits(method.dense(main))


@law(
    "L20",
    "Same bits on any ranks",
    "a run of any method has the same bits serial, in threads, and on any number of ranks",
    lambda: st.tuples(cases(), st.sampled_from(RANKS), st.sampled_from(list(METHODS))),
    0.0,
    EXACT,
)
def any_ranks(case, variant):
    """Heads are computed one by one whoever holds them, gathered and summed in head order, and every random number is
    keyed by seed, purpose, head and step."""
    case, ranks, name = case
    method, N = METHODS[name](build(case), variant), case.heads
    alone = end_bits(method, case, Ranks(Solo(), N))
    pooled = end_bits(method, case, Ranks(Solo(), N, threads=2))
    everyone = threads.run(ranks, lambda transport: end_bits(method, case, Ranks(transport, N)))
    return float({pooled, *everyone} != {alone})


@law(
    "L20-resume",
    "Same bits after any interruption",
    "save, load and continue is to continue, on any number of ranks",
    lambda: st.tuples(
        cases(steps=st.sampled_from([4, 6, 7]), every=st.sampled_from([1, 2, 3])),
        st.sampled_from(range(8)),
        st.sampled_from(RANKS),
    ),
    0.0,
    EXACT,
)
def any_interruption(case, variant):
    """A checkpoint holds everything the next step depends on, in head order, and streams are keyed by the step."""
    case, at, ranks = case
    world = build(case)
    method = world.method(variant)
    expected = end_bits(method, case, Ranks(Solo(), case.heads))
    heads = tuple(method.enter(n) for n in range(case.heads))
    state = State(0, method.begin(), heads, {})
    for done in run(method, case.heads, case.steps):
        if done.step <= at:
            state = State(done.step, done.main, tuple(done.heads), {})
    with tempfile.TemporaryDirectory() as folder:
        state = checkpoint.load(checkpoint.save(Path(folder), state, {}), method.begin(), heads, {})

    def rest(transport):
        comm = Ranks(transport, case.heads)
        mine, main = [state.heads[n] for n in comm.mine], state.main
        for done in lte.rounds(method, comm, main, mine, case.steps, state.step):
            main = done.main
        return bits(method.dense(main))

    return float(set(threads.run(ranks, rest)) != {expected})


@law(
    "L20-order",
    "The order of heads",
    "permuting the heads changes nothing but rounding",
    lambda: cases(activation="tanh"),
    1e-8,
    "rounding of sums in another order, amplified by Adam where a gradient is near its eps",
)
def any_order(case, variant):
    """A mean does not depend on the order of its terms."""
    world = build(case)
    plan, last = world.plan, case.heads - 1
    turned = plan._replace(
        ranks=plan.ranks[::-1],
        scales=plan.scales[::-1],
        shape=lambda n: plan.shape(last - n),
        draw=lambda n, step: plan.draw(last - n, step),
    )
    task = world.task._replace(batch=lambda n, step: world.task.batch(last - n, step))
    return same_path(world.method(variant), World(case, task, turned).method(variant), case.heads, case.steps)


@law(
    "L20-seed",
    "A run is a function of its settings",
    "two runs of one seed have the same bits; no step at all is the identity",
    lambda: cases(),
    0.0,
    EXACT,
)
def one_seed(case, variant):
    """Nothing is drawn but from keyed streams, and without a step nothing happens."""
    differ = 0
    for make in METHODS.values():
        a, b = (make(build(case), variant) for _ in range(2))
        ends = {end_bits(method, case, Ranks(Solo(), case.heads)) for method in (a, b)}
        idle = bits(a.dense(a.begin())) != bits(build(case).task.weights)
        differ += len(ends) != 1 or idle or run(a, case.heads, 0) != []
    return float(differ)
