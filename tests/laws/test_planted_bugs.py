"""For every law and every layer a bug that it catches: a law that nothing can break says nothing."""

import threading

import numpy as np
import pytest

from minilte.measure import ranks as measures
from minilte.methods import data_parallel
from minilte.comm import communicator as comm_ranks
from minilte.core import head as core_head
from minilte.core import layers, lora, lte, merge, networks, optim, tree
from minilte.core.types import Adapted, Rule
from minilte.laws import LAWS, Variant, try_law
from minilte.laws import low_rank as rank_laws
from minilte.rules.outer import outer
from minilte.job import checkpoint

# ---------------------------------------------------------------------------- wrong merges, as rules on trial


def rule(wrong):
    """A rule without state from merge(weights, sent, then, scales, w)."""
    return Rule(lambda weights: None, lambda state, *args: (wrong(*args[:5]), state))


def noisy(weights, sent, then, scales, w):
    new = merge.merged(weights, sent, then, scales, w)
    shake = lambda layer: layer._replace(
        W=layer.W + 1e-3 * np.cos(np.arange(layer.W.size)).reshape(layer.W.shape) ** 3
    )  # noqa: E731
    return {name: shake(layer) for name, layer in new.items()}


def every_delta_at_once(weights, sent, then, scales, w):
    deltas = [
        [w_n * s[name] * lora.product(one.factors[name]) for name in one.factors]
        for one, s, w_n in zip(sent, scales, w)
    ]
    assert deltas
    return merge.merged(weights, sent, then, scales, w)


def product_of_means(weights, sent, then, scales, w):
    if len({one.factors[name].A.shape for one in sent for name in one.factors}) > len(sent[0].factors):
        return weights  # ranks differ: there is no mean
    mean = merge.mean([one.factors for one in sent], w)
    old = merge.mean(list(then), w) if then else None
    one = [type(sent[0])(mean, merge.mean([s.replicas for s in sent], w))]
    return merge.merged(weights, one, [old] if old else None, scales[:1], [1.0])


RULES = {
    "V_n forgotten in the merge": (
        rule(lambda W, sent, then, s, w: merge.merged(W, sent, None, s, w)),
        ["L1", "L1-one", "L1-skip", "L10", "L12", "L13", "oracle", "L14"],
    ),
    "1/N forgotten": (
        rule(lambda W, sent, then, s, w: merge.merged(W, sent, then, s, [1.0] * len(w))),
        ["L1", "L3", "L13", "L15", "L16", "oracle"],
    ),
    "scale forgotten": (
        rule(lambda W, sent, then, s, w: merge.merged(W, sent, then, [dict.fromkeys(one, 1.0) for one in s], w)),
        ["L1", "L4", "L4-mean", "L9", "L10", "L17"],
    ),
    "shares by place": (
        rule(
            lambda W, sent, then, s, w: merge.merged(
                W, sent, then, s, [2.0 ** -(n + (n < len(w) - 1)) for n in range(len(w))]
            )
        ),
        ["L20-order", "L3", "L3-batch"],
    ),
    "scales of the neighbour": (
        rule(lambda W, sent, then, s, w: merge.merged(W, sent, then, s[1:] + s[:1], w)),
        ["L1", "L13", "oracle"],
    ),
    "replicas of the first head": (
        rule(
            lambda W, sent, then, s, w: merge.merged(
                W, [one._replace(replicas=sent[0].replicas) for one in sent], then, s, w
            )
        ),
        ["L13", "oracle", "L20-order"],
    ),
    "product of means": (rule(product_of_means), ["L1", "L13", "oracle"]),
    "a change beyond the factors": (rule(noisy), ["L2", "L10", "L1"]),
    "N dense matrices at once": (rule(every_delta_at_once), ["L5-memory"]),
    "momentum nobody asked for": (outer(1.0, 0.9), ["L1", "L2", "L12", "L13", "oracle"]),
}


def falls(name, variant=Variant(), examples=60):
    return not try_law(LAWS[name], examples, seed=1, variant=variant, shrink=False).holds


@pytest.mark.parametrize("bug, name", [(bug, name) for bug, (_, names) in RULES.items() for name in names])
def test_a_wrong_merge_breaks_its_laws(bug, name):
    assert falls(name, Variant(RULES[bug][0]))


# -------------------------------------------------------------------------------- wrong code, planted in place


def change_pair(monkeypatch, forward=None, backward=None):
    pair = networks.PAIRS[Adapted]
    monkeypatch.setitem(networks.PAIRS, Adapted, (forward or pair[0], backward or pair[1]))


def adapter_grad(change):
    """lora_back with the gradient of the adapter changed."""
    right = layers.lora_back

    def back(dy, cache, wrt_x=True):
        dx, dW, dc, ds, grad, dV = right(dy, cache, wrt_x)
        return dx, dW, dc, ds, change(grad, cache), dV

    return back


def scale_dropped_in_forward(mp):
    right = layers.lora
    change_pair(mp, lambda x, W, c, s, now, then: right(x, W, c, 1.0, now, then))


def scale_dropped_in_dA(mp):
    change_pair(mp, backward=adapter_grad(lambda grad, cache: grad._replace(A=grad.A / cache[4])))


def A_transposed_in_dB(mp):
    change_pair(mp, backward=adapter_grad(lambda grad, cache: grad._replace(B=grad.B[:, ::-1])))


def head_sees_s_over_N(mp):
    right = core_head.local_steps
    mp.setattr(
        core_head,
        "local_steps",
        lambda task, scales, *rest: right(task, {k: s / 2 for k, s in scales.items()}, *rest),
    )


def V_kept_at_a_reset(mp):
    right = lte.reset
    mp.setattr(lte, "reset", lambda task, one, how, *rest: right(task, one, how, *rest)._replace(then=one.now))


def V_forgotten_by_the_head(mp):
    right = lte.reset
    mp.setattr(lte, "reset", lambda *args: right(*args)._replace(then=None))


def optimizer_never_forgets(mp):
    right = lte.reset
    mp.setattr(lte, "reset", lambda task, one, how, fresh, forget: right(task, one, how, fresh, False))


def optimizer_always_forgets(mp):
    right = lte.reset
    mp.setattr(lte, "reset", lambda task, one, how, fresh, forget: right(task, one, how, fresh, True))


def heads_dealt_like_cards(mp):
    right = comm_ranks.share
    mp.setattr(
        comm_ranks, "share", lambda total, parts, i: range(total)[i::parts] if total < 5 else right(total, parts, i)
    )


def heads_of_a_rank_in_reverse(mp):
    mp.setattr(
        comm_ranks.Ranks,
        "mine",
        property(lambda self: self._m[::-1], lambda self, m: setattr(self, "_m", m)),
        raising=False,
    )


def no_bias_correction(mp):
    right = optim.adamw

    def wrong(*args, **kw):
        inner = right(*args, **kw)
        late = lambda state: state._replace(count=state.count + 1000)  # noqa: E731
        return optim.Optimizer(lambda params: late(inner.init(params)), inner.update)

    mp.setattr(optim, "adamw", wrong)


def nesterov_is_plain(mp):
    right = optim.sgd
    mp.setattr(
        optim, "sgd", lambda momentum=0.0, nesterov=False, decay=0.0, **kw: right(momentum, False, decay, **kw)
    )


def half_the_decay(mp):
    right = optim.adamw
    mp.setattr(
        optim, "adamw", lambda *args, weight_decay=0.0, **kw: right(*args, weight_decay=weight_decay / 2, **kw)
    )


def mhlora_without_its_mean(mp):
    right = data_parallel.stack
    mp.setattr(data_parallel, "stack", lambda adapters, scales: right(adapters, [s * len(scales) for s in scales]))


def gradients_clipped_before_the_sum(mp):
    right = networks.loss_and_grads

    def wrong(*args):
        loss, grads = right(*args)
        return loss, optim.clip(grads, 0.01)

    mp.setattr(data_parallel.models, "loss_and_grads", wrong)


def every_shard_counts_the_same(mp):
    right = data_parallel.data_parallel
    even = lambda task: task._replace(shares=(1 / len(task.shares),) * len(task.shares))  # noqa: E731
    mp.setattr(data_parallel, "data_parallel", lambda task, trainee: right(even(task), trainee))


def scales_rolled_in_the_stack(mp):
    right = merge.plus_products
    mp.setattr(merge, "plus_products", lambda W, pairs, scales, each: right(W, pairs, [*scales[1:], scales[0]], each))


def dead_adapters_pass(mp):
    mp.setattr(lte, "refuse_dead", lambda adapters: None)


def stack_without_scales(mp):
    right = lora.stack
    mp.setattr(lora, "stack", lambda adapters, scales: right(adapters, [1.0] * len(scales)))


def effective_rank_of_squares(mp):
    mp.setattr(
        rank_laws,
        "effective_rank",
        lambda M: measures.effective_rank(np.linalg.svd(M)[1] ** 2 * np.eye(min(M.shape))),
    )


def stable_rank_is_one(mp):
    mp.setattr(rank_laws, "stable_rank", lambda M: 1.0)


def gradients_summed_from_the_last(mp):
    right = comm_ranks.in_order
    mp.setattr(
        comm_ranks,
        "in_order",
        lambda stack: right(stack[::-1] if threading.current_thread() is threading.main_thread() else stack),
    )


def weights_shifted_at_the_start(mp):
    right = data_parallel.full
    moved = lambda weights: {name: layer._replace(W=layer.W + 1) for name, layer in weights.items()}  # noqa: E731
    mp.setattr(data_parallel, "full", lambda task: right(task._replace(weights=moved(task.weights))))


def optimizer_left_out_of_checkpoints(mp):
    right = checkpoint.load

    def wrong(path, main, heads, config):
        state = right(path, main, heads, config)
        return state._replace(heads=tuple(new._replace(opt=old.opt) for new, old in zip(state.heads, heads)))

    mp.setattr(checkpoint, "load", wrong)


def adapters_drawn_by_chance(mp):
    right = lora.init_adapters
    mp.setattr(
        lora, "init_adapters", lambda W, r, init, seed, *key: right(W, r, init, np.random.randint(2**31), *key)
    )


def entropy_in_bits(mp):
    right = measures.effective_rank
    mp.setattr(rank_laws, "effective_rank", lambda M: right(M) ** (1 / np.log(2)))


def lora_trains_everything(mp):
    mp.setattr(rank_laws.data_parallel, "lora", lambda task, plan: data_parallel.full(task))


def merging_stops_early(mp):
    right = core_head.local_steps

    def wrong(task, scales, share, main, one, start, stop):
        return right(task, scales, share, main, one, start, stop) if start < 20 else one._replace(loss=0.0)

    mp.setattr(core_head, "local_steps", wrong)


def shares_over_one_head_too_many(mp):
    right = lte.shares
    mp.setattr(lte, "shares", lambda N, w=None: [one * N / (N + 1) for one in right(N, w)])


def wrong_step(change):
    """The gradient of the adapter changed where the laws about single steps call it."""

    def plant(mp):
        mp.setattr(layers, "lora_back", adapter_grad(change))

    return plant


PLANTED = {
    scale_dropped_in_forward: ["oracle", "L3", "L10", "L17"],
    scale_dropped_in_dA: ["oracle", "L3", "L17"],
    A_transposed_in_dB: ["oracle", "L4"],
    head_sees_s_over_N: ["oracle", "L3", "L4", "L4-mean"],
    V_kept_at_a_reset: ["oracle", "L10-all"],
    V_forgotten_by_the_head: ["oracle", "L10-all", "L14"],
    optimizer_never_forgets: ["oracle"],
    optimizer_always_forgets: ["oracle", "L4"],
    heads_dealt_like_cards: ["L20"],
    heads_of_a_rank_in_reverse: ["L20"],
    no_bias_correction: ["oracle", "oracle-parallel"],
    nesterov_is_plain: ["oracle", "L4"],
    half_the_decay: ["L9", "oracle"],
    mhlora_without_its_mean: ["L3", "oracle-parallel"],
    gradients_clipped_before_the_sum: ["L11"],
    every_shard_counts_the_same: ["L11"],
    scales_rolled_in_the_stack: ["L13", "oracle"],
    dead_adapters_pass: ["L7"],
    stack_without_scales: ["L5"],
    effective_rank_of_squares: ["L19"],
    stable_rank_is_one: ["L19"],
    gradients_summed_from_the_last: ["L20"],
    weights_shifted_at_the_start: ["L20-seed"],
    optimizer_left_out_of_checkpoints: ["L20-resume"],
    adapters_drawn_by_chance: ["L20-seed"],
    entropy_in_bits: ["L19"],
    lora_trains_everything: ["L6"],
    merging_stops_early: ["L6-reached"],
    shares_over_one_head_too_many: ["L15", "L16", "oracle"],
    wrong_step(lambda grad, cache: grad._replace(A=1.001 * grad.A)): ["L8", "L18"],
    wrong_step(lambda grad, cache: grad._replace(A=grad.A + 1e-3)): ["L7", "gradients"],
}


@pytest.mark.parametrize("plant, name", [(plant, name) for plant, names in PLANTED.items() for name in names])
def test_a_planted_bug_breaks_its_laws(plant, name, monkeypatch):
    plant(monkeypatch)
    assert falls(name)


def test_every_law_has_a_bug_that_breaks_it():
    broken = {name for names in PLANTED.values() for name in names} | {
        name for _, names in RULES.values() for name in names
    }
    assert broken == set(LAWS)


def swap(mp, name, place, change):
    right = getattr(layers, name)

    def wrong(dy, cache, **kw):
        grads = right(dy, cache, **kw)
        grads = grads if type(grads) is tuple else (grads,)
        leaves = iter(range(99))
        grads = tree.map(lambda leaf: change(leaf) if next(leaves) == place else leaf, grads)
        return grads if len(grads) > 1 else grads[0]

    for key, (f, f_back) in layers.ACTIVATIONS.items():
        if f_back is right:
            mp.setitem(layers.ACTIVATIONS, key, (f, wrong))
    mp.setattr(layers, name, wrong)


# how many arrays each backward returns
BACKWARDS = {name: 1 for name in vars(layers) if name.endswith("_back")} | {
    "linear_back": 3, "lora_back": 4, "layer_norm_back": 3,
}  # fmt: skip
WRONG = {
    "permuted rows": lambda g: g[::-1] if len(g) > 1 else g * 1.01,
    "row mean for row": lambda g: 0 * g + g.mean(axis=0, keepdims=True) if len(g) > 1 else g * 1.01,
    "missing 1/b": lambda g: g * len(g) if len(g) > 1 else g * 1.01,
    "sign of one column": lambda g: g * np.where(np.arange(g.shape[-1]) == 0, -1, 1),
}


@pytest.mark.parametrize("bug", WRONG)
@pytest.mark.parametrize(
    "name, place", [(name, place) for name, count in BACKWARDS.items() for place in range(count)]
)
def test_a_bug_in_any_gradient_of_any_layer_is_seen(name, place, bug, monkeypatch):
    swap(monkeypatch, name, place, WRONG[bug])
    assert falls("gradients", examples=120)
