"""A sum of factors on a thin wire, with error feedback: nothing that a head moved is lost."""

from functools import reduce

import numpy as np
from hypothesis import strategies as st

from minilte.around.fed_back import fed_back, shaped
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE, MASTER
from minilte.comm.solo import Solo
from minilte.core import tree
from minilte.laws.basis import based, basis_of, factors_step, method, unequal
from minilte.laws.law import law
from minilte.laws.world import ROUNDING, apart, build, matrices, worst
from minilte.methods.bases import Bases
from minilte.methods.shared_basis import facts
from minilte.quant.wire import WIRES

THIN = [name for name in WIRES if name != "full"]


def on_wires():
    """(a case of `based`, a wire, is there a master, is the remainder moved into a new basis)."""
    return st.tuples(based(), st.sampled_from(THIN), st.booleans(), st.booleans())


@law(
    "L21-wire",
    "Nothing is lost on a thin wire",
    "with error feedback W moves by (sum of all w_n B_n of a period) Q less (sum_n e_n) Q, whatever the code, T, K, side, optimizer, unequal shards, with and without a master",
    on_wires,
    1e-9,
    ROUNDING + ", relative to a way of 1e-6 at least",
)
def nothing_is_lost(drawn, variant):
    """A head says C(w_n B_n + e_n) and keeps the difference, so what all say in a period and the e_n at its end add up to what they
    moved. Without a master a sum S comes back as C(S), and S - C(S) goes into the e_n, row by row."""
    (case, side, keep), wire, master, moved = drawn
    world = unequal(build(case))
    basis, steps = basis_of(case, world.task, side, keep), factors_step(case.optimizer)
    bases, averaged = Bases(basis, world.task.weights), case.optimizer in ("momentum", "nesterov")
    plain = method(world, basis, steps, averaged=averaged)
    known, kept = facts(world.task, world.task.shards, bases, steps, averaged, moved), []

    def carried(factors, step):
        kept.append(factors)
        return known.remainder.carried(factors, step)

    plain = plain._replace(facts=known._replace(remainder=known.remainder._replace(carried=carried)))
    made = fed_back(plain, WIRES[wire], case.heads, master)
    comm, meeting, errors = Communicator(Solo(), case.heads), MASTER if master else EVERYONE, []
    heads = [made.enter(n) for n in comm.mine]
    main, shown = meeting.open(comm, made, made.begin(), 0)
    begun, total, period = main.weights, bases.zeros(0), 0
    for start in range(0, case.steps, case.every):
        stop = min(start + case.every, case.steps)
        heads = [made.local(shown, head, start, stop) for head in heads]
        total = added([total, *(plain.tell(head.head)["factors"] for head in heads)])
        main, shown, heads, _ = meeting.merge(comm, made, main, shown, heads, stop)
        kept.clear()
        heads = [made.hear(shown, head, stop) for head in heads]
        way, left = bases.product(total, period), bases.product(added(kept), period)
        start_, here = matrices(begun), matrices(main.weights)
        reached = {name: W + left[name] for name, W in here.items()}
        errors.append(apart([start_, reached], [start_, {name: W + way[name] for name, W in start_.items()}]))
        if basis.period(stop) != period:  # what is still owed was moved or dropped
            begun, period = main.weights, basis.period(stop)
            total = added([shaped(head.owed, bases.zeros(period)) for head in heads])
    return worst(errors)


def added(factors):
    """The sum of several heads' factors."""
    return reduce(lambda one, other: tree.map(np.add, one, other), factors)
