"""The smallest wrong step that every law must see, clause by clause: with a tolerance much laxer than its rounding, or with
an error measured against more than what moves, a law would hold on."""

import threading
from typing import NamedTuple

import numpy as np
import pytest
from laws.planting import adapter_grad, change_pair, falls, lte_with, rule

from minilte.comm import communicator
from minilte.core import layers, lora, lte, networks, optim, pairs
from minilte.core.lte import merged
from minilte.core.pairs import Pair
from minilte.job import checkpoint
from minilte.laws import LAWS, Variant, basis, dense, equivalences, fast, low_rank, merges, runs, tokens, wires
from minilte.methods import bases, fedavg, full, mhlora
from minilte.rules import outer
from minilte.steps import adamw

# ------------------------------------------------------------- wrong by `size`: each takes (monkeypatch, size)


def entry_off(layer, size):
    """A layer whose first number is larger by `size`, or by the last bit where `size` is 0."""
    W = layer.W.copy()
    W[0, 0] = W[0, 0] + size if size else np.nextafter(W[0, 0], np.inf)
    return layer._replace(W=W)


def first_off(weights, size):
    """Weights whose first number is larger by `size`."""
    name = next(iter(weights))
    return weights | {name: entry_off(weights[name], size)}


def merge_off(mp, size):
    """A number of W is off after each merge: so there is a rank too many."""
    return Variant(rule(lambda *args: first_off(merged(*args), size)))


def merge_off_if(when):
    """The same in runs of some settings alone."""

    def plant(mp, size):
        wrong = merge_off(mp, size).rule
        lte_with(lambda plan, settings: settings | ({"rule": wrong} if when(settings) else {}))(mp)

    return plant


def shares_off(mp, size):
    """All shares too large, where there are several heads."""
    by = lambda w: [w_n * (1 + size * (len(w) > 1)) for w_n in w]  # noqa: E731
    return Variant(rule(lambda W, sent, then, s, w: merged(W, sent, then, s, by(w))))


def share_of_the_first_off(mp, size):
    return Variant(rule(lambda W, sent, then, s, w: merged(W, sent, then, s, [w[0] + size, *w[1:]])))


def scale_off(mp, size):
    by = lambda scales: [{name: s * (1 + size) for name, s in one.items()} for one in scales]  # noqa: E731
    return Variant(rule(lambda W, sent, then, s, w: merged(W, sent, then, by(s), w)))


def matrix_too_many(mp, size):
    """A rule that holds another m x n matrix beside the product."""

    def wrong(weights, *args):
        held = [np.empty_like(layer.W) for layer in weights.values()]
        return merged(weights, *args) if held else None

    return Variant(rule(wrong))


def grad_off(change):
    """The gradient of an adapter, as heads and as single steps take it: change(grad, cache, size)."""

    def plant(mp, size):
        wrong = adapter_grad(lambda grad, cache: change(grad, cache, size))
        change_pair(mp, backward=wrong)
        mp.setattr(layers, "lora_back", wrong)

    return plant


dA_longer = grad_off(lambda grad, cache, size: grad._replace(A=grad.A * (1 + size)))
dA_shifted = grad_off(lambda grad, cache, size: grad._replace(A=grad.A + size))
dB_shifted = grad_off(lambda grad, cache, size: grad._replace(B=grad.B + size))
dB_with_decay = grad_off(lambda grad, cache, size: grad._replace(B=grad.B + size * cache[5].B))


def head_sees_another_scale(mp, size):
    right = lte.seen
    longer = lambda scales: {name: s * (1 + size) for name, s in scales.items()}  # noqa: E731
    mp.setattr(lte, "seen", lambda *args: right(*args[:4], longer(args[4])))


def result_longer(home, name):
    """Whatever a function returns, times 1 + size."""

    def plant(mp, size):
        right = getattr(home, name)
        mp.setattr(home, name, lambda *args, **kw: right(*args, **kw) * (1 + size))

    return plant


def stack_longer(home):
    """Stacks of several adapters, each at a scale too large."""

    def plant(mp, size):
        right = home.stack
        wrong = lambda pairs, scales: right(pairs, [s * (1 + size * (len(pairs) > 1)) for s in scales])  # noqa: E731
        mp.setattr(home, "stack", wrong)

    return plant


def loss_lower(mp, size):
    right = low_rank.evaluate
    mp.setattr(low_rank, "evaluate", lambda *args: (right(*args)[0] * (1 - size), None))


def loss_upside_down(mp, size):
    right = merges.evaluate
    mp.setattr(merges, "evaluate", lambda *args: (-right(*args)[0], None))


def lte_trains_everything(mp, size):
    mp.setattr(low_rank.World, "method", lambda self, variant: full.full(self.task))


def decay_longer(mp, size):
    right = optim.adamw
    wrong = lambda *args, weight_decay=0.0, **kw: right(*args, weight_decay=weight_decay * (1 + size), **kw)  # noqa: E731
    mp.setattr(optim, "adamw", wrong)


def outer_rate_longer(home, name):
    def plant(mp, size):
        right = getattr(home, name)
        wrong = lambda *work: right(*work[:-1], work[-1] * (1 + size))  # noqa: E731
        mp.setattr(home, name, wrong)

    return plant


def plan_scales_longer(name):
    """A method of the dense laws with the scales of its heads too large."""

    def plant(mp, size):
        right = getattr(dense, name)
        longer = lambda plan: plan._replace(  # noqa: E731
            scales=tuple({name: s * (1 + size) for name, s in head.items()} for head in plan.scales)
        )
        mp.setattr(dense, name, lambda task, plan: right(task, longer(plan)))

    return plant


def gradients_longer(home):
    """Data parallel training with all gradients too long."""

    def plant(mp, size):
        right = home.full
        longer = lambda task: task._replace(shards=tuple(part * (1 + size) for part in task.shards))  # noqa: E731
        mp.setattr(home, "full", lambda task: right(longer(task)))

    return plant


def shard_of_the_first_longer(mp, size):
    right = equivalences.full
    wrong = lambda first, *rest: (first * (1 + size), *rest)  # noqa: E731
    mp.setattr(equivalences, "full", lambda task: right(task._replace(shards=wrong(*task.shards))))


def average_longer(mp, size):
    """FedAvg proper, and not DiLoCo, with shares too large."""
    right = dense.fedavg
    wrong = lambda task, w, T, *outer: right(task, w if outer else [w_n * (1 + size) for w_n in w], T, *outer)  # noqa: E731
    mp.setattr(dense, "fedavg", wrong)


def factors_longer(mp, size):
    """All shares of the shared basis too large."""
    right = basis.shared_basis
    mp.setattr(
        basis,
        "shared_basis",
        lambda task, w, *rest, **more: right(task, [w_n * (1 + size) for w_n in w], *rest, **more),
    )


def owing_less(mp, size):
    """A head that forgets a little of what it has still to send."""
    right = wires.fed_back

    def wrong(*settings):
        made = right(*settings)
        less = lambda worker: worker._replace(owed=(1 - size) * worker.owed)  # noqa: E731
        return made._replace(hear=lambda *heard: less(made.hear(*heard)))

    mp.setattr(wires, "fed_back", wrong)


def polar_factor(change):
    """The polar factor X -> P changed, as the method alone takes it: change(P, X, size)."""

    def plant(mp, size):
        right = basis.orthonormal
        mp.setattr(basis, "orthonormal", lambda beta, polar: right(beta, lambda X: change(polar(X), X, size)))

    return plant


def product_of_any_rank(mp, size):
    """A merge that adds a little to the diagonal, too."""
    right = bases.Bases.product
    wrong = lambda self, factors, p: {k: D + size * np.eye(*D.shape) for k, D in right(self, factors, p).items()}  # noqa: E731
    mp.setattr(bases.Bases, "product", wrong)


def measure_longer(name):
    return result_longer(low_rank, name)


def one_token_off(mp, size):
    """A number of the first token is off, wherever that token came from."""
    right = pairs.attend

    def wrong(Q, K, V):
        y, cache = right(Q, K, V)
        y = y.copy()
        y[..., 0, 0] += size
        return y, cache

    mp.setattr(pairs, "attend", wrong)


# ------------------------------------------------------------- wrong by the last bit


def up(a):
    """An array with its first number a bit larger, the least that there is."""
    a = np.array(a)
    a.reshape(-1)[:1] = np.nextafter(a.reshape(-1)[:1], np.inf)
    return a


def bit_of_another_process(mp, size):
    """Processes played by threads merge to another last bit than the serial run."""
    off = lambda new: new if threading.current_thread() is threading.main_thread() else first_off(new, 0)  # noqa: E731
    return Variant(rule(lambda *args: off(merged(*args))))


def head_of_the_pool_off(mp, size):
    """Where heads share a process's threads, the first of them steps too far."""
    right = communicator.Communicator.each

    def wrong(self, f, items):
        done = right(self, f, items)
        heads = self.pool and done and hasattr(done[0], "replica")
        return [A_longer(done[0], size), *done[1:]] if heads else done

    mp.setattr(communicator.Communicator, "each", wrong)


def A_longer(head, size):
    return head._replace(now={name: pair._replace(A=pair.A * (1 + size)) for name, pair in head.now.items()})


def loaded(change):
    """What is loaded is not what was saved: change(state, size) -> state."""

    def plant(mp, size):
        right = checkpoint.load
        mp.setattr(checkpoint, "load", lambda *args: change(right(*args), size))

    return plant


def last_head_off(state, size):
    return state._replace(heads=(*state.heads[:-1], A_longer(state.heads[-1], size)))


def main_off(state, size):
    return state._replace(main=state.main._replace(weights=first_off(state.main.weights, size)))


def bit_of_a_second_run(mp, size):
    """Every other run of data parallel training starts a bit elsewhere."""
    right, turns = runs.full, iter(range(10**6))
    other = lambda method: method._replace(  # noqa: E731
        begin=lambda: method.begin()._replace(trained=first_off(method.begin().trained, 0))
    )
    mp.setattr(runs, "full", lambda task: other(right(task)) if next(turns) % 2 else right(task))


def bit_of_the_start(mp, size):
    """Dense weights at step 0 that are not the weights given."""
    right = runs.full
    mp.setattr(runs, "full", lambda task: right(task._replace(weights=first_off(task.weights, 0))))


def bit_of_a_step(way):
    """The fast AdamW, by one of its two ways, ends a bit elsewhere."""

    def plant(mp, size):
        right = adamw.adamw

        def wrong(**settings):
            made = right(**settings)
            step = getattr(made, way)

            def off(*args):
                params, state = step(*args)
                return params | {"a": up(params["a"])}, state

            return made._replace(**{way: off})

        mp.setattr(fast.adamw, "adamw", wrong)

    return plant


def bit_of_patches(forward, backward):
    def plant(mp, size):
        right = pairs.patches

        def wrong(*shape):
            pair = right(*shape)
            f = lambda x: (forward(pair.f(x)[0]), None)  # noqa: E731
            return Pair(f, lambda dy, cache: backward(pair.f_back(dy, cache)))

        mp.setattr(tokens, "patches", wrong)

    return plant


def heard(change):
    """What a head keeps of a merge: change(head, size) -> head."""

    def plant(mp, size):
        right = lte.lte

        def wrong(*args, **settings):
            method = right(*args, **settings)
            return method._replace(hear=lambda *what: change(method.hear(*what), size))

        mp.setattr(lte, "lte", wrong)

    return plant


def bit_of_a_bias(head, size):
    name = next(iter(head.replica))
    c = head.replica[name].c
    return head._replace(replica=head.replica | {name: head.replica[name]._replace(c=None if c is None else up(c))})


def B_longer(head, size):
    return head._replace(now={name: pair._replace(B=pair.B * (1 + size)) for name, pair in head.now.items()})


def dead_adapters_pass(home):
    return lambda mp, size: mp.setattr(home, "refuse_dead", lambda adapters: None)


def real_part_off(mp, size):
    """A forward that is right where it is complex: complex step cannot see it."""
    right = layers.linear

    def wrong(x, W, c):
        y, cache = right(x, W, c)
        return (y if np.iscomplexobj(y) else y * (1 + size)), cache

    mp.setattr(layers, "linear", wrong)


def dx_longer(mp, size):
    right = networks.back_through

    def wrong(*args, **kw):
        dx = right(*args, **kw)
        return None if dx is None else dx * (1 + size)

    mp.setattr(networks, "back_through", wrong)


# ------------------------------------------------------------- the table


class Step(NamedTuple):
    """The least that a law must see: plant(monkeypatch, size) -> the rule on trial, or None."""

    law: str
    clause: str
    plant: object
    size: float  # 0 for what is wrong by a bit, or by something that has no size


no_reset = lambda settings: settings["reset"] == "none"  # noqa: E731
frozen_B = lambda settings: settings["reset"] == "b" and not settings["reset_optimizer"]  # noqa: E731
T_of_1 = lambda settings: settings["reset"] == "b" and settings["reset_optimizer"] and settings["every"] == 1  # noqa: E731

SMALLEST = [
    Step("L1", "the merged weight", merge_off, 1e-9),
    Step("L1-one", "the path of plain LoRA", scale_off, 1e-6),
    Step("L1-skip", "the merged weight", merge_off, 1e-9),
    Step("L2", "reset-less", merge_off_if(no_reset), 1e-11),
    Step("L2", "B reset, A frozen", merge_off_if(frozen_B), 1e-11),
    Step("L2", "B reset at T = 1", merge_off_if(T_of_1), 1e-11),
    Step("L3", "the path", shares_off, 1e-6),
    Step("L3-batch", "the path", shares_off, 1e-7),
    Step("L4", "the path", scale_off, 1e-7),
    Step("L4-mean", "the mean step", scale_off, 1e-7),
    Step("L5", "the product of a stack", stack_longer(lora), 1e-8),
    Step("L5", "the path of the stack", stack_longer(mhlora), 1e-6),
    Step("L5-memory", "numbers allocated", matrix_too_many, 0),
    Step("L6", "the floor", loss_lower, 1e-10),
    Step("L6", "LTE above it", lte_trains_everything, 0),
    Step("L6-reached", "the end", merge_off, 1e-2),
    Step("L7", "dA", dA_shifted, 1e-300),
    Step("L7", "dB", dB_shifted, 1e-300),
    Step("L7", "LTE refuses", dead_adapters_pass(lte), 0),
    Step("L7", "MHLoRA refuses", dead_adapters_pass(mhlora), 0),
    Step("L8", "the step", dA_longer, 1e-8),
    Step("L9", "what is kept", decay_longer, 1e-6),
    Step("L10", "outputs", merge_off, 1e-10),
    Step("L10-all", "of the adapters", heard(B_longer), 1e-9),
    Step("L10-all", "of the replicas", heard(bit_of_a_bias), 0),
    Step("L11", "the path", shard_of_the_first_longer, 1e-6),
    Step("L12", "rate 1", outer_rate_longer(outer, "toward"), 1e-6),
    Step("L12", "the sum", merge_off, 1e-9),
    Step("L13", "the mean", merge_off, 1e-9),
    Step("L13", "Jensen", loss_upside_down, 0),
    Step("L14", "the path", dB_with_decay, 1e-3),
    Step("L15", "the path", shares_off, 1e-6),
    Step("L16", "the path", shares_off, 1e-7),
    Step("L17", "the path", dA_shifted, 1e-4),
    Step("L18", "the change of the balance", dA_longer, 1e-8),
    Step("L18", "rotations", result_longer(lora, "semi_orthogonal"), 1e-8),
    Step("L19", "stable rank", measure_longer("stable_rank"), 1e-4),
    Step("L19", "effective rank", measure_longer("effective_rank"), 1e-4),
    Step("L19", "rank", measure_longer("numerical_rank"), 1e-4),
    Step("L20", "processes", bit_of_another_process, 0),
    Step("L20", "threads of a process", head_of_the_pool_off, 1e-9),
    Step("L20-order", "the path", share_of_the_first_off, 1e-6),
    Step("L20-resume", "the main weights", loaded(main_off), 0),
    Step("L20-resume", "a head", loaded(last_head_off), 1e-9),
    Step("L20-seed", "two runs", bit_of_a_second_run, 0),
    Step("L20-seed", "no step", bit_of_the_start, 0),
    Step("L21", "the sum", factors_longer, 1e-6),
    Step("L21-wire", "what is owed", owing_less, 1e-6),
    Step("L22", "the path", factors_longer, 1e-6),
    Step("L23", "the path", polar_factor(lambda P, X, size: P + size * np.tanh(1e3 * X)), 1e-4),
    Step("L24", "the path", polar_factor(lambda P, X, size: P + size * X), 1e-3),
    Step("L25", "the path", polar_factor(lambda P, X, size: P * (1 + size)), 1e-4),
    Step("L26", "the rank", product_of_any_rank, 1e-8),
    Step("L27", "the length", polar_factor(lambda P, X, size: P * (1 + size)), 1e-6),
    Step("L28", "DiLoCo of rate 1", outer_rate_longer(fedavg, "toward"), 1e-6),
    Step("L28", "LTE of replicas", shares_off, 1e-9),
    Step("L28", "data parallel", gradients_longer(equivalences), 1e-6),
    Step("adamw", "on new memory", bit_of_a_step("update"), 0),
    Step("adamw", "in place", bit_of_a_step("in_place"), 0),
    Step("attention", "a token", one_token_off, 1e-10),
    Step("attention-mean", "a token", one_token_off, 1e-10),
    Step("attention-order", "a token", one_token_off, 1e-10),
    Step("gradients", "by complex step", dA_longer, 1e-9),
    Step("gradients", "by differences", real_part_off, 1e-5),
    Step("gradients-chain", "a residual", dx_longer, 1e-9),
    Step("oracle", "the merge", scale_off, 1e-6),
    Step("oracle", "what a head sees", head_sees_another_scale, 1e-6),
    Step("oracle-parallel", "full", gradients_longer(dense), 1e-6),
    Step("oracle-parallel", "mhlora", plan_scales_longer("mhlora"), 1e-6),
    Step("oracle-parallel", "lora", plan_scales_longer("lora"), 1e-6),
    Step("oracle-parallel", "FedAvg", average_longer, 1e-9),
    Step("oracle-parallel", "DiLoCo", outer_rate_longer(fedavg, "toward"), 1e-6),
    Step("patches", "forward", bit_of_patches(up, lambda x: x), 0),
    Step("patches", "backward", bit_of_patches(lambda y: y, up), 0),
]


@pytest.mark.parametrize("step", SMALLEST, ids=lambda step: f"{step.law}: {step.clause}")
def test_a_law_sees_its_smallest_wrong_step(step, monkeypatch):
    assert falls(step.law, step.plant(monkeypatch, step.size) or Variant())


def test_every_law_says_what_the_smallest_wrong_step_is_that_it_sees():
    assert {step.law for step in SMALLEST} == set(LAWS)
