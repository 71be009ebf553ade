"""Bytes that small runs send and hold, counted, beside the closed forms of `minilte.cost.forms`: for claim C15."""

from fractions import Fraction

from minilte.comm import threads
from minilte.core.method import rounds
from minilte.core.random import stream
from minilte.cost import account
from minilte.cost.forms import LTE, Model, coded, counted, down, sent
from minilte.cost.memory import lte_memory
from minilte.run.session import first_state, open_session
from minilte.settings.config import Config


def small(seed: int, **changes) -> Config:
    """A run of two merges, its sizes drawn by the seed. m n is a multiple of 64, so no block of codes is short."""
    drawn, T = stream(seed, "check"), 3
    draw = lambda low, high: int(drawn.integers(low, high, endpoint=True))  # noqa: E731
    sizes = dict(inputs=8 * draw(1, 6), outputs=8 * draw(1, 6), rank=draw(1, 4), heads=draw(2, 5), seed=seed)
    fixed = dict(data="least-squares", samples=64, model="linear", alpha=4.0, batch=16, merge_every=T, steps=2 * T)
    return Config(**sizes, **fixed, **changes)


def model(config: Config) -> Model:
    """The run as the closed forms see it, a head a process."""
    M, M_lte, replicas = counted((config.inputs, config.outputs), config.rank)
    q, scales = coded(config.quant.name, 4)
    return Model(M, M_lte, replicas, config.heads, config.heads, config.merge_every, q, scales)


def run(config: Config) -> tuple[int, int]:
    """(bytes that all processes sent, bytes that the last process holds) of a run; threads act as a process a head."""

    def on(transport):
        session = open_session(config, transport)
        (_, built, comm), start = session, first_state(session)
        *_, done = rounds(built.method, comm, built.meeting, start.main, start.heads, config.steps)
        held = account.memory(built.task, built.method, done.shown, done.heads[0], built.master)
        return account.bytes_sent(comm, built.task, {}, config.steps)["total"], held["total"]

    return threads.run(config.heads, on)[-1]


def bytes_sent(config: Config, key: str) -> Fraction:
    """By formula: a run's merges, and under a server the copies broadcast before the first step."""
    of = model(config)
    first = (of.P - 1) * down(of) * of.size if LTE[key].served else 0
    return config.steps // config.merge_every * sent(of, LTE[key]) + first


def bytes_held(config: Config, key: str) -> Fraction:
    """By formula: a worker's weights, adapters and moments, and what the paper leaves out."""
    return sum(lte_memory(model(config), LTE[key])) * model(config).size
