"""Who hears what at a merge, and so who merges: everyone, or a master on process 0.

    everyone   each process hears every head, or the sum of what they say in head order, and makes the same merge
    master     heads speak to process 0 alone; it merges, and sends down what all see of the new main state

Either keeps the bits of a run for any number of processes, and between the two only the traffic differs: with a head
on each of N processes, words of u numbers and a view of d, everyone sends N (N-1) u (a sum by slices 2 (N-1) u), a
master (N-1) (u + d).
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from minilte.comm.communicator import Communicator, in_order
from minilte.core import tree
from minilte.core.errors import MinilteError
from minilte.core.method import Meeting, Method
from minilte.core.types import Tree


def hear_all(comm: Communicator, method: Method, main: Tree, shown: Tree, heads: Sequence[Tree], step: int):
    """All processes hear all heads, or the sum of what they say, and make the same merge of it."""
    said, losses = [method.tell(head) for head in heads], [head.loss for head in heads]
    if method.adds:
        heard, losses = comm.sum(said, method.like(0, shown, step), losses)
    else:
        heard, losses = comm.gather(said, [method.like(n, shown, step) for n in range(comm.heads)], losses)
    with raised_by_all():
        main = method.merge(main, heard, step, comm.each)
    return main, main, losses


@contextlib.contextmanager
def raised_by_all() -> Iterator[None]:
    """What is raised inside the `with` is raised by every process alike."""
    try:
        yield
    except MinilteError as trouble:
        trouble.agreed = True
        raise


EVERYONE = Meeting(lambda comm, method, main, step: (main, main), hear_all)


def begin_under_master(comm: Communicator, method: Method, main: Tree, step: int):
    """A first view for all. What a worker keeps as `main` is its receive buffer, which every merge writes over."""
    buffer = method.show(main, step) if comm.process == 0 else tree.map(empty, method.frame())
    comm.spread(buffer, [0.0] * comm.heads, method.lasting)
    return (main if comm.process == 0 else buffer), method.view(buffer, main, None)


def merge_by_master(comm: Communicator, method: Method, main: Tree, shown: Tree, heads: Sequence[Tree], step: int):
    """Up: what the heads say. Process 0 merges; a sum is added there, in head order. Down: what all see of it."""
    said, losses = [method.tell(head) for head in heads], [head.loss for head in heads]
    heard = comm.collect(said, [method.like(n, shown, step) for n in range(comm.heads)], losses)
    buffer = main
    if heard is not None:
        everyone, losses = heard
        main = method.merge(main, added(everyone) if method.adds else everyone, step, comm.each)
        buffer = method.show(main, step)
    else:
        losses = [0.0] * comm.heads
    losses = comm.spread(buffer, losses, method.lasting)
    shown = method.view(buffer, shown, dict(zip((head.index for head in heads), said)))
    return main, shown, losses


MASTER = Meeting(begin_under_master, merge_by_master)


def added(trees: Sequence[Tree]) -> Tree:
    """The sum of trees of one shape, from the first to the last."""
    return tree.map(lambda *leaves: in_order(leaves), *trees)


def empty(template: np.ndarray) -> np.ndarray:
    """An array to be written to."""
    return np.empty(template.shape, template.dtype)
