"""From settings to what a run is made of: data, network, task, method, meeting."""

from typing import NamedTuple

from minilte.around.wired import wired
from minilte.comm.blocks import block
from minilte.comm.meetings import MASTER
from minilte.core import networks, tree
from minilte.core.errors import BadInput
from minilte.core.method import Meeting, Method
from minilte.core.networks import Network
from minilte.core.types import Task, Weights
from minilte.cost.meetings import merge_bytes
from minilte.data.batches import batches
from minilte.data.dataset import Dataset, cast
from minilte.disk.weights import read_weights
from minilte.methods.adapters import adapted_names
from minilte.methods.facts import known
from minilte.settings.config import Config


class Built(NamedTuple):
    """What a run is made of."""

    data: Dataset
    task: Task
    method: Method
    meeting: Meeting
    notes: tuple[str, ...] = ()  # what the user should hear once

    @property
    def master(self) -> bool:
        """Does process 0 alone hold the main weights?"""
        return self.meeting is MASTER


def build(config: Config, process: int = 0) -> Built:
    """All that a run is made of, as a process needs it. Raises BadInput.

    Under a master a worker gets templates without memory in the place of the matrices that it will never hold.
    """
    data = cast(config.data.load(config.seed, config.dtype), config.dtype)
    net = make_net(config, data.inputs, data.outputs, data.classes)
    config, note = settled(config, data, net)
    task = make_task(config, data, net, weights_at_start(config, net, process))
    method = make_method(config, task)
    return Built(data, task, method, config.topology.meeting, (*notes(config, task, note), *taken_for(config, data)))


def make_net(config: Config, inputs: int, outputs: int, classes: int | None) -> Network:
    """The network that the settings name, for data of these widths; classes None is a regression. Raises BadInput."""
    net = config.network.build(inputs, outputs, "squared-error" if classes is None else "cross-entropy")
    if classes is None and net.smoothing:
        raise BadInput("label-smoothing: expected 0 for a regression, which has no labels")
    return net


def weights_at_start(config: Config, net: Network, process: int = 0) -> Weights:
    """The main weights at step 0: drawn, or those of a file. Raises BadInput.

    On a worker under a master, templates in the place of the adapted matrices; what it has to know of a file, or of
    layers without adapters, is read, and drawn, like the master's.
    """
    away = process > 0 and config.topology.meeting is MASTER and "served W" in config.method.gives
    if away and not (config.init_from or config.adapt):
        return networks.blank_weights(net, config.dtype)
    weights = networks.init_weights(net, config.seed, config.dtype)
    if config.init_from:
        weights = read_weights(config.init_from, weights)
    for name in adapted_names(weights, config.adapt) if away else ():
        weights[name] = weights[name]._replace(W=tree.blank(weights[name].W))
    return weights


def make_task(config: Config, data: Dataset, net: Network, weights: Weights) -> Task:
    """What is to be learnt, and how a step is taken."""
    own = config.head_data == "own"
    sizes = [len(block(config.batch, config.heads, n)) if own else 1 for n in range(config.heads)]
    schedule = lambda lr: config.schedule.build(lr, config.steps)  # noqa: E731
    return Task(
        net=net,
        weights=weights,
        batch=batches(data, config.batch, config.heads, config.seed, config.head_data),
        shards=tuple(size / sum(sizes) for size in sizes),
        optimizer=config.optimizer.build(),
        rate=schedule(config.lr),
        clip=config.clip or None,
        schedule=schedule,
    )


def make_method(config: Config, task: Task) -> Method:
    """The method of the settings, inside what they put around it."""
    method, parts, master = config.method.build(task, config), config.parts, config.topology.meeting is MASTER
    method = method._replace(facts=known(method))
    coded = "quant" in parts and config.quant.coded
    wrap_quant = lambda method: config.quant.wrap(  # noqa: E731
        method, task.weights, adapted_names(task.weights, config.adapt), master, config.seed, config.dtype
    )
    if coded and not master:
        method = wrap_quant(method)
    if "guard" in parts:
        method = config.guard.wrap(method, config.heads)
    if "wire" in parts:
        method = wired(method, config.wire.wire)
    return wrap_quant(method) if coded and master else method


def settled(config: Config, data: Dataset, net: Network) -> tuple[Config, str]:
    """The settings with the topology that `default` or `auto` stands for, and a note where bytes decided.

    The fewest bytes with a head on every process: by the heads and not by the processes, so that these cannot change
    the numbers of a run. Shapes suffice. Raises BadInput where no topology goes with the settings.
    """
    possible, refusal = {}, None
    for name in config.topology.among(config):
        try:
            possible[name] = config.replace(topology=name)
        except BadInput as trouble:  # a setting that this topology does not go with
            refusal = trouble
    if refusal and not possible:
        raise refusal
    if len(possible) < 2:
        return next(iter(possible.values()), config), ""
    costs = {}
    for name, settings in possible.items():
        task = make_task(settings, data, net, networks.blank_weights(net, settings.dtype))
        method = make_method(settings, task)
        sent = merge_bytes(method, settings.topology.meeting, method.begin(), settings.heads, settings.heads)
        costs[name] = sum(sent.values())
    best = min(costs, key=costs.get)
    rest = ", ".join(f"{cost:,} by {name}" for name, cost in costs.items() if name != best)
    note = f"topology {best}: {costs[best]:,} bytes a merge with a head on every process, of {rest}"
    return possible[best], note


def notes(config: Config, task: Task, about_topology: str) -> tuple[str, ...]:
    """What the user should hear once of these settings."""
    ranks = config.adapters.notes(task.weights, config.heads) if "adapters" in config.parts else ()
    coded = config.quant.note(config.topology.meeting is MASTER) if "quant" in config.parts else ""
    return (*ranks, *filter(None, (about_topology, coded)))


def taken_for(config: Config, data: Dataset) -> tuple[str, ...]:
    """What a file was taken for, in words; nothing for the data sets that have a name."""
    if config.data.named:
        return ()
    outputs = f"regression, {data.outputs} output{'s' * (data.outputs > 1)}"
    kind = f"{data.classes} classes" if data.classes else outputs
    sizes = f"{len(data.x_train):,} rows to train on, {len(data.x_test):,} held out"
    return (f"{data.name}: {sizes}, {data.inputs} inputs, {kind}",)
