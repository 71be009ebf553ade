"""A case on the dense oracle."""

from minilte.core.lora import Plan
from minilte.core.types import Weights
from minilte.laws import oracle
from minilte.laws.world import Case, World, build


def dense_path(case: Case, **changes):
    """The main weights of a case after every merge, [(W, c), …]; `changes` are other arguments of `oracle.lte`."""
    world = build(case)
    batch, settings = world.task.batch, dense_settings(world)
    return oracle.lte(*dense_start(world), batch, case.steps, settings, redraw=redrawn(world.plan), **changes)


def dense_start(world: World) -> tuple[list, list, list]:
    """Weights, adapters and scales at the start, in the oracle's form."""
    heads = range(world.case.heads)
    scales = [list(head.values()) for head in world.plan.scales]
    return as_layers(world.task.weights), [factors(world.plan, n, 0) for n in heads], scales


def dense_settings(world: World) -> oracle.Settings:
    """The case's optimizer and merging as the oracle's settings."""
    case = world.case
    return oracle.Settings(
        world.task.rate,
        case.activation,
        optimizer="adamw" if case.optimizer == "adamw" else "sgd",
        momentum=0.9 if case.optimizer in ("momentum", "nesterov") else 0.0,
        nesterov=case.optimizer == "nesterov",
        decay=case.decay,
        every=case.every,
        reset=case.reset,
        reset_optimizer=case.reset_optimizer,
    )


def redrawn(plan: Plan):
    """(head, step) -> the fresh A of every layer, for a reset of A and B."""
    return lambda n, step: [A for A, _ in factors(plan, n, step)]


def factors(plan: Plan, n: int, step: int) -> list[tuple]:
    """(A, B) of every layer of head n, as drawn at a step."""
    return [tuple(pair) for pair in plan.draw(n, step).values()]


def as_layers(weights: Weights) -> list[tuple]:
    """[(W, c), …]."""
    return [tuple(layer) for layer in weights.values()]
