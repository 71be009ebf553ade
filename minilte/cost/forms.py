"""What training costs by the closed forms: bytes sent, seconds on a link, and where exchanges cross.

All of it is exact, in whole numbers and fractions. An exchange is what travels at a meeting: a merge of LTE, every T
steps, or a step of full-rank data parallel training. Latency, headers and the time to compute are left out.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from minilte.core.errors import BadInput
from minilte.cost import traffic
from minilte.cost.traffic import slices

BITS = {"int8": 8, "int4": 4, "nf4": 4}  # of a code
SIZES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}  # bytes of a number
BLOCK, SCALE = 64, 4  # weights that share a scale, and the bytes that it takes at least: a float32


class Model(NamedTuple):
    """What is trained, by how many workers, and how wide it is."""

    M: int  # numbers in the matrices
    M_lte: int  # numbers in the adapters of a head, sum of r (m + n)
    replicas: int  # numbers that every head trains beside its adapters, as biases
    N: int  # heads
    P: int  # processes, each with its block of the heads
    T: int  # steps between merges
    q: Fraction = Fraction(1)  # size of a weight sent down to a worker, in numbers, scales included
    scales: Fraction = Fraction(0)  # of q, the scales alone
    size: int = 4  # bytes of a number
    basis: int = 0  # numbers in a head's factors beside a basis that all know, sum of r n; 0: there is none
    drawn: int = 0  # numbers in those bases, sum of r m
    beside: int = 0  # numbers that a head trains where there is no basis: small layers, biases


class Exchange(NamedTuple):
    """What travels at a meeting, in numbers: over all links, and over the busiest, summed over the phases."""

    words: str
    sent: Callable[[Model], Fraction]
    busiest: Callable[[Model], Fraction]
    full: bool = False  # trains at full rank: meets at every step
    served: bool = False  # a master alone needs W in full
    by_all: bool = False  # every process merges, so every process needs the factors of all heads


def counted(widths: Sequence[int], rank: int) -> tuple[int, int, int]:
    """(M, M_lte, replicas) of a stack of layers with biases; a layer uses min(rank, m, n). Raises BadInput."""
    layers = list(zip(widths, widths[1:]))
    if not layers:
        raise BadInput(f"widths: expected inputs and outputs at least, as 784,10, got {len(widths)} width(s)")
    most = max(min(layer) for layer in layers)
    if not 1 <= rank <= most:
        raise BadInput(f"rank: expected 1 to {most}, the smaller side of the largest layer, got {rank}")
    M = sum(m * n for n, m in layers)
    return M, sum(min(rank, m, n) * (m + n) for n, m in layers), sum(widths[1:])


def based(widths: Sequence[int], rank: int) -> tuple[int, int, int]:
    """(basis, drawn, beside) of a stack of layers with biases: a factor of r x n beside a basis of r x m in each layer
    whose smaller side is r at least (side a)."""
    layers = list(zip(widths, widths[1:]))
    large = [layer for layer in layers if min(layer) >= rank]
    small = sum(m * n for n, m in layers) - sum(m * n for n, m in large)
    return sum(rank * n for n, _ in large), sum(rank * m for _, m in large), small + sum(widths[1:])


def coded(quant: str, size: int) -> tuple[Fraction, Fraction]:
    """(q, scales) of a code: what a weight takes in numbers of `size` bytes, with a float32 scale for 64 weights.

    4 bits are 9/64 = 0.141 of float32 and 9/32 = 0.281 of a 16-bit number; scales of float64 weights are float64. The
    short last block is not counted apart.
    """
    if quant == "none":
        return Fraction(1), Fraction(0)
    scales = Fraction(max(SCALE, size), BLOCK * size)
    return Fraction(BITS[quant], 8 * size) + scales, scales


def heads(model: Model) -> list[int]:
    """How many heads each process holds; none more than process 0, the master of a server."""
    return slices(model.N, model.P)


def up(model: Model) -> int:
    """What a head sends to a merge: its factors and its replicas."""
    return model.M_lte + model.replicas


def dense(model: Model) -> int:
    """What a dense change or gradient holds."""
    return model.M + model.replicas


def down(model: Model) -> Fraction:
    """What a server sends back to a worker: q(W) and the replicas' means."""
    return model.q * model.M + model.replicas


def summed(model: Model) -> int:
    """What a head of the shared basis says: its factors and their momentum, and what has no basis."""
    return 2 * model.basis + model.beside


def lte_server(model: Model) -> Fraction:
    """All of it, up and then down, passes the link of the master."""
    return traffic.server(model.P, (model.N - heads(model)[0]) * up(model), down(model))


def full_server(model: Model) -> int:
    """As under LTE, with a dense gradient of each process."""
    return traffic.server(model.P, (model.P - 1) * dense(model), dense(model))


def in_slices(words: str, numbers: Callable[[Model], int]) -> Exchange:
    """A sum in head order of so many numbers a head: every process adds a slice, then all share."""
    return Exchange(
        words,
        lambda m: traffic.sliced(heads(m), slices(numbers(m), m.P)),
        lambda m: traffic.sliced_link(heads(m), slices(numbers(m), m.P)),
    )


LTE = {
    "allgather": Exchange(
        "LTE, all-gather of factors",
        lambda m: traffic.allgather(m.P, m.N * up(m)),
        lambda m: traffic.allgather(m.P, heads(m)[0] * up(m)),  # process 0 has the most heads
        by_all=True,
    ),
    "allreduce": in_slices("LTE, dense sum in head order", dense),
    "server": Exchange("LTE, server", lte_server, lte_server, served=True),
}
FULL = {
    "ring": Exchange(
        "full rank, ring",
        lambda m: traffic.ring(m.P, dense(m)),
        lambda m: traffic.ring(m.P, -(-dense(m) // m.P)),  # a round is as long as its largest block takes
        True,
    ),
    "all-to-all": Exchange(
        "full rank, all to all", lambda m: traffic.all_to_all(m.P, dense(m)), lambda m: (m.P - 1) * dense(m), True
    ),
    "server": Exchange("full rank, server", full_server, full_server, True),
}
BASIS = in_slices("shared basis, sum of factors", summed)
EXCHANGES = {f"lte-{key}": lte for key, lte in LTE.items()} | {f"full-{key}": full for key, full in FULL.items()}


def exchanges(model: Model) -> dict[str, Exchange]:
    """Those that there are for a model, by name."""
    return EXCHANGES | ({"basis-sum": BASIS} if model.basis else {})


def sent(model: Model, exchange: Exchange) -> Fraction:
    """Bytes that all workers together send when they meet."""
    return Fraction(exchange.sent(model) * model.size)


def a_step(model: Model, exchange: Exchange) -> Fraction:
    """Bytes that all workers together send for a step: LTE's divided by T."""
    return sent(model, exchange) / (1 if exchange.full else model.T)


def seconds(model: Model, exchange: Exchange, mbit: float) -> float:
    """Seconds of a meeting where every worker has a link of its own of `mbit` Mbit/s up, and as much down.

    The busiest link decides how long a phase lasts; phases follow one another. Latency and the switch cost nothing.
    """
    return float(8 * exchange.busiest(model) * model.size) / (1e6 * mbit)


def possible(model: Model, exchange: Exchange) -> bool:
    """Can workers that hold q(W) train so? Only a process that holds W can add factors or changes to it."""
    return exchange.full or exchange.served or model.q == 1


def cheapest(model: Model) -> Exchange | None:
    """The possible exchange of LTE or full rank that sends the fewest bytes a step, LTE's first; None for a lone process."""
    choices = [exchange for exchange in EXCHANGES.values() if possible(model, exchange)]
    return min(choices, key=lambda exchange: a_step(model, exchange)) if model.P > 1 else None


def allgather_until(model: Model, rings: int = 1) -> int:
    """The largest N, a head a process, at which all-gather sends less than `rings` ring all-reduces; below 2: at none.

    N (M_lte + replicas) < 2 rings (M + replicas); for one matrix and one ring N r < 2 m n / (m + n). T rings are what
    data parallel training sends between two merges.
    """
    return -(-2 * rings * dense(model) // up(model)) - 1


def server_from(model: Model) -> int:
    """The smallest N, a head a process, at which a server sends fewer than all-gather.

    N > 1 + (q M + replicas) / (M_lte + replicas).
    """
    return down(model) // up(model) + 2


def server_beats_allreduce(model: Model) -> bool:
    """Does a server send fewer than a ring all-reduce, a head a process? At every N from 2, or at none.

    q M + M_lte < 2 M: replicas travel twice either way.
    """
    return down(model) + up(model) < 2 * dense(model)


def least_every(model: Model, exchange: Exchange, against: Exchange = FULL["ring"]) -> int | None:
    """The smallest T at which LTE sends fewer bytes a step than data parallel training; None where nothing travels."""
    theirs = sent(model, against)
    return sent(model, exchange) // theirs + 1 if theirs else None
