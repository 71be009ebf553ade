"""What small runs sent and hold, counted, beside the closed forms of `minilte.cost.forms`: for claim C15."""

from fractions import Fraction

from minilte.cost.forms import LTE, Model, coded, counted, down, lte_memory, sent
from minilte.comm import threads
from minilte.core.random import stream
from minilte.cost import account
from minilte.settings.config import Config
from minilte.run.session import advance, first_state, open_session


def small(seed: int, **changes) -> Config:
    """A run of two merges, its sizes drawn by the seed. m n is a multiple of 64, so no block of codes is short."""
    drawn, T = stream(seed, "check"), 3
    draw = lambda low, high: int(drawn.integers(low, high, endpoint=True))  # noqa: E731
    sizes = dict(inputs=8 * draw(1, 6), outputs=8 * draw(1, 6), rank=draw(1, 4), heads=draw(2, 5), seed=seed)
    fixed = dict(data="least-squares", samples=64, model="linear", alpha=4.0, batch=16, merge_every=T, steps=2 * T)
    return Config(**sizes, **fixed, **changes)


def model(config: Config) -> Model:
    """The run as the closed forms see it, a head a rank."""
    M, M_lte, replicas = counted((config.inputs, config.outputs), config.rank)
    q, scales = coded(config.quant, 4)
    return Model(M, M_lte, replicas, config.heads, config.heads, config.merge_every, q, scales)


def run(config: Config) -> tuple[int, int]:
    """(bytes that all ranks sent, bytes that the last one holds) of a run with a head a rank, played by threads."""

    def on(transport):
        session = open_session(config, transport)
        *_, (_, state) = advance(session, first_state(session))
        bytes_sent = account.bytes_sent(session.comm, session.parts, {}, config.steps)
        return bytes_sent["total"], account.memory(session.parts, state.main, state.heads[0])["total"]

    return threads.run(config.heads, on)[-1]


def bytes_sent(config: Config, key: str) -> Fraction:
    """By formula: a run's meetings, and under a server the copies that go down before the first step."""
    of = model(config)
    first = (of.P - 1) * down(of) * of.size if key == "server" else 0
    return config.steps // config.merge_every * sent(of, LTE[key]) + first


def bytes_held(config: Config, key: str) -> Fraction:
    """By formula: a worker's weights, adapters and moments, and what the paper leaves out."""
    return sum(lte_memory(model(config), key)) * model(config).size
