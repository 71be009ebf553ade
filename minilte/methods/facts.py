"""Facts about a method, so that no code depends on a method's name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from minilte.core.method import Method
from minilte.core.types import Adapters, Tree


class Facts(NamedTuple):
    """What the rest of the package may ask of a method. None, or empty: the method has no such fact."""

    bound: dict[str, int] = {}  # layer -> the largest rank that W_t - W_0 can reach (law L2)
    held: Callable[..., dict[str, Tree]] | None = None  # (main, head, all) -> what a worker holds, by account.KINDS
    factors: Callable[[Tree], Sequence[Adapters] | None] = lambda main: None  # main -> A_n, B_n as they were merged
    one_lora: Callable[[Tree], tuple] | None = None  # main -> factors, scales, shares: W = W_0 + sum w_n s_n B_n A_n
    resized: Callable[[Tree, int], Tree] | None = None  # (main, N) -> main for N heads
    still: Callable[..., Tree] | None = None  # (main, n, said) -> what head n would have sent without moving
    distance: Callable[..., float] | None = None  # (main, n, said) -> how far it moved; inf where not finite
    recover: Callable[..., Tree] | None = None  # (shown, head, fraction, step) -> a bad head from what counted of it
    trust: Callable[[Tree], Sequence[float] | None] = lambda main: None  # main -> fraction of each head that counts
    ranks: Callable[[Tree], dict[str, int] | None] = lambda main: (
        None
    )  # main -> layer -> rows of its adapters that live


def known(method: Method) -> Facts:
    """The facts of a method; none of a method that brings none."""
    return method.facts or Facts()
