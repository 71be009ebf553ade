"""From settings to what a run is made of: data, network, task, method, meeting."""

from typing import NamedTuple

import numpy as np

from minilte.around.fed_back import fed_back
from minilte.around.wired import wired
from minilte.comm.meetings import MASTER
from minilte.core import networks, tree
from minilte.core.errors import BadInput
from minilte.core.method import Meeting, Method
from minilte.core.networks import Network
from minilte.core.types import Task, Weights
from minilte.cost.meetings import merge_bytes
from minilte.data.batches import Dealt
from minilte.data.border import admitted
from minilte.data.dataset import Dataset, prepared
from minilte.disk.weights import read_weights
from minilte.methods.adapters import adapted_names
from minilte.methods.facts import known
from minilte.quant.wire import FULL, Wire
from minilte.run.inputs import sums
from minilte.settings.config import Config

LOPSIDED = 0.95  # of the rows with one label: accuracy says little then, and the column may be the wrong one
UNIT = (1e-3, 1e3)  # deviation of the targets of a regression; outside, steps of the usual size get nowhere


class Built(NamedTuple):
    """What a run is made of."""

    data: Dataset
    task: Task
    method: Method
    meeting: Meeting
    inputs: dict[str, str] = {}  # SHA-256 of the data and of the weights to start from
    notes: tuple[str, ...] = ()  # for the user, at the start

    @property
    def master(self) -> bool:
        """Does process 0 alone hold the main weights?"""
        return self.meeting is MASTER


def build(config: Config, process: int = 0) -> Built:
    """All that a run is made of, as a process needs it. Raises BadInput.

    Under a master a worker gets templates without memory in the place of the matrices that it will never hold.
    """
    read = admitted(config.data.load(config.seed))
    data, given = prepared(read, config.dtype, config.seed, config.validate), sums(config, read)
    net = make_net(config, data.inputs, data.outputs, data.classes)
    dealt = deal(config, data)
    config, choice = settled(config, dealt, net)
    task = make_task(config, dealt, net, weights_at_start(config, net, process))
    built = Built(data, task, make_method(config, task), config.topology.meeting, given)
    ranks = config.adapters.notes(task.weights, config.heads) if "adapters" in config.parts else ()
    coding = config.quant.note(built.master) if "quant" in config.parts else ""
    return built._replace(notes=(*ranks, *filter(None, (choice, coding)), *taken_for(config, data), *dealt.said))


def make_net(config: Config, inputs: int, outputs: int, classes: int | None) -> Network:
    """The network that the settings name, for data of these widths; classes None is a regression. Raises BadInput."""
    net = config.network.build(inputs, outputs, "squared-error" if classes is None else "cross-entropy")
    if classes is None and net.smoothing:
        raise BadInput("label-smoothing: expected 0 for a regression, which has no labels")
    return net


def weights_at_start(config: Config, net: Network, process: int = 0) -> Weights:
    """The main weights at step 0: drawn, or those of a file. Raises BadInput.

    On a worker under a master, templates in the place of the matrices that it will not hold. Where a file, or a choice
    of layers, may give the worker more than those, all is read, or drawn, as on the master, and those are dropped.
    """
    away = process > 0 and config.topology.meeting is MASTER and "served W" in config.method.gives
    all_of_them = "adapters" in config.parts and not config.adapt
    if away and all_of_them and not config.init_from:
        return networks.blank_weights(net, config.dtype)
    weights = networks.init_weights(net, config.seed, config.dtype)
    if config.init_from:
        weights = read_weights(config.init_from, weights)
    for name in beside(config, weights) if away else ():
        weights[name] = weights[name]._replace(W=tree.blank(weights[name].W))
    return weights


def beside(config: Config, weights: Weights) -> list[str]:
    """The layers with something low-rank beside their matrices, of which a worker under a master may hold codes alone."""
    if "adapters" in config.parts:
        return adapted_names(weights, config.adapt)
    return list(config.method.ranks(weights))


def make_task(config: Config, dealt: Dealt, net: Network, weights: Weights) -> Task:
    """What is to be learnt, and how a step is taken."""
    return Task(
        net=net,
        weights=weights,
        batch=dealt.batch,
        shards=dealt.shards,
        optimizer=config.optimizer.build(net),
        rate=config.schedule.build(config.lr, config.steps),
        clip=config.clip or None,
    )


def deal(config: Config, data: Dataset) -> Dealt:
    """Who trains on which rows; a round is a step where nothing is merged. Raises BadInput."""
    return config.workers.deal(data, config.seed, config.flat().get("merge_every", 1))


def make_method(config: Config, task: Task) -> Method:
    """The method of the settings, inside what they wrap around it, innermost first."""
    method, master = config.method.build(task, config), config.topology.meeting is MASTER
    method = method._replace(facts=known(method))
    wraps = {
        "guard": lambda method: config.guard.wrap(method, config.heads),
        "wire": lambda method: thinned(method, config.wire.wire, config.heads, master),
        "quant": lambda method: config.quant.wrap(
            method, task.weights, beside(config, task.weights), master, config.seed, config.dtype
        ),
    }
    for place in ("guard", "wire", "quant") if master else ("quant", "guard", "wire"):
        if place in config.parts and (place != "quant" or config.quant.coded):
            method = wraps[place](method)
    return method


def thinned(method: Method, wire: Wire, heads: int, master: bool) -> Method:
    """The method on a wire. What rounds away is kept where the method keeps it: in V_n, or by each head."""
    if wire is FULL:
        return method
    return fed_back(method, wire, heads, master) if known(method).remainder else wired(method, wire)


def settled(config: Config, dealt: Dealt, net: Network) -> tuple[Config, str]:
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
        method = make_method(settings, make_task(settings, dealt, net, networks.blank_weights(net, settings.dtype)))
        sent = merge_bytes(method, settings.topology.meeting, method.begin(), settings.heads, settings.heads)
        costs[name] = sum(sent.values())
    best = min(costs, key=costs.get)
    rest = ", ".join(f"{cost:,} by {name}" for name, cost in costs.items() if name != best)
    return possible[best], f"topology {best}: {costs[best]:,} bytes a merge with a head on every process, of {rest}"


def taken_for(config: Config, data: Dataset) -> tuple[str, ...]:
    """What a file was taken for, in words; of the data sets that have a name, what a run may change."""
    rest = f", {len(data.x_valid):,} to validate" if config.validate else ""
    once = ["the test set is looked at once, at the end of the run"] if config.validate else []
    if config.data.named and not rest:
        return data.said
    regression = f"regression, {data.outputs} output{'s' * (data.outputs > 1)}"
    kind = f"{data.classes} classes" if data.classes else regression
    sizes = f"{len(data.x_train):,} rows to train on{rest}, {len(data.x_test):,} {'to test' if rest else 'held out'}"
    return (f"{data.name}: {sizes}, {data.inputs} inputs, {kind}", *data.said, *one_sided(data), *once)


def one_sided(data: Dataset) -> list[str]:
    """Targets that are nearly all the same, or in a unit that a network starts far away from, in words."""
    y = data.y_train
    if data.classes and (most := np.bincount(y).max() / len(y)) >= LOPSIDED:
        return [f"{data.name}: {100 * most:.1f} % of the training rows have the same label"]
    spread = 1.0 if data.classes else float(np.std(y, dtype=np.float64))
    if spread and not UNIT[0] <= spread <= UNIT[1]:
        return [
            f"{data.name}: the targets have deviation {spread:.2g}; in a unit that makes it about 1 they train better"
        ]
    return []
