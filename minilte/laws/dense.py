"""Every method follows the dense oracle."""

from minilte.methods import data_parallel
from minilte.laws import oracle
from minilte.laws.law import law
from minilte.laws.strategies import SMOOTH, cases
from minilte.laws.world import STEPS, Case, World, apart, build, run, weights_along, whole, worst


@law(
    "oracle",
    "The dense method",
    "every LTE run follows the dense oracle: explicit matrices, no factor tricks",
    lambda: cases(activation=SMOOTH),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def follows_the_oracle(case, variant):
    """The oracle is the definition, written out."""
    world = build(case)
    start = [tuple(layer) for layer in world.task.weights.values()]
    rounds = run(world.method(variant), case.heads, case.steps)
    got = [[tuple(layer) for layer in done.main.weights.values()] for done in rounds]
    return apart([start, *got], [start, *dense_path(case)])


def dense_path(case: Case):
    """The main weights of a case after every merge, by the oracle."""
    world = build(case)
    pairs = lambda n, step=0: [tuple(pair) for pair in world.plan.draw(n, step).values()]  # noqa: E731
    return oracle.lte(
        [tuple(layer) for layer in world.task.weights.values()],
        [pairs(n) for n in range(case.heads)],
        [list(scales.values()) for scales in world.plan.scales],
        world.task.batch,
        case.steps,
        dense_settings(world),
        redraw=lambda n, step: [A for A, _ in pairs(n, step)],
    )


def dense_settings(world: World) -> oracle.Settings:
    """The case's optimizer and merging, in the oracle's words."""
    case = world.case
    kind, momentum = ("adamw", 0.0) if case.optimizer == "adamw" else ("sgd", 0.0 if case.optimizer == "sgd" else 0.9)
    return oracle.Settings(
        world.task.rate,
        case.activation,
        kind,
        momentum,
        case.optimizer == "nesterov",
        decay=case.decay,
        every=case.every,
        reset=case.reset,
        reset_optimizer=case.reset_optimizer,
    )


@law(
    "oracle-parallel",
    "The dense methods beside LTE",
    "full, lora and mhlora follow their dense definitions on the concatenated batch",
    lambda: cases(activation=SMOOTH),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def parallel_follows_the_oracle(case, variant):
    """The oracle sums over heads what the library computes as one stacked adapter, and takes the batch whole."""
    world, N = build(case), case.heads
    batch = lambda step: whole(world.task, N)(0, step)  # noqa: E731
    start = [tuple(layer) for layer in world.task.weights.values()]
    pairs = [[tuple(pair) for pair in world.plan.draw(n, 0).values()] for n in range(N)]
    scales, settings = [list(head.values()) for head in world.plan.scales], dense_settings(world)
    expected = {
        data_parallel.full(world.task): oracle.full(start, batch, case.steps, settings),
        data_parallel.mhlora(world.task, world.plan): oracle.mhlora(
            start, pairs, scales, batch, case.steps, settings
        ),
        data_parallel.lora(world.task, world.plan): oracle.mhlora(
            start, pairs[:1], scales[:1], batch, case.steps, settings
        ),
    }
    errors = []
    for method, path in expected.items():
        got = [[tuple(layer) for layer in weights.values()] for weights in weights_along(method, N, case.steps)]
        errors.append(apart(got, [start, *path]))
    return worst(errors)
