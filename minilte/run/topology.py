"""From settings to a topology: who merges, what travels, and what of W a worker holds."""

import dataclasses
from collections.abc import Callable, Sequence

from minilte.comm import topologies, traffic
from minilte.comm.buffers import nbytes
from minilte.comm.topologies import Copy
from minilte.comm.wire import WIRES, template
from minilte.core.lora import Plan
from minilte.core.random import stream
from minilte.core.types import Array, Rule, Topology, Weights
from minilte.quant import packed
from minilte.quant.codes import Quantizer, checked
from minilte.quant.in_place import in_place, requantized
from minilte.settings.config import Config


def quantizer(config: Config) -> Quantizer | None:
    """How W is coded for the workers; None where it is not. Raises BadInput."""
    if config.quant == "none":
        return None
    return checked(Quantizer(config.quant, config.quant_scale, config.quant_block, config.quant_rounding))


def has_master(config: Config) -> bool:
    """Does rank 0 alone hold W in full precision?"""
    return config.method == "lte" and config.topology == "server"


def settled(config: Config, start: Weights, replica: Weights, plan: Plan) -> tuple[Config, str]:
    """The settings with the topology that `default` or `auto` stands for, and a note on the choice of `auto`.

    The default is a master where W is quantized, for no worker can merge then, and under a quorum. `auto` takes the fewest bytes with a
    head on every rank: by the heads and not by the ranks, so that these cannot change the numbers of a run. Shapes of
    `start` and `replica` suffice.
    """
    if config.method != "lte" or config.topology not in ("default", "auto"):
        return config, ""
    if config.topology == "default" or config.quant != "none":
        everyone = config.quant == "none" and not config.quorum
        return dataclasses.replace(config, topology="allgather" if everyone else "server"), ""
    kinds = merge_bytes(config, start, replica, plan, config.heads)
    costs = {name: sum(sizes.values()) for name, sizes in kinds.items()}
    best = min(costs, key=costs.get)
    rest = ", ".join(f"{cost:,} by {name}" for name, cost in costs.items() if name != best)
    note = f"topology {best}: {costs[best]:,} bytes a merge with a head on every rank, of {rest}"
    return dataclasses.replace(config, topology=best), note


def topology(config: Config, start: Weights, replica: Weights, plan: Plan) -> Topology:
    """The topology of settled settings."""
    adapted, wire, kind = list(plan.ranks[0]), WIRES[config.wire], quantizer(config)
    if config.topology == "server":
        return topologies.server(start, replica, adapted, copy_of(config), wire)
    if config.topology == "allreduce":
        return topologies.allreduce()
    made = topologies.allgather(wire)
    return made if kind is None else made._replace(share=quantized_start(adapted, kind, rounding(config)))


IN_PLACE = "quantized without a master: a merge that moves W by less than half a code is lost; see --topology server"


def quantized_start(adapted: Sequence[str], kind: Quantizer, draw) -> Callable:
    """The start of a run without a master: every rank sees q(W)."""

    def share(comm, main, step):
        return main._replace(weights=requantized(main.weights, adapted, kind, draw, step))

    return share


def merge_rule(config: Config, rule: Rule, adapted: Sequence[str]) -> Rule:
    """The rule of a run: where W is quantized and there is no master, with a new quantization after each merge."""
    return in_place(rule, adapted, quantizer(config), rounding(config)) if is_in_place(config) else rule


def is_in_place(config: Config) -> bool:
    """Is W quantized anew after every merge, with no copy in full precision?"""
    return config.quant != "none" and not has_master(config)


def rounding(config: Config):
    """(layer, merge) -> draw(shape), of its own for each; the names of layers end in their numbers."""

    def draw(layer: str, merge: int):
        number = int("".join(filter(str.isdigit, layer)) or 0)
        return lambda shape: stream(config.seed, "rounding", number, merge).random(shape, config.dtype)

    return draw


def copy_of(config: Config) -> Copy:
    """How workers see W: whole, or as codes that are decoded once ("fake") or inside each product ("packed")."""
    kind, draw = quantizer(config), rounding(config)
    if kind is None:
        return topologies.WHOLE
    return Copy(
        look=lambda W, layer, step: packed.pack(W, kind, draw(layer, step)),
        empty=lambda shape, dtype: packed.empty(kind, shape, dtype),
        parts=lambda copy: {"codes": copy.codes, "scales": copy.absmax},
        view=packed.unpacked if config.quant_mode == "fake" else lambda copy: copy,
    )


def bytes_seen(config: Config, start: Weights, adapted: Sequence[str]) -> int:
    """Bytes of the weights as a head holds them: codes and scales where they stay packed."""
    kind, saved = quantizer(config), 0
    if kind is not None and has_master(config) and config.quant_mode == "packed":
        for W in (start[name].W for name in adapted):
            saved += nbytes(W) - nbytes(packed.empty(kind, W.shape, W.dtype))
    return nbytes(start) - saved


def merge_bytes(
    config: Config, start: Weights, replica: Weights, plan: Plan, ranks: int
) -> dict[str, dict[str, int]]:
    """topology -> kind -> bytes of a merge over all ranks, from shapes alone, for the topologies that could be used.

    Under a master `ranks - 1` copies go down once more, before the first step.
    """
    blocks = [traffic.share(config.heads, ranks, rank) for rank in range(ranks)]
    wire, adapted = WIRES[config.wire], list(plan.ranks[0])
    factors = [nbytes(template(wire, plan.shape(n))) for n in range(config.heads)]
    matrices = [start[name].W for name in adapted]
    dense, number = sum(W.size for W in matrices), matrices[0].dtype.itemsize
    extra, away = nbytes(replica), config.heads - len(blocks[0])  # heads that do not live with the master
    costs = {}
    replicas = traffic.allgather(ranks, config.heads * extra)
    costs["allgather"] = {"factors": traffic.allgather(ranks, sum(factors)), "replicas": replicas}
    factors_needed = config.bad_heads != "stop" or config.merge_rule != "mean"
    if config.wire == "full" and config.quant == "none" and not factors_needed:
        deltas = number * traffic.sliced([len(block) for block in blocks], dense)
        costs["allreduce"] = {"deltas": deltas, "replicas": replicas}
    down = {"weights": number * dense} if (kind := quantizer(config)) is None else bytes_of_copies(kind, matrices)
    costs["server"] = {
        "factors": traffic.server(ranks, sum(factors[len(blocks[0]) :]), 0),
        "replicas": traffic.server(ranks, away * extra, extra),
    } | {name: traffic.server(ranks, 0, size) for name, size in down.items()}
    return costs


def bytes_of_copies(kind: Quantizer, matrices: Sequence[Array]) -> dict[str, int]:
    """What a master sends of these matrices."""
    copies = [packed.empty(kind, W.shape, W.dtype) for W in matrices]
    return {"codes": nbytes([one.codes for one in copies]), "scales": nbytes([one.absmax for one in copies])}
