"""Every measured ratio and its target."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.bench import ddp, memory, peers, processes, step
from minilte.bench.step import Size
from minilte.bench.timing import Spread, paired, spread
from minilte.comm import threads
from minilte.comm.buffers import payload
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE
from minilte.core import tree
from minilte.core.lte import MEAN
from minilte.core.method import rounds
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Sent
from minilte.cost.traffic import ring
from minilte.quant import packed
from minilte.quant.codes import Quantizer
from minilte.rules.telescope import TELESCOPE
from minilte.run.build import build
from minilte.run.machine import one_blas_thread
from minilte.settings.config import Config
from minilte.steps import adamw as stretches

THREADS = 2


class Figure(NamedTuple):
    """A ratio with its target: `most` where small is good, `least` where large is; neither where it is reported only."""

    name: str
    measure: Callable[[int], Spread]  # number of pairs -> the ratio
    most: float | None = None
    least: float | None = None


def single_blas(work: Callable) -> Callable:
    """The work under one BLAS thread, as in a run."""

    def held():
        with one_blas_thread():
            return work()

    return held


def against(size: Size, peer: Callable[[Size], Callable], **changes) -> Callable[[int], Spread]:
    """A round of minilte, with changes of `step.method`, over a round of the peer."""
    return lambda runs: paired(single_blas(step.rounds(size, THREADS, **changes)), peer(size), runs).ratio


def over_floor(size: Size) -> Callable[[int], Spread]:
    """The matrix products of a step over the step."""
    return lambda runs: (
        paired(single_blas(step.products(size, THREADS)), single_blas(step.rounds(size, THREADS)), runs).ratio
    )


def on_bases(size: Size, side: str) -> Callable[[int], Spread]:
    """A round of the shared basis over a round of LTE at the same rank."""

    def measure(runs):
        mine, theirs = step.on_bases(size, THREADS, side), step.rounds(size, THREADS)
        return paired(single_blas(mine), single_blas(theirs), runs).ratio

    return measure


def adamw(runs: int, numbers: int = 2_000_000) -> Spread:
    """AdamW of minilte over torch's default, one thread each, on a flat tensor, in place."""
    draw = stream(0, "check").standard_normal
    params, grads = ({"a": draw(numbers).astype(np.float32)} for _ in range(2))
    optimizer = stretches.adamw()
    held = [params, optimizer.init(params)]

    def update():
        held[:] = optimizer.in_place(held[0], grads, held[1], 1e-4)

    return paired(update, peers.adamw(numbers), runs).ratio


def merge(runs: int, rule, width: int = 1024, heads: int = 32, rank: int = 32) -> Spread:
    """A merge by a rule, on two threads, over a merge with a dense matrix a head."""
    from concurrent.futures import ThreadPoolExecutor

    draw = stream(0, "check").standard_normal
    pair = lambda: Adapter(*(draw(shape).astype(np.float32) for shape in ((rank, width), (width, rank))))  # noqa: E731
    weights = {"layer1": Linear(draw((width, width)).astype(np.float32), None)}
    sent, then = [Sent({"layer1": pair()}, {}) for _ in range(heads)], [{"layer1": pair()} for _ in range(heads)]
    scales, w, pool = [{"layer1": 0.5}] * heads, [1 / heads] * heads, ThreadPoolExecutor(THREADS)
    mine = single_blas(lambda: rule.merge(rule.init(weights), weights, sent, then, scales, w, pool.map))
    return paired(mine, peers.naive_merge(width, heads, rank), runs).ratio


def on_two_processes(runs: int) -> Spread:
    """A step of LTE on two MPI processes over a dense step of torch DDP on two processes."""
    return spread([processes.measured_on(2)[0] / ddp.seconds_on(2) for _ in range(max(3, runs // 2))])


def bytes_against_ring(_: int, width: int = 1024, heads: int = 8, rank: int = 8, every: int = 10) -> Spread:
    """Bytes that LTE hands to its transport, counted, over those of a ring all-reduce of dense gradients at every step.

    One square layer without a bias, a head a process, one round. By formula N r / (T m), for m x m matrices.
    """
    size = Size((width, width), heads, heads, rank, every)
    task = step.task(size, bias=False)
    method = step.method(size, task)

    def sent(transport):
        comm = Communicator(transport, heads)
        list(rounds(method, comm, EVERYONE, method.begin(), [method.enter(n) for n in comm.mine], every))
        return payload(comm.sent)

    counted = sum(threads.run(heads, sent))
    return spread([counted / (ring(heads, tree.nbytes(task.weights)) * every)])


def stacked(size: Size, group: int) -> Callable[[int], Spread]:
    """Plain local steps over stacked local steps, whose heads compute their dense products in groups of this size."""

    def measure(runs):
        fast = step.rounds(size, THREADS, stack=group)
        return paired(single_blas(step.rounds(size, THREADS)), single_blas(fast), runs).ratio

    return measure


def packed_product(runs: int, batch: int, code: str = "int4", wide: int = 4096) -> Spread:
    """x W^T and dy W with a packed W over the same with floats, one thread."""
    draw = stream(0, "check").standard_normal
    W, x = (draw(shape).astype(np.float32) for shape in ((wide, wide), (batch, wide)))
    Q = packed.pack(W, Quantizer(code))
    both = lambda W: single_blas(lambda: (x @ W.T, x @ W))  # noqa: E731
    return paired(both(Q), both(W), runs).ratio


def guarded(policy: str) -> Callable[[int], Spread]:
    """Rounds of the default run with a guard over rounds without, in this process."""

    def measure(runs):
        config = Config(bad_heads=policy)
        built = build(config)
        bare = config.method.build(built.task, config)
        return paired(
            *(single_blas(step.turns(method, config.heads, THREADS)) for method in (built.method, bare)), runs
        ).ratio

    return measure


LARGE, SMALL, NARROW = Size(), Size(batch=256), Size(widths=(784, 256, 256, 10))
MANY = Size(batch=1024, heads=32, every=10)
FASHION = Size((784, 256, 256, 10), batch=512, rank=64, every=10)
WIDE = Size(batch=512, rank=64, every=10)

FIGURES = (
    Figure(f"step / torch LTE as the authors', {LARGE}", against(LARGE, peers.stacked_lte), most=0.80),
    Figure("same, T 10", against(LARGE._replace(every=10), peers.stacked_lte), most=0.80),
    Figure("same, batch 256, T 1", against(SMALL, peers.stacked_lte), most=0.60),
    Figure(
        "same, batch 256, T 1, rows stacked in groups of 4, merged by telescoping",
        against(SMALL, peers.stacked_lte, stack=4, rule=TELESCOPE),
        most=0.60,
    ),
    Figure(f"speed-up of rows stacked in groups of 8, {MANY}", stacked(MANY, 8), least=1.30),
    Figure("step / torch LTE, one bmm and fused AdamW", against(LARGE, lambda size: peers.stacked_lte(size, True))),
    Figure("step / dense torch training, batch 4096", against(LARGE, peers.dense), most=0.75),
    Figure("step / peft LoRA, batch 4096", against(LARGE, peers.peft_lora)),
    Figure("floor / step, batch 4096, 1024 wide", over_floor(LARGE), least=0.80),
    Figure("floor / step, batch 4096, 256 wide", over_floor(NARROW), least=0.60),
    Figure("floor / step, batch 256, 1024 wide, T 1", over_floor(SMALL), least=0.60),
    *(
        Figure(f"step of the shared basis, side {side} / step of LTE, {size}", on_bases(size, side), most=1.0)
        for size in (FASHION, WIDE)
        for side in ("a", "b")
    ),
    Figure("merge / dense merge a head, 1024 wide, 32 heads, r 32: mean", lambda runs: merge(runs, MEAN)),
    Figure("same, by telescoping", lambda runs: merge(runs, TELESCOPE), most=0.10),
    Figure("AdamW / torch's default, one thread", adamw, most=1.00),
    Figure(
        "speed-up of 2 threads over heads",
        lambda runs: paired(single_blas(step.rounds(LARGE, 1)), single_blas(step.rounds(LARGE, 2)), runs).ratio,
        least=1.80,
    ),
    Figure("LTE on 2 processes / torch DDP over gloo on 2 processes, batch 4096", on_two_processes),
    Figure(
        "bytes of LTE, counted / ring data parallel: 8 heads, r 8, T 10, 1024 wide", bytes_against_ring, most=1 / 160
    ),
    Figure(
        "packed int4 x W^T and dy W / float32, 4096 wide, batch 256",
        lambda runs: packed_product(runs, 256),
        most=1.30,
    ),
    Figure("same, batch 1024", lambda runs: packed_product(runs, 1024), most=1.10),
    Figure(
        "peak memory, packed int4 worker under a master / dense AdamW, 4 x 4096 x 4096, r 32, batch 64",
        lambda runs: spread([memory.over_dense() for _ in range(max(3, runs // 2))]),
        most=0.10,
    ),
    Figure("training with the default guard over none, default run", guarded("stop"), most=1.02),
    Figure("same, with --bad-heads clip", guarded("clip")),
    Figure("speed-up of 2 processes over 1", lambda runs: processes.speed_up(2, max(3, runs // 2)), least=1.80),
)
