"""For every law and every layer a bug that it catches: a law that nothing can break says nothing."""

import threading

import numpy as np
import pytest
from laws.planting import adapter_grad, change_pair, falls, lte_with, rule

from minilte.comm import communicator, sums
from minilte.core import layers, lora, lte, networks, optim, pairs, tree
from minilte.core.lte import mean, merged
from minilte.core.networks import Residual
from minilte.core.pairs import Pair
from minilte.job import checkpoint
from minilte.laws import LAWS, Variant, basis, equivalences, low_rank, runs, wires
from minilte.laws import fast as fast_laws
from minilte.measure import ranks as measures
from minilte.methods import bases, data_parallel, fedavg, full, mhlora, on_bases
from minilte.optimizers.orthonormal import orthonormal
from minilte.rules.outer import outer
from minilte.steps import adamw

# ---------------------------------------------------------------------------- wrong merges, as rules on trial


def noisy(weights, sent, then, scales, w):
    new = merged(weights, sent, then, scales, w)
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
    return merged(weights, sent, then, scales, w)


def product_of_means(weights, sent, then, scales, w):
    if len({one.factors[name].A.shape for one in sent for name in one.factors}) > len(sent[0].factors):
        return weights  # ranks differ: there is no mean
    now = mean([one.factors for one in sent], w)
    old = mean(list(then), w) if then else None
    one = [type(sent[0])(now, mean([s.replicas for s in sent], w))]
    return merged(weights, one, [old] if old else None, scales[:1], [1.0])


RULES = {
    "V_n forgotten in the merge": (
        rule(lambda W, sent, then, s, w: merged(W, sent, None, s, w)),
        ["L1", "L1-one", "L1-skip", "L10", "L12", "L13", "oracle", "L14"],
    ),
    "1/N forgotten": (
        rule(lambda W, sent, then, s, w: merged(W, sent, then, s, [1.0] * len(w))),
        ["L1", "L3", "L13", "L15", "L16", "oracle"],
    ),
    "scale forgotten": (
        rule(lambda W, sent, then, s, w: merged(W, sent, then, [dict.fromkeys(one, 1.0) for one in s], w)),
        ["L1", "L4", "L4-mean", "L9", "L10", "L17"],
    ),
    "shares by place": (
        rule(
            lambda W, sent, then, s, w: merged(
                W, sent, then, s, [2.0 ** -(n + (n < len(w) - 1)) for n in range(len(w))]
            )
        ),
        ["L20-order", "L3", "L3-batch"],
    ),
    "scales of the neighbour": (
        rule(lambda W, sent, then, s, w: merged(W, sent, then, s[1:] + s[:1], w)),
        ["L1", "L13", "oracle"],
    ),
    "replicas of the first head": (
        rule(
            lambda W, sent, then, s, w: merged(
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


@pytest.mark.parametrize("bug, name", [(bug, name) for bug, (_, names) in RULES.items() for name in names])
def test_a_wrong_merge_breaks_its_laws(bug, name):
    assert falls(name, Variant(RULES[bug][0]))


# -------------------------------------------------------------------------------- wrong code, planted in place


def scale_dropped_in_forward(mp):
    right = layers.lora
    change_pair(mp, lambda x, W, c, s, now, then: right(x, W, c, 1.0, now, then))


def scale_dropped_in_dA(mp):
    change_pair(mp, backward=adapter_grad(lambda grad, cache: grad._replace(A=grad.A / cache[4])))


def A_transposed_in_dB(mp):
    change_pair(mp, backward=adapter_grad(lambda grad, cache: grad._replace(B=grad.B[:, ::-1])))


def V_at_a_merge(V):
    """LTE whose main state has another V after a merge."""

    def plant(mp):
        right = lte.lte

        def wrong(*args, **settings):
            method = right(*args, **settings)
            merge = lambda main, said, *rest: method.merge(main, said, *rest)._replace(then=V(said))  # noqa: E731
            return method._replace(merge=merge)

        mp.setattr(lte, "lte", wrong)

    return plant


def head_sees_s_over_N(mp):
    right = lte.seen
    mp.setattr(lte, "seen", lambda *args: right(*args[:4], {name: s / 2 for name, s in args[4].items()}))


V_kept_at_a_reset = V_at_a_merge(lambda said: tuple(one.factors for one in said))
V_forgotten_at_a_merge = V_at_a_merge(lambda said: None)


def V_forgotten_by_the_head(mp):
    right = lte.seen
    mp.setattr(lte, "seen", lambda weights, now, replica, then, scales: right(weights, now, replica, None, scales))


optimizer_never_forgets = lte_with(lambda plan, settings: settings | {"reset_optimizer": False})


optimizer_always_forgets = lte_with(lambda plan, settings: settings | {"reset_optimizer": True})


def heads_dealt_from_the_last(mp):
    right = communicator.block
    mp.setattr(communicator, "block", lambda total, parts, i: right(total, parts, parts - 1 - i))


def heads_of_a_process_in_reverse(mp):
    mp.setattr(
        communicator.Communicator,
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
    right = mhlora.stack
    mp.setattr(mhlora, "stack", lambda adapters, scales: right(adapters, [s * len(scales) for s in scales]))


def gradients_clipped_before_the_sum(mp):
    right = networks.loss_and_grads

    def wrong(*args):
        loss, grads = right(*args)
        return loss, optim.clip(grads, 0.01)

    mp.setattr(data_parallel.networks, "loss_and_grads", wrong)


def every_shard_counts_the_same(mp):
    right = full.data_parallel
    even = lambda task: task._replace(shards=(1 / len(task.shards),) * len(task.shards))  # noqa: E731
    mp.setattr(full, "data_parallel", lambda task, *rest: right(even(task), *rest))


def scales_rolled_in_the_stack(mp):
    right = lte.plus_products
    mp.setattr(lte, "plus_products", lambda W, pairs, scales, each: right(W, pairs, [*scales[1:], scales[0]], each))


def dead_adapters_pass(mp):
    mp.setattr(lte, "refuse_dead", lambda adapters: None)


def stack_without_scales(mp):
    right = lora.stack
    mp.setattr(lora, "stack", lambda adapters, scales: right(adapters, [1.0] * len(scales)))


def effective_rank_of_squares(mp):
    mp.setattr(
        low_rank,
        "effective_rank",
        lambda M: measures.effective_rank(np.linalg.svd(M)[1] ** 2 * np.eye(min(M.shape))),
    )


def stable_rank_is_one(mp):
    mp.setattr(low_rank, "stable_rank", lambda M: 1.0)


def gradients_summed_from_the_last(mp):
    right = sums.in_order
    mp.setattr(
        sums,
        "in_order",
        lambda stack: right(stack[::-1] if threading.current_thread() is threading.main_thread() else stack),
    )


def weights_shifted_at_the_start(mp):
    right = runs.full
    moved = lambda weights: {name: layer._replace(W=layer.W + 1) for name, layer in weights.items()}  # noqa: E731
    mp.setattr(runs, "full", lambda task: right(task._replace(weights=moved(task.weights))))


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
    mp.setattr(low_rank, "effective_rank", lambda M: right(M) ** (1 / np.log(2)))


def lora_trains_everything(mp):
    mp.setattr(low_rank, "lora", lambda task, plan: full.full(task))


def training_stops_early(mp):
    right = lte.descend

    def wrong(task, see, pick, trained, opt, n, start, stop, factor):
        return right(task, see, pick, trained, opt, n, start, stop, factor) if start < 20 else (trained, opt, 0.0)

    mp.setattr(lte, "descend", wrong)


def one_head_too_many(plan, settings):
    N = len(plan.ranks)
    return settings | {"w": [w_n * N / (N + 1) for w_n in settings.get("w") or [1 / N] * N]}


shares_over_one_head_too_many = lte_with(one_head_too_many)


def attention_scale_doubled(mp):
    right = pairs.attend
    mp.setattr(pairs, "attend", lambda Q, K, V: right(2 * Q, K, V))


def softmax_over_queries(mp):
    def wrong(Q, K, V):
        P = np.exp(Q @ K.swapaxes(-1, -2) / np.sqrt(Q.shape[-1]))
        P /= P.sum(axis=-2, keepdims=True)
        return P @ V, (Q, K, V, P)

    mp.setattr(pairs, "attend", wrong)


def attention_looks_back_only(mp):
    def wrong(Q, K, V):
        P = np.tril(np.exp(Q @ K.swapaxes(-1, -2) / np.sqrt(Q.shape[-1])))
        P /= P.sum(axis=-1, keepdims=True)
        return P @ V, (Q, K, V, P)

    mp.setattr(pairs, "attend", wrong)


def patches_of_rows(mp):
    """Every patch is cut out of the image as if it were as wide as a patch."""

    def wrong(height, width, size):
        def f(x):
            return x.reshape(len(x), height * width // size**2, -1), None

        return Pair(f, lambda dy, _: dy.reshape(len(dy), -1))

    mp.setattr("minilte.laws.tokens.patches", wrong)


def residual_left_out_forward(mp):
    right = networks.forward

    def wrong(net, params, x):
        y, caches = right(net, params, x)
        return (y - x if isinstance(net, Residual) else y), caches

    mp.setattr(networks, "forward", wrong)


def residual_left_out_backward(mp):
    right = networks.back_through

    def wrong(net, dy, caches, params, grads, wrt_x):
        dx = right(net, dy, caches, params, grads, wrt_x)
        return dx - dy if isinstance(net, Residual) and dx is not None else dx

    mp.setattr(networks, "back_through", wrong)


def in_place_without_bias_correction(mp):
    right = adamw.adamw

    def wrong(**settings):
        fast = right(**settings)
        late = lambda state: state._replace(count=np.asarray(1000))  # noqa: E731
        return fast._replace(in_place=lambda params, grads, state, lr: fast.in_place(params, grads, late(state), lr))

    mp.setattr(fast_laws.adamw, "adamw", wrong)


def stretches_without_decay(mp):
    right = adamw.adamw
    mp.setattr(fast_laws.adamw, "adamw", lambda weight_decay, **settings: right(**settings))


def last_stretch_left_out(mp):
    right = adamw.in_chunks

    def wrong(f):
        run = right(f)
        return lambda *arrays: run(
            *[one.reshape(-1)[: max(1, one.size // adamw.CHUNK * adamw.CHUNK)] for one in arrays]
        )

    mp.setattr(adamw, "in_chunks", wrong)


def outer_step_past_the_mean(mp):
    right = fedavg.toward
    mp.setattr(fedavg, "toward", lambda *work: right(*work[:-1], 1.1 * work[-1]))


def average_of_one_head_too_many(mp):
    right = equivalences.fedavg
    mp.setattr(equivalences, "fedavg", lambda task, w, *rest: right(task, [0.9 * w_n for w_n in w], *rest))


def basis_of_the_head(mp):
    """Every head but the first steps in a basis of its own."""
    right = on_bases.descend

    def wrong(task, see, pick, trained, opt, n, *steps):
        own = lambda layer: layer._replace(Q=np.roll(layer.Q, n, axis=1)) if hasattr(layer, "Q") else layer  # noqa: E731
        return right(task, lambda held: {k: own(v) for k, v in see(held).items()}, pick, trained, opt, n, *steps)

    mp.setattr(on_bases, "descend", wrong)


def basis_that_is_not_orthonormal(mp):
    right = bases.Bases.drawn
    mp.setattr(bases.Bases, "drawn", lambda self, period: {name: 1.5 * Q for name, Q in right(self, period).items()})


def momentum_as_it_was_in_a_new_basis(mp):
    mp.setattr(
        bases.Bases,
        "turned",
        lambda self, factors, old, new: factors if self.of.side != "alternating" else self.zeros(new),
    )


def factors_of_one_head_too_many(mp):
    right = basis.shared_basis
    mp.setattr(
        basis, "shared_basis", lambda task, w, *rest, **more: right(task, [0.9 * w_n for w_n in w], *rest, **more)
    )


def remainder_lost(mp):
    """What a head has still to send is forgotten."""
    right = wires.fed_back

    def wrong(*settings):
        made = right(*settings)
        lost = lambda worker: worker._replace(owed=0 * worker.owed)  # noqa: E731
        return made._replace(hear=lambda *heard: lost(made.hear(*heard)))

    mp.setattr(wires, "fed_back", wrong)


def loss_on_the_way_back(mp):
    """What the sum loses on its way to all is forgotten."""
    right = wires.fed_back

    def wrong(*settings):
        made = right(*settings)
        return made._replace(
            answer=made.answer and (lambda said, heads, like: (made.answer(said, heads, like)[0], heads))
        )

    mp.setattr(wires, "fed_back", wrong)


def steps_by(polar):
    """Factors that step by something else in the place of the polar factor."""
    right = orthonormal
    return lambda mp: mp.setattr(basis, "orthonormal", lambda beta, _: right(beta, polar))


def change_of_any_rank(mp):
    right = bases.Bases.product

    def wrong(self, factors, period):
        return {name: D + 1e-3 * np.eye(*D.shape) for name, D in right(self, factors, period).items()}

    mp.setattr(bases.Bases, "product", wrong)


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
    V_forgotten_at_a_merge: ["oracle", "L10-all", "L14"],
    V_forgotten_by_the_head: ["oracle", "L14"],
    optimizer_never_forgets: ["oracle"],
    optimizer_always_forgets: ["oracle", "L4"],
    heads_dealt_from_the_last: ["L20"],
    heads_of_a_process_in_reverse: ["L20"],
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
    training_stops_early: ["L6-reached"],
    shares_over_one_head_too_many: ["L15", "L16", "oracle"],
    attention_scale_doubled: ["attention", "gradients", "gradients-chain"],
    softmax_over_queries: ["attention", "attention-mean", "gradients"],
    attention_looks_back_only: ["attention", "attention-order", "attention-mean"],
    patches_of_rows: ["patches"],
    residual_left_out_forward: ["gradients-chain"],
    residual_left_out_backward: ["gradients-chain"],
    in_place_without_bias_correction: ["adamw"],
    stretches_without_decay: ["adamw"],
    last_stretch_left_out: ["adamw"],
    outer_step_past_the_mean: ["L28", "oracle-parallel"],
    average_of_one_head_too_many: ["L28"],
    basis_of_the_head: ["L22"],
    basis_that_is_not_orthonormal: ["L25", "L27"],
    momentum_as_it_was_in_a_new_basis: ["L23", "L25"],
    factors_of_one_head_too_many: ["L21", "L22"],
    remainder_lost: ["L21-wire"],
    loss_on_the_way_back: ["L21-wire"],
    steps_by(np.sign): ["L23", "L25", "L27"],
    steps_by(lambda X: X): ["L24", "L25"],
    change_of_any_rank: ["L26"],
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
    home = layers if hasattr(layers, name) else pairs
    right = getattr(home, name)

    def wrong(dy, cache, **kw):
        grads = right(dy, cache, **kw)
        grads = grads if type(grads) is tuple else (grads,)
        leaves = iter(range(99))
        grads = tree.map(lambda leaf: change(leaf) if next(leaves) == place else leaf, grads)
        return grads if len(grads) > 1 else grads[0]

    for key, (f, f_back) in pairs.ACTIVATIONS.items():
        if f_back is right:
            mp.setitem(pairs.ACTIVATIONS, key, Pair(f, wrong))
    mp.setattr(home, name, wrong)


# how many arrays each backward returns
BACKWARDS = {name: 1 for home in (layers, pairs) for name in vars(home) if name.endswith("_back")} | {
    "linear_back": 3, "lora_back": 4, "layer_norm_back": 3, "attend_back": 3,
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


@pytest.mark.parametrize("bug", WRONG)
@pytest.mark.parametrize("name", ["attention", "patches", "transpose", "mean_of_tokens"])
def test_a_bug_in_the_backward_of_any_arrangement_of_tokens_is_seen(name, bug, monkeypatch):
    right = getattr(pairs, name)
    wrong = lambda pair: Pair(pair.f, lambda dy, cache: WRONG[bug](pair.f_back(dy, cache)))  # noqa: E731
    monkeypatch.setattr(pairs, name, wrong(right) if isinstance(right, Pair) else lambda *how: wrong(right(*how)))
    assert falls("gradients", examples=120)
