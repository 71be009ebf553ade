"""From settings to parts: data, network, task, method."""

from collections.abc import Callable
from typing import NamedTuple

from minilte.methods import data_parallel
from minilte.comm.traffic import share
from minilte.core import lora, networks, optim, tree
from minilte.core.errors import BadInput
from minilte.core.head import each_alone, replica_of
from minilte.core.lte import lte
from minilte.core.schedules import schedule
from minilte.core.types import Method, Rule, Task, Weights
from minilte.data.batches import batches
from minilte.data.dataset import Dataset, cast
from minilte.data.sources import KNOWN, load
from minilte.steps.absorbed import absorbed_steps
from minilte.steps.stacked import stacked_steps
from minilte.around.guarded import guard
from minilte.run.adapt import adapted_names, head_ranks, rank_bounds
from minilte.settings.config import RULES, Config
from minilte.run.topology import IN_PLACE, bytes_seen, has_master, is_in_place, merge_rule, settled, topology
from minilte.disk.weights import read_weights


class Parts(NamedTuple):
    """What a run is made of."""

    data: Dataset
    task: Task
    method: Method
    notes: tuple[str, ...] = ()  # what the user should hear once
    rank_bounds: dict[str, int] = {}  # law L2: layer -> largest rank that W_t - W_0 can reach, where there is one
    master: bool = False  # does rank 0 alone hold the main weights?
    seen: int = 0  # bytes of the weights as a head sees them; 0: of the main weights


def build(config: Config, data: Dataset | None = None, rank: int = 0, rule: Rule | None = None) -> Parts:
    """All parts of a run as a rank needs them. Raises BadInput.

    `data` stands in for what config.data names, and `rule` for what config.merge_rule names.
    Under a master a worker gets templates without memory in place of the matrices that it will never hold.
    """
    refuse_rule(config, rule)
    data = read_data(config) if data is None else cast(data, config.dtype)
    if data.classes is None and config.label_smoothing:
        raise BadInput("label-smoothing: expected 0 for a regression, which has no labels")
    net = make_net(config, data.inputs, data.outputs, data.classes)
    widths = all_widths(config, data.inputs, data.outputs)
    if config.method == "full":
        task = make_task(config, data, net, start_weights(config, net, widths))
        return Parts(data, task, data_parallel.full(task), own_data(config, data))
    blank = networks.blank_weights(net, widths, config.dtype, config.bias)
    ranks, notes = head_ranks(config, blank)
    config, note = settled(config, blank, *kinds_of_numbers(config, blank, ranks))
    notes = (*notes, *filter(None, (note, IN_PLACE if is_in_place(config) else "")), *own_data(config, data))
    weights = (workers_weights if rank and has_master(config) else start_weights)(config, net, widths)
    task = make_task(config, data, net, weights)
    bounds = {} if is_in_place(config) or rule else rank_bounds(config, weights, ranks)
    seen = bytes_seen(config, weights, list(ranks[0]))
    method = low_rank_method(config, task, ranks, rule)
    return Parts(data, task, method, notes, bounds, has_master(config), seen)


def refuse_rule(config: Config, rule: Rule | None) -> None:
    """Raises BadInput for a rule that is none, or that the settings have no use for."""
    if rule is None:
        return
    if not isinstance(rule, Rule):
        raise BadInput(f"rule: expected a Rule(init, merge), got {rule!r:.60}; see minilte.core.types.Rule")
    if config.method != "lte" or config.topology == "allreduce" or config.merge_rule != "mean":
        raise BadInput(
            f"rule: expected lte that merges factors by a rule of yours alone, got --method {config.method} "
            f"--topology {config.topology} --merge-rule {config.merge_rule}"
        )


def start_weights(config: Config, net: networks.Network, widths: list[int]) -> Weights:
    """The main weights at step 0: drawn, or those of a file. Raises BadInput."""
    weights = networks.init_weights(net, widths, config.seed, config.dtype, config.bias)
    return read_weights(config.init_from, weights) if config.init_from else weights


def workers_weights(config: Config, net: networks.Network, widths: list[int]) -> Weights:
    """The main weights as a worker under a master may hold them: templates in place of the adapted matrices.

    What a worker has to know of a file or of layers without adapters is read, and drawn, like the master's.
    """
    if not (config.init_from or config.adapt):
        return networks.blank_weights(net, widths, config.dtype, config.bias)
    weights = start_weights(config, net, widths)
    for name in adapted_names(weights, config.adapt or None):
        weights[name] = weights[name]._replace(W=tree.blank(weights[name].W))
    return weights


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


def own_data(config: Config, data: Dataset) -> tuple[str, ...]:
    """What a file was taken for, in words; nothing for the data sets that have a name."""
    if config.data in KNOWN or data.name in KNOWN:
        return ()
    kind = (
        f"{data.classes} classes" if data.classes else f"regression, {data.outputs} output{'s' * (data.outputs > 1)}"
    )
    return (
        f"{data.name}: {len(data.x_train):,} rows to train on, {len(data.x_test):,} held out, {data.inputs} inputs, {kind}",
    )


def all_widths(config: Config, inputs: int, outputs: int) -> list[int]:
    """Inputs, hidden widths, outputs."""
    return [inputs, *(() if config.model == "linear" else config.widths), outputs]


def make_net(config: Config, inputs: int, outputs: int, classes: int | None) -> networks.Network:
    """The network that the settings name, for data of these widths; classes None is a regression."""
    activation = config.activation if config.model == "mlp" else "identity"
    loss = "squared-error" if classes is None else "cross-entropy"
    widths = all_widths(config, inputs, outputs)
    return networks.mlp(widths, activation, config.norm, loss=loss, smoothing=config.label_smoothing)


def make_task(config: Config, data: Dataset, net: networks.Network, weights: Weights) -> Task:
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


def kinds_of_numbers(config: Config, weights: Weights, ranks: list[dict[str, int]]) -> tuple[Weights, lora.Plan]:
    """What travels at a merge: the parameters that are averaged, and the plan of the factors."""
    replica = replica_of(weights, ranks[0]) if config.replicas == "average" else {}
    plan = lora.plan(weights, ranks, config.alpha, config.scaling, config.init, config.seed, config.head_init)
    return replica, plan


def low_rank_method(config: Config, task: Task, ranks: list[dict[str, int]], rule: Rule | None = None) -> Method:
    """The parts of lora, mhlora or lte; `rule` stands in for the setting's."""
    replica, plan = kinds_of_numbers(config, task.weights, ranks)
    if config.method != "lte":
        parallel = {"lora": data_parallel.lora, "mhlora": data_parallel.mhlora}[config.method]
        return parallel(task, plan, config.replicas)
    return lte(
        task,
        plan,
        config.merge_every,
        config.reset,
        config.reset_optimizer,
        config.loss_reduction,
        config.replicas,
        config.shares or None,
        merge_rule(config, rule or RULES[config.merge_rule], list(ranks[0])),
        local_steps(config),
        topology(config, task.weights, replica, plan),
        guard(config.bad_heads, agreed=not has_master(config)),
    )


def local_steps(config: Config) -> Callable:
    """How the heads of a rank take their steps."""
    if config.correction == "absorbed":
        return absorbed_steps
    return stacked_steps(config.stack) if config.stack > 1 else each_alone
