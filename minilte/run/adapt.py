"""Which layers of a network get adapters, and of which rank in each head."""

import re
from collections.abc import Iterable

from minilte.core import lora
from minilte.core.errors import BadInput
from minilte.core.types import Linear, Weights
from minilte.settings.config import Config


def head_ranks(config: Config, weights: Weights) -> tuple[list[dict[str, int]], tuple[str, ...]]:
    """For each head, layer name -> rank asked for; and one note for each layer that has to use less."""
    names = adapted_names(weights, config.adapt or None)
    single = layer_ranks(config, names)
    ranks, short = [], {}
    for rank in config.head_ranks or (config.rank,) * config.heads:
        asked = {name: single.get(name, rank) for name in names}
        for name in check_ranks(weights, asked):
            short[name] = max(asked[name], short.get(name, 0))
        ranks.append(asked)
    notes = (
        f"{name} is {weights[name].W.shape[0]} x {weights[name].W.shape[1]}: rank "
        f"{lora.layer_rank(rank, weights[name].W)} there, with the scale of rank {rank}"
        for name, rank in short.items()
    )
    return ranks, tuple(notes)


def adapted_names(weights: Weights, asked: Iterable[str] | None = None) -> list[str]:
    """Names of the layers to adapt, in network order: all dense ones, or those asked for.

    Raises BadInput for a name that is no dense layer of the network.
    """
    dense = [name for name, layer in weights.items() if isinstance(layer, Linear)]
    if asked is None:
        return dense
    for name in (asked := set(asked)):
        if name not in dense:
            raise BadInput(f"adapt: no dense layer is called {name!r}; there are {', '.join(dense)}")
    return [name for name in dense if name in asked]


def layer_ranks(config: Config, names: list[str]) -> dict[str, int]:
    """("layer1=64",) -> {"layer1": 64}. Raises BadInput for a layer that is not adapted."""
    ranks = {}
    for item in config.layer_ranks:
        name, _, rank = item.partition("=")
        if name not in names or name in ranks or not re.fullmatch(r"\d{1,9}", rank, re.ASCII):
            raise BadInput(f"layer-ranks: expected NAME=RANK once for a name of {', '.join(names)}, got {item!r:.60}")
        ranks[name] = int(rank)
    return ranks


def check_ranks(weights: Weights, ranks: dict[str, int]) -> list[str]:
    """Refuse ranks that fit no layer; return the names of the layers that will use less than asked.

    Raises BadInput for a rank below 1, or above min(m, n) of every adapted layer.
    """
    widest = max(min(weights[name].W.shape) for name in ranks)
    for name, rank in ranks.items():
        if not 1 <= rank <= widest:
            raise BadInput(
                f"rank: expected 1 to {widest} (the largest min(m, n) of the adapted layers), got {rank} in {name}"
            )
    return [name for name, rank in ranks.items() if lora.layer_rank(rank, weights[name].W) < rank]


def rank_bounds(config: Config, weights: Weights, ranks: list[dict[str, int]]) -> dict[str, int]:
    """sum_n r_n for each adapted layer (law L2); empty where resets lift the bound."""
    if config.method == "lte" and config.reset != "none":
        return {}
    heads = ranks[:1] if config.method == "lora" else ranks
    return {name: sum(lora.layer_rank(head[name], weights[name].W) for head in heads) for name in heads[0]}
