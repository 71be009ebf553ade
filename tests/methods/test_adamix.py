"""AdaMix against its definition, written out: a pool of dense pairs, of which every step draws an A and a B a layer."""

import itertools
import math

import numpy as np
import pytest
import tiny
from support import OPTIMIZERS, SEED, STEPS, as_lists, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere, total, trained

from minilte.comm.meetings import EVERYONE, MASTER
from minilte.core import lora, optim, tree
from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Linear
from minilte.job.export import one_lora
from minilte.laws import oracle
from minilte.methods.adamix import adamix
from minilte.methods.mhlora import lora as lora_alone
from minilte.optimizers.muon import muon
from minilte.run.build import build
from minilte.steps.adamw import adamw

POOL = [2, 2, 2, 2]  # the ranks of its members
LAYERS = ("layer1", "layer2", "layer3")


def pool_of(optimizer, lr=0.01, ranks=POOL, replicas="average", heads=3, **more):
    """(task, plan, method) of a pool with these ranks."""
    task, _ = make_task(optimizer, lr, heads=heads, **more)
    plan = make_plan(task, ranks)
    return task, plan, adamix(task, plan, SEED, replicas)


def after(method, steps, heads=3):
    """The main state after so many steps."""
    main = method.begin()
    for step in range(steps):
        said = [method.tell(method.local(main, method.enter(n), step, step + 1)) for n in range(heads)]
        main = method.merge(main, tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *said), step + 1, map)
    return main


def dense(task, plan, whole, settings):
    """W + s mean(B) mean(A) and c of every layer after every step; A[k][i], B[k][i] are those of member k in layer i."""
    layers, pool = range(len(task.weights)), range(len(plan.ranks))
    base, c = [np.copy(W) for W, _ in as_lists(task.weights)], [np.copy(c) for _, c in as_lists(task.weights)]
    A = [[np.copy(pair.A) for pair in plan.draw(k, 0).values()] for k in pool]
    B = [[np.copy(pair.B) for pair in plan.draw(k, 0).values()] for k in pool]
    s, memory = list(plan.scales[0].values()), {}
    for t in range(STEPS):
        drawn = stream(SEED, "adamix", t).integers(len(pool), size=(len(layers), 2))
        own = [(base[i] + s[i] * B[k][i] @ A[j][i], c[i]) for i, (j, k) in enumerate(drawn)]
        _, grads = oracle.gradients(own, "tanh", *whole(t))
        params, of = {}, {}
        for i, (j, k) in enumerate(drawn):
            G = grads[i][0]
            params |= {(i, "A", j): A[j][i], (i, "B", k): B[k][i]}
            of |= {(i, "A", j): s[i] * B[k][i].T @ G, (i, "B", k): s[i] * G @ A[j][i].T}
            if settings.replicas == "average":
                params[i, "c"], of[i, "c"] = c[i], grads[i][1]
        oracle.move(params, of, memory, task.rate(t), settings)  # what is not in `params` stays, and its memory too
        mean = lambda of, i: sum(of[k][i] for k in pool) / len(pool)  # noqa: E731
        yield [(base[i] + s[i] * mean(B, i) @ mean(A, i), np.copy(c[i])) for i in layers]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("replicas", "clip"), [("average", None), ("frozen", None), ("average", 0.1)])
def test_it_follows_the_dense_method(replicas, clip, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, whole = make_task(optimizer, lr, clip=clip)
    plan = make_plan(task, POOL)
    settings = oracle.Settings(task.rate, replicas=replicas, clip=clip or math.inf, **extra)
    assert_same(trajectory(adamix(task, plan, SEED, replicas), 3), list(dense(task, plan, whole, settings)))


@pytest.mark.parametrize("replicas", ["average", "frozen"])
@pytest.mark.parametrize("optimizer", [optim.sgd(0.9, True, 0.01), adamw(weight_decay=0.1), muon(last="layer3")])
def test_a_pool_of_one_adapter_is_lora_to_the_bit(optimizer, replicas):
    task, plan, alone = pool_of(optimizer, ranks=[2], replicas=replicas, clip=0.1)
    expected = trajectory(lora_alone(task, plan, replicas), 3)
    assert all(map(np.array_equal, tree.leaves(trajectory(alone, 3)), tree.leaves(expected)))


def test_the_number_of_workers_does_not_change_it():  # law L11
    ends = [trajectory(pool_of(optim.adamw(), heads=n)[-1], n)[-1] for n in (1, 2, 8)]
    for end in ends[1:]:
        assert_same([end], ends[:1])


@pytest.mark.parametrize("replicas", ["average", "frozen"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(replicas):
    assert_the_same_anywhere(pool_of(adamw(weight_decay=0.1), replicas=replicas)[-1], 3, 8)


@pytest.mark.parametrize("meeting", [EVERYONE, MASTER])
def test_the_gradient_of_a_single_adapter_travels_whatever_the_pool(meeting):
    task, plan, method = pool_of(adamw())
    numbers = tree.size(plan.shape(0)) + sum(len(layer.c) for layer in task.weights.values())  # M_lte + R
    first = (meeting is MASTER) * 2 * 8 * numbers  # the first pair goes down before the first step
    sent = total([sent for _, sent in trained(method, meeting, 3, 3, 5)])
    assert sum(sent.values()) - first == 5 * 2 * (3 - 1) * 8 * numbers


# ---------------------------------------------------------------- what averaging stands for


def test_in_each_layer_the_weights_are_the_mean_over_independent_draws_and_not_over_pairs():
    task, plan, method = pool_of(optim.sgd(), 0.5)
    main = after(method, 40)
    (members, _), weights = main.trained, method.weights(main)
    for name, layer in weights.items():
        s, A, B = plan.scales[0][name], [one[name].A for one in members], [one[name].B for one in members]
        apart = sum(task.weights[name].W + s * B_i @ A_j for B_i, A_j in itertools.product(B, A)) / 16
        paired = sum(task.weights[name].W + s * B_i @ A_i for B_i, A_i in zip(B, A)) / 4
        np.testing.assert_allclose(layer.W, apart, atol=1e-14)  # rounding
        assert abs(layer.W - paired).max() > 1e-3


def test_the_mean_over_draws_is_what_a_single_layer_computes_and_not_what_a_deep_network_does():
    _, plan, method = pool_of(optim.sgd(), 0.5, ranks=[2, 2])
    main, x = after(method, 40), stream(SEED, "check", 2).standard_normal((8, 5))
    members, replica = main.trained
    base = method.begin()
    choices = {
        name: [
            method.weights(base)[name].W + plan.scales[0][name] * one[name].B @ other[name].A
            for one, other in itertools.product(members, members)
        ]
        for name in LAYERS
    }

    def outputs(matrices):
        y = x
        for name, W in zip(LAYERS, matrices):
            y = np.tanh(y @ W.T + replica[name].c)
        return y

    first = np.mean([x @ W.T for W in choices["layer1"]], axis=0)
    averaged = [method.weights(main)[name].W for name in LAYERS]
    np.testing.assert_allclose(first, x @ averaged[0].T, atol=1e-13)  # rounding
    deep = np.mean([outputs(matrices) for matrices in itertools.product(*choices.values())], axis=0)
    assert abs(deep - outputs(averaged)).max() > 1e-3


def test_draws_are_uniform_and_independent_of_A_and_B_and_of_layers():
    _, _, method = pool_of(optim.sgd(), ranks=[2, 2, 2])
    main, draws = method.begin(), 3000
    members, _ = main.trained
    where = {id(factor): k for k, member in enumerate(members) for pair in member.values() for factor in pair}
    seen = np.zeros((draws, 6), int)
    for step in range(draws):
        (pair,), _ = method.show(main, step)["weights"]
        seen[step] = [where[id(factor)] for name in LAYERS for factor in pair[name]]
    for one, other in itertools.combinations(range(6), 2):
        counts = np.zeros((3, 3))
        np.add.at(counts, (seen[:, one], seen[:, other]), 1)
        assert abs(counts / draws - 1 / 9).max() < 5 * math.sqrt(1 / 9 * 8 / 9 / draws)  # five deviations
    assert abs(np.mean(seen[1:] == seen[:-1]) - 1 / 3) < 5 * math.sqrt(2 / 9 / seen.size)  # from step to step, too


# ---------------------------------------------------------------- who moves


def test_what_was_not_drawn_stays_without_decay_and_counts_no_step():
    _, _, method = pool_of(optim.adamw(weight_decay=0.5))
    main, drawn = method.begin(), {}
    for step in range(1, 13):
        (pair,), _ = method.show(main, step - 1)["weights"]
        said = method.tell(method.local(main, method.enter(0), step - 1, step))
        new = method.merge(main, said, step, map)
        for k, member in enumerate(main.trained[0]):
            for name, both in member.items():
                for letter, factor in both._asdict().items():
                    moved = getattr(pair[name], letter) is factor
                    drawn[k, name, letter] = drawn.get((k, name, letter), 0) + moved
                    assert (getattr(new.trained[0][k][name], letter) is factor) is not moved
                    assert int(getattr(new.opt[0][k][name], letter).count) == drawn[k, name, letter]
        assert int(new.opt[1].count) == step  # biases move at every step
        main = new
    assert sum(drawn.values()) == 12 * 6 and 0 < max(drawn.values()) < 12


def test_all_begin_with_B_at_zero_and_an_A_of_their_own():
    task, plan, method = pool_of(optim.sgd())
    (members, _), weights = method.begin().trained, method.weights(method.begin())
    for name, layer in task.weights.items():
        assert np.array_equal(weights[name].W, layer.W)
        assert not any(member[name].B.any() for member in members)
        assert all(np.array_equal(member[name].A, plan.draw(k, 0)[name].A) for k, member in enumerate(members))
        assert not np.array_equal(members[0][name].A, members[3][name].A)


def test_the_mean_of_own_A_is_smaller_than_each_by_the_root_of_the_pool_and_that_of_a_common_A_is_not():
    wide = {"layer1": Linear(np.zeros((8, 400)), None)}
    for head_init, expected in (("own", 1 / 3), ("same", 1.0)):
        plan = lora.plan(wide, [{"layer1": 4}] * 9, 4.0, seed=SEED, head_init=head_init)
        task = make_task(optim.sgd(), 0.1)[0]._replace(weights=wide)
        method = adamix(task, plan, SEED)
        ((mean,), _, _) = method.facts.one_lora(method.begin(), ())
        sizes = [np.linalg.norm(member["layer1"].A) for member in method.begin().trained[0]]
        np.testing.assert_allclose(np.linalg.norm(mean["layer1"].A) / sizes, expected, rtol=0.1)  # 1 / sqrt(n r)


def test_nothing_that_was_passed_in_is_changed():
    task, _, method = pool_of(adamw(weight_decay=0.1))
    main = after(method, 3)
    before = tree.map(np.copy, (task.weights, main))
    method.merge(main, method.tell(method.local(main, method.enter(0), 3, 4)), 4, map)
    assert all(map(np.array_equal, tree.leaves((task.weights, main)), tree.leaves(before)))


# ---------------------------------------------------------------- what others may ask


def test_the_change_is_one_lora_of_rank_r_whatever_the_pool():  # law L2
    task, plan, method = pool_of(optim.adamw(), 0.05)
    main = after(method, 40)
    assert method.facts.bound == dict.fromkeys(LAYERS, 2)
    adapters = one_lora(*method.facts.one_lora(main, ()))
    for name, layer in method.weights(main).items():
        change = layer.W - task.weights[name].W
        assert np.linalg.matrix_rank(change, tol=1e-10) == 2 == len(adapters[name].pair.A)
        np.testing.assert_allclose(change, plan.scales[0][name] * lora.product(adapters[name].pair), atol=1e-14)
        assert adapters[name].alpha == 2.0


def test_a_worker_under_a_master_holds_a_single_adapter():
    task, _, method = pool_of(adamw())
    main = method.begin()
    everyone, worker = (method.facts.held(main, method.enter(0), all_heads) for all_heads in (True, False))
    view = method.view(method.show(main, 0), None, None)
    assert tree.size(worker["adapters"][0]) * 4 == tree.size(everyone["adapters"][0])
    assert everyone["optimizer"] is main.opt and worker["optimizer"] is view.opt is None
    assert everyone["weights"] is task.weights and tree.size(everyone["gradients"]) == tree.size(worker["adapters"])


def test_settings_have_one_rank_and_the_pool_need_not_be_the_number_of_heads():
    with pytest.raises(BadInput, match="^method adamix: needs one rank for all heads: --head-ranks of equal numbers"):
        tiny.config(method="adamix", head_ranks=(1, 2))
    with pytest.raises(BadInput, match="pool: expected a whole number of at least 1, got 0"):
        tiny.config(method="adamix", pool=0)
    with pytest.raises(BadInput, match="pool: belongs to --method adamix; leave it out, or choose that"):
        tiny.config(pool=3)
    for ranks, rank in (((3, 3), 3), ((), 2)):
        for pool in (1, 5):
            method = build(tiny.config(method="adamix", head_ranks=ranks, pool=pool)).method
            members, _ = method.begin().trained
            assert [len(member["layer1"].A) for member in members] == [rank] * pool


def test_a_member_that_cannot_move_is_refused():
    task, plan, _ = pool_of(optim.sgd())
    dead = plan._replace(draw=lambda k, step: tree.zeros(plan.draw(k, step)) if k == 2 else plan.draw(k, step))
    with pytest.raises(BadInput, match="both zero"):
        adamix(task, dead)


def test_a_draw_is_keyed_by_seed_purpose_and_step_alone():  # so a run that goes on draws what it would have drawn
    task, plan, method = pool_of(optim.sgd())
    main = method.begin()
    numbers = tuple(tree.map(lambda _, k=k: k, member) for k, member in enumerate(main.trained[0]))
    main = main._replace(trained=(numbers, main.trained[1]))  # the number of its member in the place of every factor
    for seed in (SEED, 0):
        for step in (0, 7, 10**9):
            (pair,), _ = adamix(task, plan, seed).show(main, step)["weights"]
            expected = stream(seed, "adamix", step).integers(4, size=(3, 2)).tolist()
            assert [[pair[name].A, pair[name].B] for name in LAYERS] == expected
