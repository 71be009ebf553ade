"""From settings to parts: data, network, task, method."""

import re
from typing import NamedTuple

from minilte.baselines import data_parallel
from minilte.comm.ranks import share
from minilte.core import lora, models, optim
from minilte.core.errors import BadInput
from minilte.core.lte import lte
from minilte.core.schedules import schedule
from minilte.core.types import Method, Task, Weights
from minilte.data.batches import batches
from minilte.data.dataset import Dataset, cast
from minilte.data.sources import load
from minilte.runs.config import Config
from minilte.runs.weights import read_weights


class Parts(NamedTuple):
    """What a run is made of."""

    data: Dataset
    task: Task
    method: Method
    notes: tuple[str, ...] = ()  # what the user should hear once
    rank_bounds: dict[str, int] = {}  # law L2: layer -> largest rank that W_t - W_0 can reach, where there is one


def build(config: Config, data: Dataset | None = None) -> Parts:
    """All parts of a run; `data` stands in for what config.data names. Raises BadInput."""
    data = read_data(config) if data is None else cast(data, config.dtype)
    if data.classes is None and config.label_smoothing:
        raise BadInput("label-smoothing: expected 0 for a regression, which has no labels")
    net = make_net(config, data.inputs, data.outputs, data.classes)
    widths = all_widths(config, data.inputs, data.outputs)
    weights = models.init_weights(net, widths, config.seed, config.dtype, config.bias)
    if config.init_from:
        weights = read_weights(config.init_from, weights)
    task = make_task(config, data, net, weights)
    if config.method == "full":
        return Parts(data, task, data_parallel.full(task))
    ranks, notes = head_ranks(config, task.weights)
    return Parts(data, task, low_rank_method(config, task, ranks), notes, rank_bounds(config, task.weights, ranks))


def read_data(config: Config) -> Dataset:
    """The dataset that the settings name. Raises BadInput."""
    options = {}
    if config.data == "least-squares":
        options = dict(
            inputs=config.inputs,
            outputs=config.outputs,
            samples=config.samples,
            noise=config.noise,
            spectrum=config.spectrum,
            rank=config.target_rank or None,
        )
    return load(config.data, config.data_dir or None, config.seed, config.dtype, **options)


def all_widths(config: Config, inputs: int, outputs: int) -> list[int]:
    """Inputs, hidden widths, outputs."""
    return [inputs, *(() if config.model == "linear" else config.widths), outputs]


def make_net(config: Config, inputs: int, outputs: int, classes: int | None) -> models.Network:
    """The network that the settings name, for data of these widths; classes None is a regression."""
    activation = config.activation if config.model == "mlp" else "identity"
    loss = "squared-error" if classes is None else "cross-entropy"
    widths = all_widths(config, inputs, outputs)
    return models.mlp(widths, activation, config.norm, loss=loss, smoothing=config.label_smoothing)


def make_task(config: Config, data: Dataset, net: models.Network, weights: Weights) -> Task:
    """What is to be learnt, and how a step is taken."""
    own = config.head_data == "own"
    sizes = [len(share(config.batch, config.heads, n)) if own else 1 for n in range(config.heads)]
    if config.optimizer == "adamw":
        optimizer = optim.adamw(config.beta1, config.beta2, config.eps, config.weight_decay)
    else:
        optimizer = optim.sgd(config.momentum, config.nesterov, config.weight_decay)
    return Task(
        net=net,
        weights=weights,
        batch=batches(data, config.batch, config.heads, config.seed, config.head_data),
        shares=tuple(size / sum(sizes) for size in sizes),
        optimizer=optimizer,
        rate=schedule(config.schedule, config.lr, config.steps, config.warmup),
        clip=config.clip or None,
    )


def low_rank_method(config: Config, task: Task, ranks: list[dict[str, int]]) -> Method:
    """The parts of lora, mhlora or lte."""
    plan = lora.plan(task.weights, ranks, config.alpha, config.scaling, config.init, config.seed, config.head_init)
    if config.method == "lte":
        return lte(
            task,
            plan,
            config.merge_every,
            config.reset,
            config.reset_optimizer,
            config.loss_reduction,
            config.replicas,
        )
    parallel = {"lora": data_parallel.lora, "mhlora": data_parallel.mhlora}[config.method]
    return parallel(task, plan, config.replicas)


def rank_bounds(config: Config, weights: Weights, ranks: list[dict[str, int]]) -> dict[str, int]:
    """sum_n r_n for each adapted layer (law L2); empty where resets lift the bound."""
    if config.method == "lte" and config.reset != "none":
        return {}
    heads = ranks[:1] if config.method == "lora" else ranks
    return {name: sum(lora.layer_rank(head[name], weights[name].W) for head in heads) for name in heads[0]}


def head_ranks(config: Config, weights: Weights) -> tuple[list[dict[str, int]], tuple[str, ...]]:
    """For each head, layer name -> rank asked for; and one note for each layer that has to use less."""
    names = lora.adapted_names(weights, config.adapt or None)
    single = layer_ranks(config, names)
    ranks, short = [], {}
    for rank in config.head_ranks or (config.rank,) * config.heads:
        asked = {name: single.get(name, rank) for name in names}
        for name in lora.check_ranks(weights, asked):
            short[name] = max(asked[name], short.get(name, 0))
        ranks.append(asked)
    notes = (
        f"{name} is {weights[name].W.shape[0]} x {weights[name].W.shape[1]}: rank "
        f"{lora.layer_rank(rank, weights[name].W)} there, with the scale of rank {rank}"
        for name, rank in short.items()
    )
    return ranks, tuple(notes)


def layer_ranks(config: Config, names: list[str]) -> dict[str, int]:
    """("layer1=64",) -> {"layer1": 64}. Raises BadInput for a layer that is not adapted."""
    ranks = {}
    for item in config.layer_ranks:
        name, _, rank = item.partition("=")
        if name not in names or name in ranks or not re.fullmatch(r"\d{1,9}", rank, re.ASCII):
            raise BadInput(f"layer-ranks: expected NAME=RANK once for a name of {', '.join(names)}, got {item!r:.60}")
        ranks[name] = int(rank)
    return ranks
