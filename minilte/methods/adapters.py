"""Adapters: which layers of a network get them, of which rank in each head, how they start, how they are scaled."""

import re
from collections.abc import Iterable, Sequence

from minilte.core import lora
from minilte.core.errors import BadInput
from minilte.core.lora import Plan
from minilte.core.types import Linear, Weights
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part

LARGEST_SCALE = 1e6  # of an adapter; the paper's largest alpha at rank 1 is 8192


@part("adapters", "adapters")
class Factors:
    """Low-rank pairs beside frozen matrices (Hu et al. 2021)."""

    rank: int = knob(32, "rank r of every adapter; a layer uses min(rank, m, n)", least=1, most=MOST)
    head_ranks: tuple[int, ...] = knob((), "a rank for each head, as 32,32,8,8; overrides --rank", least=1, most=MOST)
    layer_ranks: tuple[str, ...] = knob((), "ranks of single layers, as layer1=64,layer3=4; override the others")
    adapt: tuple[str, ...] = knob((), "names of the layers that get adapters, as layer1,layer2; default all")
    alpha: float = knob(2048.0, "numerator of the scale s", above=0.0)
    scaling: str = knob("rank", "s = alpha / rank, or alpha / sqrt(rank)", choices=("rank", "sqrt-rank"))
    init: str = knob("bernstein", "how A starts (B starts at zero)", choices=tuple(lora.INITS))
    head_init: str = knob("own", "A of its own for each head, or the same for all", choices=("own", "same"))
    replicas: str = knob(
        "average", "biases and norms: trained and averaged at merges, or frozen", choices=("average", "frozen")
    )

    @property
    def gives(self):
        return {"one rank"} if len(set(self.head_ranks)) < 2 else set()

    def check(self):
        refuse_scale(self.alpha, min(self.head_ranks or (self.rank,)), self.scaling)

    def check_with(self, config):
        if self.head_ranks and len(self.head_ranks) != config.heads:
            raise BadInput(
                f"head-ranks: expected a rank for each of {config.heads} heads, got {len(self.head_ranks)}"
            )

    def plan(self, weights: Weights, heads: int, seed: int) -> Plan:
        """The adapters of N heads. Raises BadInput where a rank or a name fits no layer."""
        ranks = self.asked(weights, heads)
        return lora.plan(weights, ranks, self.alpha, self.scaling, self.init, seed, self.head_init)

    def asked(self, weights: Weights, heads: int) -> list[dict[str, int]]:
        """For each head, layer name -> rank asked for. Raises BadInput."""
        names = adapted_names(weights, self.adapt)
        single = layer_ranks(self.layer_ranks, names)
        ranks = [{name: single.get(name, rank) for name in names} for rank in self.head_ranks or (self.rank,) * heads]
        for asked in ranks:
            refuse_ranks(weights, asked)
            refuse_scale(self.alpha, min(asked.values()), self.scaling)
        return ranks

    def notes(self, weights: Weights, heads: int) -> tuple[str, ...]:
        """A note for each layer that has to use less than the rank asked for."""
        ranks = self.asked(weights, heads)
        most = {name: max(head[name] for head in ranks) for name in ranks[0]}
        return tuple(
            f"{name} is {m} x {n}: rank {min(m, n)} there, with the scale of rank {rank}"
            for name, rank in most.items()
            for m, n in [weights[name].W.shape]
            if rank > min(m, n)
        )


def adapted_names(weights: Weights, asked: Iterable[str] = (), flag: str = "adapt") -> list[str]:
    """Names of the layers to adapt, in network order: all dense ones, or those asked for.

    Raises BadInput for a name that is no dense layer of the network.
    """
    dense = [name for name, layer in weights.items() if isinstance(layer, Linear)]
    if not asked:
        return dense
    for name in (asked := set(asked)):
        if name not in dense:
            raise BadInput(f"{flag}: no dense layer is called {name!r}; there are {', '.join(dense)}")
    return [name for name in dense if name in asked]


def layer_ranks(items: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """("layer1=64",) -> {"layer1": 64}. Raises BadInput for a layer that is not adapted."""
    ranks = {}
    for item in items:
        name, _, rank = item.partition("=")
        if name not in names or name in ranks or not re.fullmatch(r"\d{1,9}", rank, re.ASCII):
            raise BadInput(f"layer-ranks: expected NAME=RANK once for a name of {', '.join(names)}, got {item!r:.60}")
        ranks[name] = int(rank)
    return ranks


def refuse_ranks(weights: Weights, ranks: dict[str, int], flag: str = "rank") -> None:
    """Raises BadInput for a rank below 1, or above min(m, n) of every adapted layer."""
    widest = max(min(weights[name].W.shape) for name in ranks)
    for name, rank in ranks.items():
        if not 1 <= rank <= widest:
            raise BadInput(
                f"{flag}: expected 1 to {widest} (the largest min(m, n) of the adapted layers), got {rank} in {name}"
            )


def refuse_scale(alpha: float, rank: int, scaling: str) -> None:
    """Raises BadInput for a scale above `LARGEST_SCALE`."""
    if not (s := lora.scale(alpha, rank, scaling)) <= LARGEST_SCALE:
        raise BadInput(f"alpha: expected alpha / {scaling} of at most {LARGEST_SCALE:g}, got {s:g}")


def largest_ranks(ranks: Sequence[dict[str, int]], weights: Weights) -> dict[str, int]:
    """sum_n r_n for each adapted layer: the largest rank that W_t - W_0 can reach without resets (law L2)."""
    return {name: sum(min(head[name], *weights[name].W.shape) for head in ranks) for name in ranks[0]}
