"""The shared basis against its definition, written out: every head trains its own full matrices; and what must hold of it."""

import numpy as np
import pytest
from rewritten import rewritten
from support import STEPS, as_lists, assert_same, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.around.guarded import guarded
from minilte.comm.meetings import one_by_one
from minilte.core import optim, tree
from minilte.core.random import stream
from minilte.laws import oracle
from minilte.methods import on_bases
from minilte.methods import shared_basis as module
from minilte.methods.bases import Bases, Basis
from minilte.methods.on_bases import shared_basis
from minilte.optimizers.orthonormal import orthonormal
from minilte.optimizers.polar import exact
from minilte.steps.adamw import adamw

W = [0.5, 0.2, 0.3]
RANKS = {"layer1": 3, "layer2": 2}  # of 6 x 5 and 4 x 6; layer3, of 3 x 4, is a replica
BETA, LR, REST = 0.9, 0.05, 0.1
KINDS = {
    "orthonormal": (orthonormal(BETA, exact), {}),
    "sgd": (optim.sgd(BETA, nesterov=True), {}),
    "adamw": (optim.adamw(), dict(averaged=False)),
}


def polar(X):
    """U V^T over the singular values that are not zero."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    keep = s > 1e-12 * max(s.max(), 1e-300)
    return U[:, keep] @ Vt[keep]


def bases(basis, period):
    """Q of each layer, from its definition."""
    shapes = {"layer1": (6, 5), "layer2": (4, 6)}
    drawn = {}
    for number, (name, (m, n)) in enumerate(shapes.items()):
        long = n if on_the_right(basis, period) else m
        normal = stream(basis.seed, "basis", number, period).standard_normal((long, basis.ranks[name]))
        drawn[number] = np.linalg.qr(normal)[0].T
    return drawn


def on_the_right(basis, period):
    return {"b": True, "a": False, "alternating": period % 2 == 0}[basis.side]


def added(kind, said, carry):
    """By layer, the sum of what each head says."""
    return [sum(parts) for parts in zip(*said)]


def dense(task, w, basis, kind, rest, decay=0.0, averaged=True, moved=False, rate=1.0, momentum=0.0, added=added):
    """The weights after every merge, as lists of (W, c). A head's own matrices and gradients are m x n throughout.

    `added` sums what heads say of their factors, or of momentum; carry(X, layer) is X in the basis of the next round.
    """
    theta = [[np.copy(array) for array in layer] for layer in as_lists(task.weights)]
    memory = [{} for _ in w]  # of the replicas
    state = [{} for _ in w]  # of the factors: for the steps of a head, G-like matrices of m x n in place of momentum
    buf, begun = [[0.0, 0.0] for _ in theta], 0
    own = [[[np.copy(array) for array in layer] for layer in theta] for _ in w]
    for t in range(STEPS):
        period = t // basis.every // basis.keep
        Q = bases(basis, period)
        project = lambda i, G: G @ Q[i].T if on_the_right(basis, period) else Q[i] @ G  # noqa: E731
        back = lambda i, X: X @ Q[i] if on_the_right(basis, period) else Q[i].T @ X  # noqa: E731
        for n, weights in enumerate(own):
            _, grads = oracle.gradients(weights, "tanh", *task.batch(n, t))
            for i in (0, 1):
                weights[i][0] = weights[i][0] - back(
                    i, moved_by(kind, state[n], i, project(i, grads[i][0]), task.rate(t))
                )
            params = {(0, 1): weights[0][1], (1, 1): weights[1][1], (2, 0): weights[2][0], (2, 1): weights[2][1]}
            oracle.move(params, {(i, k): grads[i][k] for i, k in params}, memory[n], task.rate(t) * REST, rest)
        if (t + 1) % basis.every and t + 1 < STEPS:
            continue
        gone = decay * sum(task.rate(k) for k in range(begun, t + 1))
        begun = t + 1
        new = begun // basis.every // basis.keep
        after = bases(basis, new)

        def carry(X, i):
            """Factors of this round in the basis of the next."""
            whole = X @ Q[i] if on_the_right(basis, period) else Q[i].T @ X
            return whole @ after[i].T if on_the_right(basis, new) else after[i] @ whole

        steps = [[w[n] * project(i, own[n][i][0] - theta[i][0]) for i in (0, 1)] for n in range(len(w))]
        change = added("factors", steps, carry if new != period else None)
        for i in range(3):
            for k in (0, 1):
                if i < 2 and k == 0:
                    goal = (1 - gone) * theta[i][k] + back(i, change[i])
                else:
                    goal = (1 - gone * REST * (k == 0)) * sum(w[n] * own[n][i][k] for n in range(len(w)))
                d = theta[i][k] - goal
                buf[i][k] = momentum * buf[i][k] + d
                theta[i][k] = theta[i][k] - rate * (d + momentum * buf[i][k])
                for weights in own:
                    weights[i][k] = np.copy(theta[i][k])
        if averaged:
            mean = added("momentum", [[w[n] * state[n][i]["M"] for i in (0, 1)] for n in range(len(w))], None)
            for one in state:
                for i in (0, 1):
                    one[i]["M"] = mean[i]
        if new != period:
            for one in state:
                for i in (0, 1):
                    one[i] = {"M": carry(one[i]["M"], i)} if moved else {}
        yield [tuple(map(np.copy, layer)) for layer in theta]


def moved_by(kind, state, i, g, lr):
    """What a factor is lessened by, and the new state."""
    old = state.setdefault(i, {})
    if kind == "adamw":
        t = old["t"] = old.get("t", 0) + 1
        old["m"], old["v"] = 0.9 * old.get("m", 0) + 0.1 * g, 0.999 * old.get("v", 0) + 0.001 * g**2
        return lr * (old["m"] / (1 - 0.9**t)) / (np.sqrt(old["v"] / (1 - 0.999**t)) + 1e-8)
    old["M"] = BETA * old.get("M", 0) + g
    X = g + BETA * old["M"]
    return lr * (polar(X) if kind == "orthonormal" else X)


def method(task, kind, basis, remainder=False, **changes):
    steps, fixed = KINDS[kind]
    bases, more = Bases(basis, task.weights), fixed | changes
    made = shared_basis(task, W, bases, steps, REST, **more)
    return made._replace(facts=module.facts(task, W, bases, steps, more.get("averaged", True), remainder))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every, keep", [(1, 1), (3, 2), (10, 3), (7, 100)])
@pytest.mark.parametrize("side", ["a", "b", "alternating"])
def test_it_follows_the_dense_method(side, every, keep, kind):
    task, _ = make_task(optim.adamw(), LR)
    basis = Basis(RANKS, every, keep, side, 7)
    _, fixed = KINDS[kind]
    reference = dense(task, W, basis, kind, oracle.Settings(task.rate, optimizer="adamw"), **fixed)
    assert_same(trajectory(method(task, kind, basis), 3), list(reference))


@pytest.mark.parametrize("changes", [
    dict(decay=0.3),
    dict(averaged=False),
    dict(moved=True),
    dict(moved=True, averaged=False, decay=0.1),
    dict(rate=0.7, momentum=0.5),
    dict(rate=0.5, decay=0.2, moved=True),
])  # fmt: skip
@pytest.mark.parametrize("side", ["a", "b", "alternating"])
@pytest.mark.parametrize("kind", ["orthonormal", "sgd"])
def test_it_follows_the_dense_method_with_every_setting(kind, side, changes):
    task, _ = make_task(optim.sgd(0.5), LR)
    basis = Basis(RANKS, 3, 2, side, 7)
    outer = dict(outer_rate=changes.get("rate", 1.0), outer_momentum=changes.get("momentum", 0.0))
    mine = {name: value for name, value in changes.items() if name not in ("rate", "momentum")} | outer
    reference = dense(task, W, basis, kind, oracle.Settings(task.rate, momentum=0.5), **changes)
    assert_same(trajectory(method(task, kind, basis, **mine), 3), list(reference))


@pytest.mark.parametrize("changes", [{}, dict(averaged=False), dict(moved=True, decay=0.1), dict(outer_momentum=0.5)])
@pytest.mark.parametrize("side", ["a", "b", "alternating"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(side, changes):
    task, _ = make_task(adamw(), LR)
    assert_the_same_anywhere(method(task, "orthonormal", Basis(RANKS, 4, 2, side, 7), **changes), 3, 22)


# ---------------------------------------------------------------- heads that go wrong


def round_of(made, heads=3):
    """The main state, what every head says after its first round, and the step."""
    main, workers = made.begin(), [made.enter(n) for n in range(heads)]
    return main, [made.tell(made.local(main, worker, 0, made.every)) for worker in workers], made.every


@pytest.mark.parametrize("side", ["a", "b", "alternating"])
@pytest.mark.parametrize("changes", [{}, dict(averaged=False), dict(decay=0.3)])
def test_a_head_that_is_not_finite_counts_as_if_it_had_taken_no_step(side, changes):
    task, _ = make_task(optim.adamw(), LR)
    made = one_by_one(method(task, "orthonormal", Basis(RANKS, 4, 2, side, 7), **changes))
    main, said, step = round_of(made)
    bad = tree.map(lambda leaf: np.full_like(leaf, np.nan), said[1])
    safe = guarded(made, 3, clip=False)
    merged = safe.merge(safe.begin(), [said[0], bad, said[2]], step, map)
    expected = made.merge(main, [said[0], made.facts.still(main, 1, said[1]), said[2]], step, map)
    assert merged.trust.tolist() == [1, 0, 1]
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(merged.main), tree.leaves(expected), strict=True))
    for name, layer in expected.weights.items():
        unmoved = sum(w for n, w in enumerate(W) if n != 1)
        assert np.isfinite(layer.W).all() and 0 < unmoved < 1


@pytest.mark.parametrize("averaged", [True, False])
def test_a_head_that_took_no_step_is_at_no_distance_and_one_that_went_far_is_clipped_to_the_limit(averaged):
    task, _ = make_task(optim.adamw(), LR)
    basis = Basis(RANKS, 4, 2, "b", 7)
    made = one_by_one(method(task, "orthonormal", basis, averaged=averaged))
    main, said, step = round_of(made)
    assert made.facts.distance(main, 1, made.facts.still(main, 1, said[1])) == 0
    sizes = [made.facts.distance(main, n, words) for n, words in enumerate(said)]
    kind = "momentum" if averaged else "factors"  # the average momentum is still zero
    for n, words in enumerate(said):
        moves = Bases(basis, task.weights).product(words[kind], 0)
        assert sizes[n] == pytest.approx(np.sqrt(sum(np.sum(D**2) for D in moves.values())) / W[n])
    far = said[1] | {kind: {name: 100 * each for name, each in said[1][kind].items()}}
    safe = guarded(made, 3, clip=True)
    merged = safe.merge(safe.begin(), [said[0], far, said[2]], step, map)
    assert merged.trust[1] * 100 * sizes[1] == pytest.approx(
        3 * sorted([sizes[0], sizes[2], 100 * sizes[1]])[1], rel=1e-6
    )


@pytest.mark.parametrize("averaged", [True, False])
def test_a_head_that_was_left_out_goes_on_with_fresh_optimizers(averaged):
    task, _ = make_task(optim.adamw(), LR)
    made = method(task, "orthonormal", Basis(RANKS, 4, 2, "b", 7), averaged=averaged)
    main, head = made.begin(), made.local(made.begin(), made.enter(1), 0, 4)
    again = made.hear(main, made.facts.recover(main, head, 0.0, 4), 4)
    assert int(again.opt.count) == 0 and again.factors is None
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(again.replica), tree.leaves(made.enter(1).replica)))
    assert again.state is None if averaged else not any(leaf.any() for leaf in tree.leaves(again.state))


def test_what_is_heard_one_by_one_is_the_sum_to_the_bit():
    task, _ = make_task(adamw(), LR)
    made = method(task, "orthonormal", Basis(RANKS, 4, 2, "a", 7), decay=0.1)
    plain, each = trajectory(made, 3), trajectory(one_by_one(made), 3)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(plain), tree.leaves(each), strict=True))


# ---------------------------------------------------------------- planted bugs

WRONG = {  # of the method's own text
    "a basis by head": ("bases.draw(period), bases", "bases.draw(period + head.index), bases"),
    "a stale period": ("period = basis.period(start)\n        Q", "period = 0\n        Q"),
    "a period that begins a merge late": ("basis.period(step - 1)).items()", "basis.period(max(0, step - 1 - basis.every))).items()"),
    "momentum that is not reset": ("if new != old:", "if False:"),
    "momentum that is always reset": ("if new != old:", "if True:"),
    "momentum that is not averaged": ('kept(said["momentum"], step)', "bases.at_rest(main.momentum)"),
    "decay twice": ("gone = decay *", "gone = 2 * decay *"),
    "decay since the start": ("range(int(main.step), step)", "range(step)"),
    "decay of replicas at the rate of factors": ("else rest_rate)", "else 1)"),
    "no decay of replicas": ("else rest_rate)", "else 0)"),
    "decay after the change": ("W=weights[name].W + change", "W=(1 - gone) * (weights[name].W + change)"),
    "a product of means over heads": ("W=weights[name].W + change", "W=weights[name].W + change / len(w)"),
    "replicas at the rate of factors": ("lr * rest_rate)", "lr)"),
    "replicas that are not averaged": ('overlay(main.weights, said["replicas"])', "dict(main.weights)"),
    "an outer step without its momentum": ("optim.sgd(outer_momentum, nesterov=True)", "optim.sgd(0.0)"),
    "an outer step with plain momentum": ("optim.sgd(outer_momentum, nesterov=True)", "optim.sgd(outer_momentum)"),
}  # fmt: skip
SETTINGS = [dict(decay=0.3), dict(moved=True, decay=0.1), dict(outer_rate=0.7, outer_momentum=0.5)]


def follows(made):
    """Does a shared_basis follow the dense method under every setting?"""
    task, _ = make_task(optim.sgd(0.5), LR)
    basis = Basis(RANKS, 3, 2, "b", 7)
    for changes in SETTINGS:
        names = {"outer_rate": "rate", "outer_momentum": "momentum"}
        reference = dense(task, W, basis, "orthonormal", oracle.Settings(task.rate, momentum=0.5),
                          **{names.get(name, name): value for name, value in changes.items()})  # fmt: skip
        mine = made(task, W, Bases(basis, task.weights), orthonormal(BETA, exact), REST, **changes)
        got = trajectory(mine, 3)
        if any(
            not np.allclose(a, b, rtol=0, atol=1e-9)
            for layers in zip(got, reference)
            for ab in zip(*layers)
            for a, b in zip(*ab)
        ):
            return False
    return True


@pytest.mark.parametrize("name", WRONG)
def test_a_bug_in_the_text_of_the_method_leaves_the_dense_path(name):
    planted = rewritten(on_bases, *WRONG[name])
    assert follows(shared_basis) and not follows(planted["shared_basis"])


@pytest.mark.parametrize("wrong", [lambda g, M: g, lambda g, M: M, lambda g, M: exact(g), lambda g, M: exact(M)])
def test_steps_that_are_not_the_polar_factor_of_nesterovs_momentum_leave_the_dense_path(wrong, monkeypatch):
    def steps(beta, polar):
        def update(params, grads, state, lr):
            buf = tree.map(lambda M, g: beta * M + g, state.buf, grads)
            return tree.map(lambda X, M, g: X - lr * wrong(g, M), params, buf, grads), optim.SGDState(buf)

        return optim.Optimizer(lambda params: optim.SGDState(tree.zeros(params)), update)

    monkeypatch.setitem(globals(), "orthonormal", steps)
    assert not follows(shared_basis)


def test_the_callers_weights_stay():
    task, _ = make_task(adamw(), LR)
    before = tree.map(np.copy, task.weights)
    trajectory(method(task, "orthonormal", Basis(RANKS, 3, 2, "a", 7), decay=0.1), 3)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(task.weights), tree.leaves(before), strict=True))
