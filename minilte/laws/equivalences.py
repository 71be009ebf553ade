"""Laws that say two trainings are one: many heads, one wide adapter, full rank, a bigger batch."""

import numpy as np
from hypothesis import strategies as st

from minilte.baselines import data_parallel
from minilte.core import lora
from minilte.core.lora import Plan
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear
from minilte.laws import oracle
from minilte.laws.law import law
from minilte.laws.parts import frozen_A, rates
from minilte.laws.strategies import SMOOTH, cases, heads, networks
from minilte.laws.world import Case, World, apart, build, optimizer, run, uneven, weights_along, whole, worst

STEPS = "rounding of a dozen steps; relu is left out, where rounding can change the side of a kink"


def same_path(method, other, heads: int, steps: int) -> float:
    """The largest gap between two methods' dense weights along the way."""
    return apart(weights_along(method, heads, steps), weights_along(other, heads, steps))


@law(
    "L3",
    "MHLoRA equality",
    "reset-less, T = 1, same batch, loss `shard`, any depth: LTE with SGD at rate eta / N, coupled decay N lambda and replicas at eta follows MHLoRA at eta, lambda; with AdamW the rate and the decoupled decay stay and eps becomes N eps",
    lambda: cases(every=1, reset="none", reset_optimizer=False, data="same", activation=SMOOTH),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def mhlora(case, variant):
    """A head's gradient is N times that of its adapter in MHLoRA (s against s/N), so a rate eta/N makes the same move;
    by L1 the main weights are W_0 plus the mean of s B A, which is MHLoRA's forward, and by L10 that is what every head
    computes, since at T = 1 each of its steps comes right after a merge. Replicas have the same gradient in
    both, hence rate eta. Coupled decay is not scaled by N and needs N lambda; Adam ignores the factor but for its eps,
    which needs N eps, and keeps its rate and its decoupled decay."""
    world, N = build(case), case.heads
    adam = case.optimizer == "adamw"
    inner = optimizer(case.optimizer, case.decay if adam else 0.0, 1e-8)
    if adam:
        lte = world.task._replace(optimizer=split_eps(case, N))
    else:
        lte = world.task._replace(optimizer=split_decay(case, N))
        inner = optimizer(case.optimizer, case.decay)
    one = world._replace(task=world.task._replace(optimizer=inner))
    return same_path(
        World(case, lte, world.plan).method(variant), data_parallel.mhlora(one.task, one.plan), N, case.steps
    )


def by_part(adapters, replicas):
    """One optimizer for the adapters of (now, replica), another for the replicas."""

    def init(params):
        return adapters.init(params[0]), replicas.init(params[1])

    def update(params, grads, state, lr, mine=False):
        now, a = adapters.update(params[0], grads[0], state[0], lr)
        replica, b = replicas.update(params[1], grads[1], state[1], lr)
        return (now, replica), (a, b)

    return type(adapters)(init, update)


def split_eps(case: Case, N: int):
    """adamw with N eps for the adapters, eps for the replicas."""
    return by_part(optimizer("adamw", case.decay, N * 1e-8), optimizer("adamw", case.decay, 1e-8))


def split_decay(case: Case, N: int):
    """Coupled decay N lambda and rate eta / N for the adapters, lambda and eta for the replicas."""
    low = optimizer(case.optimizer, N * case.decay)
    slow = type(low)(low.init, lambda params, grads, state, lr, mine=False: low.update(params, grads, state, lr / N))
    return by_part(slow, optimizer(case.optimizer, case.decay))


@law(
    "L3-batch",
    "MHLoRA equality, loss of the batch",
    "L3 with loss `batch`: the adapters' rate is eta, the replicas' N eta; and with any gradient shares w_n that are also the weights in the merge, the adapters' rate is eta",
    lambda: cases(
        every=1,
        reset="none",
        reset_optimizer=False,
        data="same",
        activation=SMOOTH,
        decay=0.0,
        optimizer=st.sampled_from(["sgd", "momentum", "nesterov"]),
    ),
    1e-9,
    STEPS,
)
def mhlora_by_share(case, variant):
    """A gradient of 1/N of the size at N times the rate is the same step. In general a gradient times w_n at rate eta is a gradient at rate w_n eta; MHLoRA with weights w_n has scales N w_n s_n."""
    world, N = build(case), case.heads
    fast = world.task._replace(optimizer=rates(world.task.optimizer, of_replica=N))
    even = same_path(
        World(case, fast, world.plan).method(variant, reduction="batch"),
        data_parallel.mhlora(world.task, world.plan), N, case.steps,
    )  # fmt: skip
    w = uneven(N)
    task = world.task._replace(shares=tuple(w))
    method = World(case, task, world.plan).method(variant, reduction="batch", w=w, replicas="frozen")
    scales = tuple({name: N * w_n * s for name, s in head.items()} for w_n, head in zip(w, world.plan.scales))
    weighted = data_parallel.mhlora(task, world.plan._replace(scales=scales), "frozen")
    return worst([even, same_path(method, weighted, N, case.steps)])


def reset_against_mhlora(case: Case) -> float:
    """The other side of L3: with reset B the paths part. Returns how far."""
    case = case._replace(reset="b", every=1, data="same", optimizer="momentum", bias=False)
    world = build(case)
    lte = world.task._replace(optimizer=split_decay(case, case.heads))
    return same_path(
        World(case, lte, world.plan).method(), data_parallel.mhlora(world.task, world.plan), case.heads, case.steps
    )


C, K = 1.5, 0.3  # c of the first layer, and w_n s_n^2 there; both grow from layer to layer


def basis_plan(case: Case, world: World, w: list[float]) -> Plan:
    """Heads whose A_n are together c times an orthonormal basis of R^n, in every layer, with c and w_n s_n^2 of its own."""
    N, weights = case.heads, world.task.weights
    parts = {
        name: [len(part) for part in np.array_split(np.arange(layer.W.shape[1]), N)]
        for name, layer in weights.items()
    }

    def draw(n, step):
        drawn = {}
        for i, (name, layer) in enumerate(weights.items()):
            basis = lora.semi_orthogonal(stream(case.seed, "check", i), layer.W.shape[1], layer.W.shape[1])
            A = (C + i) * basis[sum(parts[name][:n]) : sum(parts[name][: n + 1])]
            drawn[name] = Adapter(A, np.zeros((len(layer.W), len(A))))
        return drawn

    ranks = tuple({name: parts[name][n] for name in weights} for n in range(N))
    scales = tuple({name: np.sqrt((K + i) / w_n) for i, name in enumerate(weights)} for w_n in w)
    return Plan(ranks, scales, lambda n: draw(n, 0), draw)


@law(
    "L4",
    "Full-rank recovery",
    "B = 0, reset B with momentum kept, T = 1, SGD, no decay, same batch, w_n s_n^2 = k for all heads, the A_n together c times an orthonormal basis: every merged step is full-rank SGD with rate eta k c^2 (eta s^2 c^2 / N with equal shares), at any depth",
    lambda: cases(
        ranks=st.integers(1, 3).map(lambda N: (1,) * N),
        widths=networks(3, 6),
        data="same",
        decay=0.0,
        activation=SMOOTH,
        optimizer=st.sampled_from(["sgd", "momentum", "nesterov"]),
    ),
    1e-9,
    STEPS,
)
def full_rank(case, variant):
    """From B = 0 a step makes B_n = -eta s_n G A_n^T and leaves A_n (its gradient holds a factor B). The merge adds
    -eta G sum_n w_n s_n^2 A_n^T A_n = -eta k c^2 G. Momentum is linear in the gradients and is kept. Biases are trained
    at eta."""
    case = case._replace(every=1, reset="b", reset_optimizer=False)
    world, w = build(case), uneven(case.heads)
    method = World(case, world.task, basis_plan(case, world, w)).method(variant, w=w)
    by = [(K + i) * (C + i) ** 2 for i in range(len(world.task.weights))]
    return apart(weights_along(method, case.heads, case.steps), dense_path(case, world, by))


def dense_path(case: Case, world: World, by: list[float]):
    """Full-rank SGD of the case, written out, with eta times by[i] for the matrix of layer i; yields the weights."""
    weights, task = dict(world.task.weights), world.task
    mu = 0.0 if case.optimizer == "sgd" else 0.9
    bufs = {}
    yield weights
    for step in range(case.steps):
        layers = [tuple(layer) for layer in weights.values()]
        _, grads = oracle.gradients(layers, case.activation, *task.batch(0, step))
        for i, (name, grad) in enumerate(zip(list(weights), grads)):
            new = []
            for k, (value, g) in enumerate(zip(weights[name], grad)):
                bufs[name, k] = mu * bufs.get((name, k), 0) + g
                move = g + mu * bufs[name, k] if case.optimizer == "nesterov" else bufs[name, k]
                new.append(None if value is None else value - task.rate(step) * (by[i] if k == 0 else 1.0) * move)
            weights = weights | {name: Linear(*new)}
        yield weights


@law(
    "L4-mean",
    "Full-rank recovery in the mean",
    "B = 0, T = 1, SGD, same batch, rows a of A drawn with E a a^T = (c^2 / n) I: a merged step is full-rank SGD with rate eta s^2 c^2 r / n in the mean",
    lambda: cases(
        ranks=heads(3, 2), widths=networks(3, 5, 2), optimizer="sgd", decay=0.0, data="same", activation=SMOOTH
    ),
    1e-9,
    STEPS + "; the mean is taken exactly, over all n draws of a row from c times an orthonormal basis",
)
def full_rank_in_mean(case, variant):
    """By L4's algebra a step is -(eta s^2 / N) G sum_n A_n^T A_n, and E A_n^T A_n = (r c^2 / n) I. A row that is c times a
    vector of an orthonormal basis, each as likely as the next, has that E a a^T; so has a Gaussian row."""
    case = case._replace(every=1, reset="ab", steps=1)
    world = build(case)
    _, grads = oracle.gradients(
        [tuple(layer) for layer in world.task.weights.values()], case.activation, *world.task.batch(0, 0)
    )  # fmt: skip
    errors = []
    for (name, layer), (G, _) in zip(world.task.weights.items(), grads):
        n, mean = layer.W.shape[1], 0.0
        for draw in range(n):
            plan = world.plan._replace(draw=lambda k, step, draw=draw: rows_of_basis(case, world, k, draw))
            end = run(World(case, world.task, plan).method(variant), case.heads, 1)[-1].main.weights
            mean = mean + (end[name].W - layer.W) / n
        each = [world.plan.scales[k][name] ** 2 * lora.layer_rank(r, layer.W) for k, r in enumerate(case.ranks)]
        errors.append(apart([0 * G, mean], [0 * G, -world.task.rate(0) * np.mean(each) * C**2 / n * G]))
    return worst(errors)


def rows_of_basis(case: Case, world: World, head: int, draw: int) -> dict:
    """Adapters whose rows are c times the vectors draw, draw + 1, … of an orthonormal basis of the head's own."""
    drawn = {}
    for i, (name, pair) in enumerate(world.plan.draw(head, 0).items()):
        r, n = pair.A.shape
        basis = lora.semi_orthogonal(stream(case.seed, "check", i, head), n, n)
        drawn[name] = pair._replace(A=C * basis[(draw + np.arange(r)) % n])
    return drawn


@law(
    "L11",
    "Data parallel",
    "N workers of full-rank data parallel take the steps of one worker on the concatenated batch; shards of unequal size by their weight; clipping after the mean",
    lambda: cases(activation=SMOOTH),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def data_parallel_is_one_worker(case, variant):
    """The gradient of a mean over all samples is the mean of the shards' gradients, weighted by their sizes."""
    world, N = build(case), case.heads
    sizes = [1 + (n * case.samples) % 3 for n in range(N)]
    batch = lambda n, step: tuple(part[: sizes[n]] for part in build(case._replace(samples=3)).task.batch(n, step))  # noqa: E731
    many = world.task._replace(batch=batch, shares=tuple(size / sum(sizes) for size in sizes), clip=0.1)
    one = many._replace(batch=whole(many, N), shares=(1.0,))
    return apart(
        weights_along(data_parallel.full(many), N, case.steps), weights_along(data_parallel.full(one), 1, case.steps)
    )


@law(
    "L15",
    "Equal heads are one head",
    "heads with the same init, data and settings: LTE = N = 1",
    lambda: cases(data="same", activation=SMOOTH),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def equal_heads(case, variant):
    """All heads walk the same path, and the mean of equal changes is the change."""
    case = case._replace(ranks=(case.ranks[0],) * case.heads)
    world = build(case)
    alike = world.plan._replace(draw=lambda n, step: world.plan.draw(0, step))
    one = alike._replace(ranks=alike.ranks[:1], scales=alike.scales[:1])
    many, single = (World(case, world.task, plan).method(variant) for plan in (alike, one))
    return apart(weights_along(many, case.heads, case.steps), weights_along(single, 1, case.steps))


@law(
    "L16",
    "One shared A, frozen",
    "one frozen A for all heads, T = 1, SGD or momentum, equal shards, frozen replicas: LTE = one head on the concatenated batch",
    lambda: cases(
        every=1,
        reset="none",
        reset_optimizer=False,
        decay=0.0,
        data="own",
        activation=SMOOTH,
        optimizer=st.sampled_from(["sgd", "momentum", "nesterov"]),
    ),
    1e-9,
    STEPS,
)
def shared_frozen_A(case, variant):
    """With A fixed and shared the product is linear in B: the mean of the B_n A is the mean of the B_n times A, and the
    mean of the heads' gradients is the gradient of the concatenated batch. All heads see the same function after each
    merge, so this goes on."""
    case = case._replace(ranks=(case.ranks[0],) * case.heads)
    world, N = build(case), case.heads
    task = world.task._replace(optimizer=frozen_A(world.task.optimizer))
    alike = world.plan._replace(draw=lambda n, step: world.plan.draw(0, step))
    one = alike._replace(ranks=alike.ranks[:1], scales=alike.scales[:1])
    many = World(case, task, alike).method(variant, replicas="frozen")
    single = World(case, task._replace(batch=whole(task, N)), one).method(variant, replicas="frozen")
    return apart(weights_along(many, N, case.steps), weights_along(single, 1, case.steps))


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
    pairs = lambda n, step=0: [tuple(pair) for pair in world.plan.draw(n, step).values()]  # noqa: E731
    expected = oracle.lte(
        [tuple(layer) for layer in world.task.weights.values()],
        [pairs(n) for n in range(case.heads)],
        [list(scales.values()) for scales in world.plan.scales],
        world.task.batch,
        case.steps,
        dense_settings(world),
        redraw=lambda n, step: [A for A, _ in pairs(n, step)],
    )
    start = [tuple(layer) for layer in world.task.weights.values()]
    rounds = run(world.method(variant), case.heads, case.steps)
    got = [[tuple(layer) for layer in done.main.weights.values()] for done in rounds]
    return apart([start, *got], [start, *expected])


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
