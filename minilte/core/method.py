"""A training method as a choice of functions, and the loop of Algorithm 1, which needs nothing else.

The loop names heads, never processes: how many processes hold them is the communicator's affair. What `main` and a
head are is the method's own affair: the loop only passes them on. Source: Huh et al. 2024, Algorithm 1.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from minilte.core.types import Tree, Weights


class Method(NamedTuple):
    """A training method. `said` is what heads say at a merge, in head order, or the sum of it where it `adds`."""

    every: int  # T, the local steps of a round
    begin: Callable[[], Tree]  # () -> main, what all agree on
    enter: Callable[[int], Tree]  # n -> head n at the start
    local: Callable[[Tree, Tree, int, int], Tree]  # (shown, head, start, stop) -> head: T steps, no talk
    tell: Callable[[Tree], Tree]  # head -> what it says at a merge, by kind
    like: Callable[[int, Tree, int], Tree]  # (n, shown, step) -> a template of what head n says there
    merge: Callable[[Tree, Any, int, Callable], Tree]  # (main, said, step, each) -> main
    hear: Callable[[Tree, Tree, int], Tree]  # (shown, head, step) -> head: V_n <- B_n A_n, a reset, a new replica …
    weights: Callable[[Tree], Weights]  # main -> dense weights
    show: Callable[[Tree, int], Tree]  # (main, step) -> what a master sends down, by kind
    frame: Callable[[], Tree]  # () -> a template of that
    view: Callable[[Tree, Tree, dict | None], Tree]  # (sent down, view before, what the heads here said) -> view
    adds: bool = False  # is the sum of what heads say enough?
    answer: Callable | None = None  # (a slice of what heads say, heads here, like) -> what all get of it, heads
    lasting: tuple[str, ...] = ()  # the kinds of a view that are needed of every merge, not of the newest alone
    together: Callable[..., list[Tree]] | None = None  # (shown, heads, start, stop, each): a faster `local` of many
    facts: Any = None  # what others may ask in the place of its name, see methods.facts


class Comm(Protocol):
    """What the loop asks of a communicator, which is free to hold any number of heads in a process."""

    heads: int  # N
    mine: range  # the heads that live here

    def each(self, f: Callable[[Tree], Tree], items: Sequence[Tree]) -> list[Tree]:
        """f of every item, in order, on several threads where there are some: of heads, or of parts of a merge."""


class Round(NamedTuple):
    """What leaves the loop after every merge."""

    step: int  # local steps done so far, the same for every head
    main: Tree
    heads: list[Tree]  # the heads of this process
    losses: list[float]  # of all heads, in head order
    shown: Tree = None  # what the heads of this process see of the main state


class Meeting(NamedTuple):
    """Who hears what at a merge, and so who merges. `shown` is what the heads here see of the main state."""

    open: Callable[..., tuple[Tree, Tree]]  # (comm, method, main, step) -> main, shown
    merge: Callable[..., tuple]  # (comm, method, main, shown, heads, step) -> main, shown, heads, losses


def rounds(
    method: Method, comm: Comm, meeting: Meeting, main: Tree, heads: Sequence[Tree], steps: int, start: int = 0
) -> Iterator[Round]:
    """Train from step `start` to `steps`, yielding a Round after every merge.

    The last round may be shorter than T and always merges. Nothing passed in is changed in place.
    """
    main, shown = meeting.open(comm, method, main, start)
    while start < steps:
        stop = min(start - start % method.every + method.every, steps)
        if method.together is None:  # T local steps, no talk
            heads = comm.each(lambda head: method.local(shown, head, start, stop), heads)
        else:
            heads = method.together(shown, heads, start, stop, comm.each)
        # W <- W + sum_n w_n s_n (B_n A_n - V_n), and V_n <- B_n A_n
        main, shown, heads, losses = meeting.merge(comm, method, main, shown, heads, stop)
        heads = comm.each(lambda head: method.hear(shown, head, stop), heads)  # a reset, new replicas
        start = stop
        yield Round(stop, main, heads, losses, shown)
