"""FLoRA against its definition: in every round fresh adapters, whose stacked factors are multiplied as matrices."""

import numpy as np
import pytest
import tiny
from support import OPTIMIZERS, RANKS, STEPS, as_lists, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core import optim, tree
from minilte.core.errors import BadInput
from minilte.core.lora import product
from minilte.core.lte import lte
from minilte.laws import oracle
from minilte.methods.flora_stacked import flora_stacked
from minilte.methods.mhlora import lora
from minilte.run.build import build
from minilte.run.session import advance, first_state
from minilte.steps.adamw import adamw


def dense(task, plan, every, settings, frozen=False):
    """W and c of every layer after every round; heads have unequal ranks and unequal parts of the data."""
    W, c = ([np.copy(of[k]) for of in as_lists(task.weights)] for k in (0, 1))
    layers, heads, w = range(len(W)), range(len(plan.ranks)), task.shards
    for start in range(0, STEPS, every):
        stop, A, B, own_c = min(start + every, STEPS), {}, {}, {}
        for n in heads:
            for i, pair in enumerate(plan.draw(n, start).values()):
                A[n, i], B[n, i], own_c[n, i] = np.copy(pair.A), np.zeros_like(pair.B), np.copy(c[i])
            s, memory = list(plan.scales[n].values()), {}
            for t in range(start, stop):
                own = [(W[i] + s[i] * B[n, i] @ A[n, i], own_c[n, i]) for i in layers]
                _, grads = oracle.gradients(own, "tanh", *task.batch(n, t))
                params = {(i, "A"): A[n, i] for i in layers} | {(i, "B"): B[n, i] for i in layers}
                of = {(i, "A"): s[i] * B[n, i].T @ grads[i][0] for i in layers}
                of |= {(i, "B"): s[i] * grads[i][0] @ A[n, i].T for i in layers}
                if not frozen:
                    params |= {(i, "c"): own_c[n, i] for i in layers}
                    of |= {(i, "c"): grads[i][1] for i in layers}
                oracle.move(params, of, memory, task.rate(t), settings)
        for i in layers:
            name = list(task.weights)[i]
            tall = np.concatenate(
                [w[n] * plan.scales[n][name] * A[n, i] for n in heads], axis=0
            )  # as their code: in A
            W[i] = W[i] + np.concatenate([B[n, i] for n in heads], axis=1) @ tall
            c[i] = sum(w[n] * own_c[n, i] for n in heads)
        yield list(zip(map(np.copy, W), map(np.copy, c)))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
def test_it_follows_the_dense_method(every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    assert len(set(RANKS)) == 3 and len(set(task.shards)) == 2
    reference = dense(task, plan, every, oracle.Settings(task.rate, **extra))
    assert_same(trajectory(flora_stacked(task, plan, every), 3), list(reference))


def test_it_follows_the_dense_method_with_clipping_and_frozen_biases():
    task, _ = make_task(optim.sgd(0.5), 0.05, clip=0.5)
    plan = make_plan(task)
    reference = dense(task, plan, 4, oracle.Settings(task.rate, momentum=0.5, clip=0.5), frozen=True)
    assert_same(trajectory(flora_stacked(task, plan, 4, "frozen"), 3), list(reference))


@pytest.mark.parametrize("replicas", ["average", "frozen"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(replicas):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(flora_stacked(task, make_plan(task), 4, replicas), 3, 10)


def test_it_is_lte_with_factors_and_optimizer_reset_to_the_bit():
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    plan = make_plan(task)
    ours = trajectory(flora_stacked(task, plan, 3), 3)
    theirs = trajectory(lte(task, plan, 3, "ab", True, w=task.shards), 3)
    assert all(map(np.array_equal, tree.leaves(ours), tree.leaves(theirs)))
    for other in (lte(task, plan, 3, "ab", False, w=task.shards), lte(task, plan, 3, "b", True, w=task.shards)):
        assert not np.array_equal(ours[-1][0][0], trajectory(other, 3)[-1][0][0])


def test_a_head_alone_is_lora_for_a_round():
    task, _ = make_task(adamw(), 0.01, heads=1)
    plan = make_plan(task, [2])
    assert_same(trajectory(flora_stacked(task, plan, 5), 1, 5), trajectory(lora(task, plan), 1, 5)[-1:])


def test_a_round_adds_exactly_what_the_heads_learnt_by_their_parts_of_the_data():  # L13, and L5 for unequal ranks
    task, _ = make_task(optim.adamw(), 0.05)
    plan = make_plan(task)
    method = flora_stacked(task, plan, 5)
    heads = [method.local(method.begin(), method.enter(n), 0, 5) for n in range(3)]
    main = method.merge(method.begin(), [method.tell(head) for head in heads], 5, map)
    for name, layer in task.weights.items():
        own = [layer.W + plan.scales[n][name] * product(heads[n].now[name]) for n in range(3)]
        mean = sum(w * W for w, W in zip(task.shards, own, strict=True))
        np.testing.assert_allclose(main.weights[name].W, mean, atol=1e-14)  # rounding
    heard = method.hear(main, heads[1], 5)
    assert all(not pair.B.any() and pair.A.any() for pair in heard.now.values()) and int(heard.opt.count) == 0


def test_what_others_may_ask():
    task, _ = make_task(optim.sgd(), 0.05)
    method = flora_stacked(task, make_plan(task), 2)
    facts, main = method.facts, method.begin()
    assert facts.bound == {} and facts.one_lora is None and facts.factors(main) is None
    assert facts.held(main, method.enter(0), True)["merged_factors"] == ()
    assert facts.resized(main, 5) is main  # heads may join and leave


def test_settings():
    assert build(tiny.config(method="flora-stacked", head_ranks=(1, 3))).method.every == 2
    for setting, refusal in {
        "topology": ("allreduce", "topology allreduce: needs a method whose merge needs sums alone"),
        "local_steps": ("absorbed", "local-steps absorbed: needs --reset none"),
        "merge_rule": ("ties", "merge-rule: belongs to --method lte.*; leave it out, or choose that"),
    }.items():
        with pytest.raises(BadInput, match=f"^{refusal[1]}$"):
            tiny.config(method="flora-stacked", **{setting: refusal[0]})


def test_wire_guard_codes_and_stacked_steps_go_with_it():
    both = dict(wire="bfloat16", bad_heads="clip", quant="int8", head_ranks=(1, 3))
    for settings in (both, dict(local_steps="stacked"), dict(topology="auto")):
        ours, theirs = (
            tiny.session(method=method, **more, **settings)
            for method, more in (("flora-stacked", {}), ("lte", dict(reset="ab", reset_optimizer=True)))
        )
        ends = [list(advance(one, first_state(one)))[-1][1].main for one in (ours, theirs)]
        weights = [tree.leaves(one.built.method.weights(main)) for one, main in zip((ours, theirs), ends)]
        assert all(map(np.array_equal, *weights)), settings
