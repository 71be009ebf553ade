"""Every method follows the dense oracle."""

from minilte.laws import oracle
from minilte.laws.exact import as_layers, dense_path, dense_settings, dense_start
from minilte.laws.law import law
from minilte.laws.strategies import SMOOTH, cases
from minilte.laws.world import STEPS, apart, build, weights_along, whole, worst
from minilte.methods.fedavg import fedavg
from minilte.methods.full import full
from minilte.methods.mhlora import lora, mhlora


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
    got = map(as_layers, weights_along(world.method(variant), case.heads, case.steps))
    return apart(got, [as_layers(world.task.weights), *dense_path(case)])


@law(
    "oracle-parallel",
    "The dense methods beside LTE",
    "full, lora and mhlora follow their dense definitions on the concatenated batch; FedAvg and DiLoCo theirs",
    lambda: cases(activation=SMOOTH),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def parallel_follows_the_oracle(case, variant):
    """The oracle sums over heads what the library computes as one stacked adapter, on the whole batch."""
    world, N, T = build(case), case.heads, case.every
    task, plan, settings, w = world.task, world.plan, dense_settings(world), [1 / case.heads] * case.heads
    batch = lambda step: whole(task, N)(0, step)  # noqa: E731
    start, pairs, scales = dense_start(world)
    expected = [
        (full(task), oracle.full(start, batch, case.steps, settings)),
        (mhlora(task, plan), oracle.mhlora(start, pairs, scales, batch, case.steps, settings)),
        (lora(task, plan), oracle.mhlora(start, pairs[:1], scales[:1], batch, case.steps, settings)),
        (fedavg(task, w, T), oracle.fedavg(start, N, task.batch, case.steps, settings)),
        (fedavg(task, w, T, 0.7, 0.9), oracle.fedavg(start, N, task.batch, case.steps, settings, 0.7, 0.9)),
    ]
    return worst(
        [apart(map(as_layers, weights_along(method, N, case.steps)), [start, *path]) for method, path in expected]
    )
