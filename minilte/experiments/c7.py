"""C7: heads stay near orthogonal through training, most so with different starts and different data.

How far apart two heads are is the Grassmann distance between the column spaces of their B A in the first layer, averaged
over pairs of heads. Independent random subspaces are the reference: "near orthogonal" is taken to be nine tenths
of their distance, after each of the steps 20, 40, 60 and 80. At the other end, heads with the
same start and the same data are the same head (law L15): their cosine is 1 and their distance 0.

A head sees 32 samples a step in every combination, so the combinations differ only in which samples these are.
"""

from collections.abc import Callable
from functools import cache

from minilte.core.lora import semi_orthogonal
from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.experiments.claim import Prediction, claim
from minilte.experiments.images import images
from minilte.experiments.runs import records
from minilte.measure.alignment import angles, cosine, grassmann, over_pairs
from minilte.settings.config import Config

SETTINGS = Config(
    widths=(64,), heads=4, rank=8, alpha=128.0, lr=0.003, merge_every=10, batch=128, steps=80, eval_every=80
)  # fmt: skip
EVERY = 20  # steps between measurements


@cache
def at_random(m: int = 64, r: int = 8, pairs: int = 200) -> float:
    """The mean Grassmann distance of independent r-dimensional subspaces of R^m."""
    rng = stream(0, "check")
    return sum(angles(semi_orthogonal(rng, r, m).T, semi_orthogonal(rng, r, m).T) for _ in range(pairs)) / pairs


def combination(**same: str) -> Config:
    """Own start and own data except for `same`; with the same data, the batch is a shard of the usual batch."""
    batch = SETTINGS.batch // SETTINGS.heads if "head_data" in same else SETTINGS.batch
    return SETTINGS.replace(**same, batch=batch)


TWINS = combination(head_init="same", head_data="same").replace(steps=EVERY)


def along(config: Config, measure: Callable[[Adapter, Adapter], float]) -> list[float]:
    """The mean over pairs of heads of a measure of the first layer's adapters, as merged, every `EVERY` steps."""
    states = [record.state for record in records(config, images())]
    merged = [state.main.then for state in states if state.step and state.step % EVERY == 0]
    return [over_pairs(measure, [V["layer1"] for V in heads]) for heads in merged]


@claim(
    "C7",
    "4.2, Fig. 8",
    "heads stay near orthogonal through training, most so with different starts and different data",
    Prediction("a", "same start, same data: least cosine", "L15", 1 - 1e-6, 1 + 1e-6),
    Prediction("b", "own start, own data: least distance / that of random subspaces", "paper", least=0.9),
    Prediction("c", "the same, least distance of own start, own data less own start, same data", "paper", least=0),
    Prediction("d", "the same, less same start, own data", "paper", least=0),
)
def measure(seed: int) -> dict[str, float]:
    """Four numbers from the four combinations, on the same samples."""
    at = lambda **same: combination(**same).replace(seed=seed)  # noqa: E731
    own, data, start = (
        min(along(config, grassmann)) / at_random() for config in (at(), at(head_data="same"), at(head_init="same"))
    )
    return {"a": min(along(TWINS.replace(seed=seed), cosine)), "b": own, "c": own - data, "d": own - start}
