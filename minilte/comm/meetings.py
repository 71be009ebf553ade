"""Who receives what at a merge, and so who merges: everyone, or a master on process 0.

    everyone   each process gathers every head's tree, or their sum in head order, and makes the same merge
    master     process 0 alone gathers them; it merges, and broadcasts a view of the new main state

Either keeps the bits of a run for any number of processes. Between the two only the traffic differs, but for a sum on a thin
wire, which comes back coded only where all add it (`around.fed_back`): with a head
on each of N processes, trees of u numbers and a view of d, everyone sends N (N-1) u (a sum by slices 2 (N-1) u), a
master (N-1) (u + d).
"""

from collections.abc import Sequence

import numpy as np

from minilte.comm import sums
from minilte.comm.communicator import Communicator
from minilte.core import tree
from minilte.core.errors import MinilteError
from minilte.core.method import Meeting, Method
from minilte.core.types import Tree


def hear_all(comm: Communicator, method: Method, main: Tree, shown: Tree, heads: Sequence[Tree], step: int):
    """All processes gather every head's tree, or the sum of them, and make the same merge."""
    said, losses = [method.tell(head) for head in heads], [head.loss for head in heads]

    if method.answer:
        like = method.like(0, shown, step)

        def add(rows):
            nonlocal heads
            total, heads = method.answer(rows, heads, like)
            return total

        heard, losses = sums.of_rows(comm, said, like, add, losses)
    elif method.adds:
        heard, losses = sums.of_numbers(comm, said, method.like(0, shown, step), losses)
    else:
        heard, losses = comm.gather(said, [method.like(n, shown, step) for n in range(comm.heads)], losses)
    try:
        main = method.merge(main, heard, step, comm.each)
    except MinilteError as trouble:
        trouble.agreed = True  # all make this merge, so all raise this error
        raise
    return main, main, heads, losses


EVERYONE = Meeting(lambda comm, method, main, step: (main, main), hear_all)


def begin_under_master(comm: Communicator, method: Method, main: Tree, step: int):
    """Broadcasts a first view. A worker's `main` is its receive buffer, which every merge writes over."""
    empty = lambda leaf: np.empty(leaf.shape, leaf.dtype)  # noqa: E731
    buffer = method.show(main, step) if comm.process == 0 else tree.map(empty, method.frame())
    comm.spread(buffer, [0.0] * comm.heads, method.lasting)
    return (main if comm.process == 0 else buffer), method.view(buffer, main, None)


def merge_by_master(comm: Communicator, method: Method, main: Tree, shown: Tree, heads: Sequence[Tree], step: int):
    """Process 0 gathers every head's tree, adds them in head order where a sum is enough, merges, broadcasts a view."""
    said, losses = [method.tell(head) for head in heads], [head.loss for head in heads]
    heard = comm.collect(said, [method.like(n, shown, step) for n in range(comm.heads)], losses)
    buffer, losses = main, [0.0] * comm.heads
    if heard is not None:
        everyone, losses = heard
        if method.adds:
            everyone = sums.of_trees(everyone)
        main = method.merge(main, everyone, step, comm.each)
        buffer = method.show(main, step)
    losses = comm.spread(buffer, losses, method.lasting)
    shown = method.view(buffer, shown, dict(zip(comm.mine, said)))
    return main, shown, heads, losses


MASTER = Meeting(begin_under_master, merge_by_master)


def one_by_one(method: Method) -> Method:
    """The method whose merge gets what every head says, where somebody has to look at each; the same bits."""

    def merge(main, said, step, each):
        return method.merge(main, sums.of_trees(said), step, each)

    return method._replace(adds=False, merge=merge)
