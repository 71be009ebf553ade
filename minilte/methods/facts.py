"""Facts about a method, so that no code depends on a method's name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from minilte.core.method import Method
from minilte.core.types import Adapters, Array, Tree


class Remainder(NamedTuple):
    """How what a head has still to send of its factors goes on from merge to merge."""

    longest: Array  # a template of factors as a vector, of the round that has the most
    carried: Callable[[Tree, int], Tree]  # (of the factors merged at a step, step) -> of the next round's


class Facts(NamedTuple):
    """What the rest of the package may ask of a method. None, or empty: the method has no such fact."""

    bound: dict[str, int] = {}  # layer -> the largest rank that W_t - W_0 can reach
    bound_law: str = "L2"  # of that bound
    held: Callable[..., dict[str, Tree]] | None = None  # (main, head, all) -> what a worker holds, by account.KINDS
    factors: Callable[[Tree], Sequence[Adapters] | None] = lambda main: None  # main -> A_n, B_n as they were merged
    one_lora: Callable[[Tree], tuple] | None = (
        None  # (main, heads) -> factors, scales, shares: W = k W_0 + sum w_n s_n B_n A_n
    )
    decayed: Callable[[Tree], float] = lambda main: 1.0  # main -> k
    resized: Callable[[Tree, int], Tree] | None = None  # (main, N) -> main for N heads
    still: Callable[..., Tree] | None = None  # (main, n, said) -> what head n would have sent without moving
    distance: Callable[..., float] | None = None  # (main, n, said) -> how far it moved; inf where not finite
    recover: Callable[..., Tree] | None = None  # (shown, head, fraction, step) -> a bad head from what counted of it
    remainder: Remainder | None = None  # of factors that are summed: a thin wire keeps what it rounds away
    trust: Callable[[Tree], Sequence[float] | None] = lambda main: None  # main -> fraction of each head that counts
    ranks: Callable[[Tree], dict[str, int] | None] = lambda main: (
        None
    )  # main -> layer -> rows of its adapters that live


def known(method: Method) -> Facts:
    """The facts of a method; none of a method that brings none."""
    return method.facts or Facts()
