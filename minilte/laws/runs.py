"""Laws about whole runs: the same bits for any number of processes, any threads, any interruption."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE, MASTER
from minilte.comm.solo import Solo
from minilte.core import tree
from minilte.core.method import Meeting, Method, rounds
from minilte.core.types import Tree
from minilte.job import checkpoint
from minilte.job.checkpoint import State
from minilte.laws.law import EXACT, law
from minilte.laws.strategies import cases
from minilte.laws.world import Case, World, alike, build, run, same_path, uneven
from minilte.methods.adamix import adamix
from minilte.methods.bases import Bases, Basis
from minilte.methods.dynamic import dynamic
from minilte.methods.fedavg import fedavg
from minilte.methods.fedit import fedit
from minilte.methods.flora_projected import flora
from minilte.methods.full import full
from minilte.methods.galore import galore
from minilte.methods.mhlora import lora, mhlora
from minilte.methods.on_bases import shared_basis
from minilte.methods.relora import relora
from minilte.optimizers.orthonormal import orthonormal

PROCESSES = (1, 2, 3, 4, 5, 8, 12)


def bits(trees) -> bytes:
    """The bytes of all arrays, in order."""
    return b"".join(leaf.tobytes() for leaf in tree.leaves(trees))


def fitting(world: World) -> dict[str, int]:
    """A rank for each layer, of min(m, n) at most."""
    return {name: len(pair.A) for name, pair in world.plan.shape(0).items()}


def shifting(step: int, k: int, r: int, *change) -> int:
    """Another number of rows after every merge."""
    return 1 + step % r


def partly(heads: int) -> Callable:
    """Other heads in every round, at least one."""
    return lambda step: np.arange(heads) >= step % heads


METHODS = {
    "lte": lambda world, variant: world.method(variant),
    "full": lambda world, _: full(world.task),
    "lora": lambda world, _: lora(world.task, world.plan),
    "mhlora": lambda world, _: mhlora(world.task, world.plan),
    "fedavg": lambda world, _: fedavg(world.task, uneven(world.case.heads), world.case.every),
    "diloco": lambda world, _: fedavg(world.task, uneven(world.case.heads), world.case.every, 0.7, 0.9),
    "fedit": lambda world, _: fedit(world.task, alike(world.plan), uneven(world.case.heads), world.case.every),
    "fedex": lambda world, _: fedit(
        world.task, alike(world.plan), uneven(world.case.heads), world.case.every, exact=True
    ),
    "relora": lambda world, _: relora(world.task, world.plan, world.case.every),
    "adamix": lambda world, _: adamix(world.task, alike(world.plan)),
    "galore": lambda world, _: galore(world.task, fitting(world), world.case.every),
    "flora-projected": lambda world, _: flora(world.task, fitting(world), world.case.every),
    "shared-basis": lambda world, _: shared_basis(
        world.task,
        uneven(world.case.heads),
        Bases(Basis(fitting(world), world.case.every, 2, "b", world.case.seed), world.task.weights),
        orthonormal(0.9),
        decay=0.1,
    ),
    "dynamic": lambda world, _: dynamic(
        world.task, alike(world.plan), world.case.every, shifting, partly(world.case.heads)
    ),
}
MEETINGS = {"everyone": EVERYONE, "master": MASTER}


def go_on(
    method: Method, comm: Communicator, main: Tree, heads: Sequence[Tree], steps: int, start: int, meeting: Meeting
):
    """The bits of the dense weights at the end of a run resumed at step `start`; None on a worker under a master."""
    for done in rounds(method, comm, meeting, main, heads, steps, start):
        main = done.main
    return bits(method.weights(main)) if meeting is EVERYONE or comm.process == 0 else None


def end_bits(method: Method, case: Case, comm: Communicator, meeting: Meeting = EVERYONE) -> bytes | None:
    """The bits of the dense weights at the end of a run; None on a worker under a master."""
    return go_on(method, comm, method.begin(), [method.enter(n) for n in comm.mine], case.steps, 0, meeting)


@law(
    "L20",
    "Same bits on any number of processes",
    "a run of any method has the same bits serial, in threads, on any number of processes, and under a master",
    lambda: st.tuples(
        cases(), st.sampled_from(PROCESSES), st.sampled_from(list(METHODS)), st.sampled_from(list(MEETINGS))
    ),
    0.0,
    EXACT,
)
def any_processes(case, variant):
    """Heads are computed one by one on whichever process holds them, then gathered and summed in head order; every random
    number is keyed by seed, purpose, head and step."""
    case, processes, name, meeting = case
    method, N = METHODS[name](build(case), variant), case.heads
    alone = end_bits(method, case, Communicator(Solo(), N))
    pooled = end_bits(method, case, Communicator(Solo(), N, threads=2))
    work = lambda transport: end_bits(method, case, Communicator(transport, N), MEETINGS[meeting])  # noqa: E731
    return float({pooled, *threads.run(processes, work)} - {None} != {alone})


@law(
    "L20-resume",
    "Same bits after any interruption",
    "save, load and continue is to continue, on any number of processes",
    lambda: st.tuples(
        cases(steps=st.sampled_from([4, 6, 7]), every=st.sampled_from([1, 2, 3])),
        st.sampled_from(range(8)),
        st.sampled_from(PROCESSES),
    ),
    0.0,
    EXACT,
)
def any_interruption(case, variant):
    """A checkpoint holds everything the next step depends on, in head order, and streams are keyed by the step."""
    case, at, processes = case
    method = build(case).method(variant)
    expected = end_bits(method, case, Communicator(Solo(), case.heads))
    heads = tuple(method.enter(n) for n in range(case.heads))
    state = State(0, method.begin(), heads, {})
    for done in run(method, case.heads, case.steps):
        if done.step <= at:
            state = State(done.step, done.main, tuple(done.heads), {})
    with tempfile.TemporaryDirectory() as folder:
        state = checkpoint.load(checkpoint.save(Path(folder), state, {}), method.begin(), heads, {})

    def rest(transport):
        comm = Communicator(transport, case.heads)
        return go_on(method, comm, state.main, [state.heads[n] for n in comm.mine], case.steps, state.step, EVERYONE)

    return float(set(threads.run(processes, rest)) != {expected})


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
    lambda: st.tuples(cases(), st.sampled_from(list(METHODS))),
    0.0,
    EXACT,
)
def one_seed(case, variant):
    """All draws come from keyed streams, and without a step nothing changes."""
    case, name = case
    a, b = (METHODS[name](build(case), variant) for _ in range(2))
    ends = {end_bits(method, case, Communicator(Solo(), case.heads)) for method in (a, b)}
    idle = bits(a.weights(a.begin())) != bits(build(case).task.weights)
    return float(len(ends) != 1 or idle or run(a, case.heads, 0) != [])
