"""What training costs by the closed forms: bytes sent, seconds on a link, bytes held, and where exchanges cross.

All of it is exact: whole numbers and fractions, nothing rounded. An exchange is what travels when the workers meet: for
LTE at a merge, every T steps; for full-rank data parallel training at every step. Latency, headers and the time to
compute are left out.
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


class Exchange(NamedTuple):
    """What travels when the workers meet, in numbers: over all links, and over the busiest, phase after phase."""

    words: str
    sent: Callable[[Model], Fraction]
    busiest: Callable[[Model], Fraction]
    full: bool = False  # trains at full rank: meets at every step


def check(model: Model) -> Model:
    """The model itself. Raises BadInput for a size that cannot be."""
    for name, least in dict(M=1, M_lte=1, replicas=0, N=1, P=1, T=1, size=1).items():
        if (found := getattr(model, name)) < least:
            raise BadInput(f"cost: expected {name} of at least {least}, got {found}")
    if not 0 <= model.scales < model.q <= 1:
        raise BadInput(f"cost: expected 0 <= scales < q <= 1, got q = {model.q} and scales = {model.scales}")
    return model


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
    """How many heads each process holds; process 0, the master of a server, never fewer than another."""
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


def factors_link(model: Model) -> int:
    """One phase: the process with the most heads sends them P-1 times, and never receives more."""
    return up(model) * max(heads(model)) * (model.P - 1)


def sliced_link(model: Model) -> int:
    """Two phases: slices of every head's change to the processes that add them, and the sums to all processes.

    The first may be slower in either direction; in the second a process sends the largest sum P-1 times.
    """
    whole, sizes = dense(model), slices(dense(model), model.P)
    pairs = list(zip(heads(model), sizes))
    add = max(max(own * (whole - size), (model.N - own) * size) for own, size in pairs)
    return add + (model.P - 1) * max(sizes)


def ring_link(model: Model) -> int:
    """2 (P-1) rounds, each as long as its largest block takes."""
    return 2 * (model.P - 1) * -(-dense(model) // model.P)


def server_link(model: Model) -> Fraction:
    """Two phases, both on the master's link: what the heads of other processes send, then the same to each process."""
    return (model.N - heads(model)[0]) * up(model) + (model.P - 1) * down(model)


def server_sent(model: Model) -> Fraction:
    """The same as over the master's link: nothing travels elsewhere."""
    return traffic.server(model.P, (model.N - heads(model)[0]) * up(model), down(model))


LTE = {
    "allgather": Exchange("LTE, all-gather of factors", lambda m: traffic.allgather(m.P, m.N * up(m)), factors_link),
    "allreduce": Exchange("LTE, dense sum in head order", lambda m: traffic.sliced(heads(m), dense(m)), sliced_link),
    "server": Exchange("LTE, server", server_sent, server_link),
}
FULL = {
    "ring": Exchange("full rank, ring", lambda m: traffic.ring(m.P, dense(m)), ring_link, True),
    "all-to-all": Exchange(
        "full rank, all to all", lambda m: traffic.all_to_all(m.P, dense(m)), lambda m: (m.P - 1) * dense(m), True
    ),
    "server": Exchange(
        "full rank, server",
        lambda m: traffic.server(m.P, (m.P - 1) * dense(m), dense(m)),
        lambda m: 2 * (m.P - 1) * dense(m),
        True,
    ),
}


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
    """Can workers that hold q(W) train so? Without the full weight no worker can add factors or changes to it."""
    return exchange.full or exchange is LTE["server"] or model.q == 1


def cheapest(model: Model) -> Exchange | None:
    """The possible exchange that sends the fewest bytes a step, LTE's before full rank's; None for a lone process."""
    choices = [exchange for exchange in (*LTE.values(), *FULL.values()) if possible(model, exchange)]
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


class Memory(NamedTuple):
    """Numbers that a worker holds between steps. The paper counts the first three.

    The kinds are those of `account.KINDS`; scales of coded weights and replicas stand apart.
    """

    weights: Fraction
    adapters: int
    optimizer: int  # AdamW's two moments
    gradients: int
    merged_factors: int  # V_n, of the last merge
    scales: Fraction
    replicas: int  # with their moments and gradients

    @property
    def paper(self) -> Fraction:
        """3 M at full rank, q M + 3 M_lte for LTE."""
        return self.weights + self.adapters + self.optimizer


def full_memory(model: Model) -> Memory:
    """A worker of full-rank training: weights, gradients, two moments."""
    return Memory(Fraction(model.M), 0, 2 * model.M, model.M, 0, Fraction(0), 4 * model.replicas)


def lte_memory(model: Model, topology: str, master: bool = False) -> Memory:
    """The worker of LTE with the most heads.

    Who merges, every worker of an all-gather or a server's master, keeps the V_n of all heads; others their own. A
    server's workers hold q(W); its master W too, where that is another.
    """
    own, has_code = heads(model)[0], topology == "server" and model.q < 1
    whole = model.M if master or not has_code else 0
    weights = whole + ((model.q - model.scales) * model.M if has_code else 0)
    kept = model.N if master or topology == "allgather" else own
    lte, scales = own * model.M_lte, model.scales * model.M if has_code else Fraction(0)
    return Memory(weights, lte, 2 * lte, lte, kept * model.M_lte, scales, (1 + 4 * own) * model.replicas)
