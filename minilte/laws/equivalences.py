"""Laws that equate two trainings: many heads, one wide adapter, full rank, a larger batch."""

from hypothesis import strategies as st

from minilte.core.lora import Plan
from minilte.core.optim import Optimizer
from minilte.laws.law import law
from minilte.laws.optimizers import frozen_A, rates
from minilte.laws.strategies import SMOOTH, cases
from minilte.laws.world import (
    STEPS,
    Case,
    World,
    alike,
    apart,
    build,
    first_head,
    optimizer,
    same_path,
    uneven,
    weights_along,
    whole,
    worst,
)
from minilte.methods.fedavg import fedavg
from minilte.methods.full import full
from minilte.methods.mhlora import mhlora


@law(
    "L3",
    "MHLoRA equality",
    "reset-less, T = 1, same batch, loss `shard`, any depth: LTE with SGD at rate eta / N, coupled decay N lambda and replicas at eta follows MHLoRA at eta, lambda; with AdamW the rate and the decoupled decay stay and eps becomes N eps",
    lambda: cases(every=1, reset="none", reset_optimizer=False, data="same", activation=SMOOTH),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def many_heads_are_one(case, variant):
    """A head's gradient is N times that of its adapter in MHLoRA (s against s/N), so a rate eta/N makes the same move;
    by L1 the main weights are W_0 plus the mean of s B A, which is MHLoRA's forward, and by L10 that is what every head
    computes, since at T = 1 each of its steps comes right after a merge. Replicas have the same gradient in
    both, hence rate eta. Coupled decay is not scaled by N and needs N lambda; Adam ignores the factor but for its eps,
    which needs N eps, and keeps its rate and its decoupled decay."""
    world, N = build(case), case.heads
    split = split_eps if case.optimizer == "adamw" else split_decay
    lte = World(case, world.task._replace(optimizer=split(case, N)), world.plan)
    return same_path(lte.method(variant), mhlora(world.task, world.plan), N, case.steps)


def separate(adapters: Optimizer, replicas: Optimizer) -> Optimizer:
    """One optimizer for the adapters of (now, replica), another for the replicas."""

    def init(params):
        return adapters.init(params[0]), replicas.init(params[1])

    def update(params, grads, state, lr):
        now, a = adapters.update(params[0], grads[0], state[0], lr)
        replica, b = replicas.update(params[1], grads[1], state[1], lr)
        return (now, replica), (a, b)

    return Optimizer(init, update)


def split_eps(case: Case, N: int):
    """adamw with N eps for the adapters, eps for the replicas."""
    return separate(optimizer("adamw", case.decay, N * 1e-8), optimizer("adamw", case.decay, 1e-8))


def split_decay(case: Case, N: int):
    """Coupled decay N lambda and rate eta / N for the adapters, lambda and eta for the replicas."""
    low = optimizer(case.optimizer, N * case.decay)
    slow = Optimizer(low.init, lambda params, grads, state, lr: low.update(params, grads, state, lr / N))
    return separate(slow, optimizer(case.optimizer, case.decay))


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
        mhlora(world.task, world.plan), N, case.steps,
    )  # fmt: skip
    w = uneven(N)
    task = world.task._replace(shards=tuple(w))
    method = World(case, task, world.plan).method(variant, reduction="batch", w=w, replicas="frozen")
    scales = tuple({name: N * w_n * s for name, s in head.items()} for w_n, head in zip(w, world.plan.scales))
    weighted = mhlora(task, world.plan._replace(scales=scales), "frozen")
    return worst([even, same_path(method, weighted, N, case.steps)])


def reset_against_mhlora(case: Case) -> float:
    """The other side of L3: with reset B the paths diverge. Returns how far."""
    case = case._replace(reset="b", every=1, data="same", optimizer="momentum", bias=False)
    world = build(case)
    lte = world.task._replace(optimizer=split_decay(case, case.heads))
    return same_path(World(case, lte, world.plan).method(), mhlora(world.task, world.plan), case.heads, case.steps)


def mhlora_on_data_of_their_own(case: Case) -> float:
    """The other side of L3: its heads need the same data, for MHLoRA's all see the whole batch. Returns how far."""
    case = case._replace(reset="none", every=1, optimizer="sgd", decay=0.0, bias=False)
    world = build(case)
    return same_path(world.method(), mhlora(world.task, world.plan), case.heads, case.steps)


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
    batch = lambda n, step: tuple(array[: sizes[n]] for array in build(case._replace(samples=3)).task.batch(n, step))  # noqa: E731
    many = world.task._replace(batch=batch, shards=tuple(size / sum(sizes) for size in sizes), clip=0.1)
    single = many._replace(batch=whole(many, N), shards=(1.0,))
    return apart(weights_along(full(many), N, case.steps), weights_along(full(single), 1, case.steps))


@law(
    "L15",
    "Equal heads are one head",
    "heads with the same init, data and settings: LTE = N = 1",
    lambda: cases(data="same", activation=SMOOTH),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def equal_heads(case, variant):
    """All heads take the same steps, and the mean of equal changes is the change."""
    case = case._replace(ranks=(case.ranks[0],) * case.heads)
    world = build(case)
    plan = alike(world.plan)
    many, single = (World(case, world.task, heads).method(variant) for heads in (plan, first_head(plan)))
    return apart(weights_along(many, case.heads, case.steps), weights_along(single, 1, case.steps))


@law(
    "L16",
    "One shared A, frozen",
    "one frozen A for all heads, T = 1, SGD or momentum, equal shards, frozen replicas: LTE = one head on the concatenated batch, however unlike the heads' data",
    lambda: cases(
        every=1,
        reset="none",
        reset_optimizer=False,
        decay=0.0,
        data=st.sampled_from(["own", "unlike"]),
        activation=SMOOTH,
        optimizer=st.sampled_from(["sgd", "momentum", "nesterov"]),
    ),
    1e-9,
    STEPS,
)
def shared_frozen_A(case, variant):
    """With A fixed and shared the product is linear in B: the mean of the B_n A is the mean of the B_n times A, and the
    mean of the heads' gradients is the gradient of the concatenated batch. All heads compute the same function after
    each merge, so the induction goes on."""
    case = case._replace(ranks=(case.ranks[0],) * case.heads)
    world, N = build(case), case.heads
    task = world.task._replace(optimizer=frozen_A(world.task.optimizer))
    plan = alike(world.plan)
    many = World(case, task, plan).method(variant, replicas="frozen")
    single = World(case, task._replace(batch=whole(task, N)), first_head(plan)).method(variant, replicas="frozen")
    return apart(weights_along(many, N, case.steps), weights_along(single, 1, case.steps))


NEAR_ZERO = 1e-300  # an outer momentum that runs the code of momentum and adds nothing


@law(
    "L28",
    "FedAvg and its kin",
    "DiLoCo with outer rate 1 and momentum 0 is FedAvg; FedAvg is LTE with every layer a replica; at T = 1 with SGD (momentum too) it is data parallel",
    lambda: cases(reset="none", reset_optimizer=False, activation=SMOOTH),
    1e-8,
    STEPS + "; Adam divides by roots as small as eps",
)
def averaging(case, variant):
    """theta - 1 (theta - mean) is the mean. LTE averages its replicas, and without adapters these are all weights. One
    step of SGD is linear in the gradient, so the mean of steps from one theta is the step along the mean; momentum is a
    sum of such steps."""
    world, N, steps = build(case), case.heads, case.steps
    task, w = world.task, [1 / case.heads] * case.heads
    nothing = Plan(({},) * N, ({},) * N, lambda n: {}, lambda n, step: {})
    average = fedavg(task, w, case.every)
    linear = task if case.optimizer != "adamw" else task._replace(optimizer=optimizer("momentum", case.decay))
    return worst(
        [
            same_path(fedavg(task, w, case.every, 1.0, NEAR_ZERO), average, N, steps),
            same_path(World(case, task, nothing).method(variant), average, N, steps),
            same_path(fedavg(linear, w, 1), full(linear), N, steps),
        ]
    )
