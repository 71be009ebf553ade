"""Hypothesis strategies for the objects of this field: for the laws here, and for your own.

Every strategy draws plain values (a seed, shapes, ranks) and builds arrays from them, so that what hypothesis shrinks
is small and what it prints can be pasted.
"""

from hypothesis import strategies as st

from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.laws.world import Case

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 5)  # 1 is where broadcasting hides mistakes
ACTIVATIONS = ["tanh", "relu", "identity", "gelu-tanh"]
SMOOTH = st.sampled_from(["tanh", "identity", "gelu-tanh"])  # no kink that rounding could cross
OPTIMIZERS = ["sgd", "momentum", "nesterov", "adamw"]


def networks(least: int = 1, most: int = 5, depth: int = 3):
    """Widths of networks of 1 to `depth` layers, each width from `least` to `most`."""
    return st.lists(st.integers(least, most), min_size=2, max_size=depth + 1).map(tuple)


def heads(most: int = 4, rank: int = 3):
    """Ranks of 1 to `most` heads: all equal, or drawn for each head."""
    by_size = sorted(range(1, most + 1), key=lambda N: abs(N - 2))  # N = 2 first, since N = 1 is a special case
    counts = st.sampled_from(by_size)
    equal = st.tuples(st.integers(1, rank), counts).map(lambda pair: pair[:1] * pair[1])
    return equal | st.lists(st.integers(1, rank), min_size=1, max_size=most).map(tuple)


def adapters(m: int, n: int, r: int):
    """Adapters of an m x n layer with random factors."""

    def draw(seed):
        normal = stream(seed, "check").standard_normal
        return Adapter(normal((r, n)), normal((m, r)))

    return seeds.map(draw)


def batches(rows: int, n: int):
    """Inputs of `rows` samples of n features."""
    return seeds.map(lambda seed: stream(seed, "check", 1).standard_normal((rows, n)))


def cases(**fixed):
    """Training problems; a keyword fixes a field of `Case` to a value or to your own strategy."""
    drawn = dict(
        seed=seeds,
        widths=networks(),
        activation=st.sampled_from(ACTIVATIONS),
        bias=st.booleans(),
        loss=st.sampled_from(["cross-entropy", "squared-error"]),
        ranks=heads(),
        alpha=st.sampled_from([0.5, 1.0, 2.0]),
        every=st.integers(1, 4),
        steps=st.integers(2, 4),  # whole rounds; a shorter round may follow
        reset=st.sampled_from(["none", "b", "ab"]),
        reset_optimizer=st.booleans(),
        optimizer=st.sampled_from(OPTIMIZERS),
        lr=st.sampled_from(
            [0.0003, 0.001]
        ),  # momentum, s^2 and a single sample act like a rate a hundred times as large
        decay=st.sampled_from([0.0, 0.1]),
        samples=st.integers(1, 4),
        data=st.sampled_from(["own", "same", "unlike"]),
    )
    strategies = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in fixed.items()
    }
    built = st.builds(Case, **(drawn | strategies)).filter(fits)
    return built if "steps" in fixed else built.map(in_rounds)


def in_rounds(case: Case) -> Case:
    """The case with as many rounds as it has steps, and perhaps a shorter round at the end."""
    return case._replace(steps=case.steps * case.every + case.seed % case.every)


def fits(case: Case) -> bool:
    """No head asks for more than the largest min(m, n), which the library refuses; and there is something to learn."""
    learns = case.loss != "cross-entropy" or case.widths[-1] > 1
    return learns and max(case.ranks) <= max(min(pair) for pair in zip(case.widths, case.widths[1:]))
