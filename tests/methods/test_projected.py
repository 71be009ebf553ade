"""GaLore and Flora against their definitions, written out with matrices; what they say, and what they refuse."""

import math

import numpy as np
import pytest
import tiny
from support import OPTIMIZERS, SEED, STEPS, as_lists, assert_same, make_task, trajectory
from traffic import assert_the_same_anywhere, total, trained

from minilte.comm.meetings import EVERYONE, MASTER
from minilte.core import optim, tree
from minilte.core.errors import BadInput, Diverged
from minilte.core.random import stream
from minilte.laws import oracle
from minilte.methods.flora_projected import flora
from minilte.methods.galore import galore
from minilte.run.build import build
from minilte.run.session import advance, first_state
from minilte.settings.config import Config
from minilte.steps.adamw import adamw

R = {"layer1": 2, "layer2": 2, "layer3": 2}  # matrices of 6 x 5, 4 x 6, 3 x 4: from the right, the left, the left


def singular(G, r, i, period):
    """The top directions of the smaller side of G, the largest entry of each positive."""
    U, _, V = np.linalg.svd(G)
    columns = U.T if G.shape[0] < G.shape[1] else V
    return np.array([v * np.sign(v[np.argmax(abs(v))]) for v in columns[:r]]).T


def drawn(G, r, i, period):
    """N(0, 1/r), from the seed."""
    return stream(SEED, "flora", i, period).standard_normal((min(G.shape), r)) / math.sqrt(r)


def kept(old, turn, left, betas):
    """No memory moves."""


def first_moments(old, turn, left, betas):
    """M A_old A_new^T, v as it is."""
    for kind in ("m", "buf"):
        if kind in old:
            old[kind] = turn.T @ old[kind] if left else old[kind] @ turn


def ldadam(old, turn, left, betas):
    """Every entry of the new moments as a sum over the old directions."""
    if "m" in old:
        (b1, b2), t = betas, old["t"]
        m, v = (old[kind].T if left else old[kind] for kind in ("m", "v"))  # directions are columns
        mean, new = m / (1 - b1**t), np.empty_like(v)
        for row in range(len(m)):
            for k in range(turn.shape[1]):
                spread = sum(
                    turn[j, k] ** 2 * (v[row, j] / (1 - b2**t) - mean[row, j] ** 2) for j in range(len(turn))
                )
                new[row, k] = (1 - b2**t) * abs(
                    spread + sum(turn[j, k] * mean[row, j] for j in range(len(turn))) ** 2
                )
        old["v"] = new.T if left else new
    first_moments(old, turn, left, betas)


def dense(task, whole, every, settings, directions, moved=kept, scale=1.0, ranks=R):
    """W and c of every layer after every step, on the gradient of the whole batch."""
    theta, memory, P = [(np.copy(W), np.copy(c)) for W, c in as_lists(task.weights)], {}, {}
    r = [ranks.get(name, 0) for name in task.weights]
    for t in range(STEPS):
        _, grads = oracle.gradients(theta, "tanh", *whole(t))
        params, of = {}, {}
        for i, (G, dc) in enumerate(grads):
            params[i, "W"], of[i, "W"], params[i, "c"], of[i, "c"] = theta[i][0], G, theta[i][1], dc
            if not r[i]:
                continue
            left = G.shape[0] < G.shape[1]
            if t % every == 0:
                new = directions(G, r[i], i, t // every)
                if t:
                    moved(memory[i, "W"], P[i].T @ new, left, settings.betas)
                P[i] = new
            of[i, "W"] = P[i].T @ G if left else G @ P[i]
            params[i, "W"] = np.zeros_like(of[i, "W"])
        oracle.move(params, of, memory, task.rate(t), settings)
        for i, (W, c) in enumerate(theta):
            if r[i]:
                step = P[i] @ params[i, "W"] if W.shape[0] < W.shape[1] else params[i, "W"] @ P[i].T
                theta[i] = ((1 - task.rate(t) * settings.decay) * W + scale * step, c)
        yield [(np.copy(W), np.copy(c)) for W, c in theta]


def both(task, every, decay=0.0, ranks=R):
    """name -> (method, directions, how moments move, scale)."""
    return {
        "galore": (galore(task, ranks, every, 0.25, decay), singular, kept, 0.25),
        "ldadam": (galore(task, ranks, every, 0.7, decay, move=True), singular, ldadam, 0.7),
        "flora": (flora(task, ranks, every, SEED, decay), drawn, first_moments, 1.0),
    }


METHODS = ["galore", "ldadam", "flora"]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10, 200])
@pytest.mark.parametrize("method", METHODS)
def test_it_follows_the_dense_method(method, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, whole = make_task(optimizer, lr)
    made, *reference = both(task, every, extra.get("decay", 0.0))[method]
    settings = oracle.Settings(task.rate, **extra)
    assert_same(trajectory(made, 3), list(dense(task, whole, every, settings, *reference)))


@pytest.mark.parametrize("method", METHODS)
def test_layers_that_are_not_projected_are_the_optimizers_and_clipping_is_of_what_it_sees(method):
    task, whole = make_task(optim.sgd(0.5), 0.05, clip=0.05, loss="squared-error")
    ranks = {"layer3": 1, "layer2": 3}
    made, *reference = both(task, 4, ranks=ranks)[method]
    settings = oracle.Settings(task.rate, momentum=0.5, clip=0.05)
    assert_same(trajectory(made, 3), list(dense(task, whole, 4, settings, *reference, ranks=ranks)))


@pytest.mark.parametrize("method", METHODS)
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(method):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(both(task, 4, 0.1)[method][0], 3, 10)


@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_workers_does_not_change_it(method):  # law L11
    ends = [trajectory(both(make_task(optim.adamw(), 0.01, heads=n)[0], 4)[method][0], n)[-1] for n in (1, 2, 3, 8)]
    for end in ends[1:]:
        assert_same([end], ends[:1])


@pytest.mark.parametrize("method", METHODS)
def test_what_travels_is_R_and_for_singular_vectors_the_whole_gradient_now_and_then(method):
    task, _ = make_task(adamw(), 0.01)
    made, N, steps, every = both(task, 4)[method][0], 3, 10, 4
    inside, P, rest = (2 * 6 + 2 * 6 + 2 * 4), 2 * (5 + 4 + 3), 6 + 4 + 3  # r max(m, n), r min(m, n), biases
    whole = tree.size(task.weights)
    said = sum(whole if method != "flora" and t % every == 0 else inside + rest for t in range(steps))
    sent = total([one for _, one in trained(made, EVERYONE, N, N, steps)])
    assert sent == {"gradients": 8 * 2 * (N - 1) * said}
    sent = total([one for _, one in trained(made, MASTER, N, N, steps)])
    down = 8 * (N - 1) * (steps + 1)  # with a first view
    projections = {} if method == "flora" else {"projections": down * P}
    assert sent == {"gradients": 8 * (N - 1) * said, "weights": down * whole} | projections


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_holds_the_weights_and_the_master_the_optimizer_in_few_directions(method):
    task, _ = make_task(adamw(), 0.01)
    made = both(task, 4)[method][0]
    main, M = made.begin(), tree.nbytes(task.weights)
    sizes = [
        {kind: tree.nbytes(held) for kind, held in made.facts.held(main, made.enter(0), everyone).items()}
        for everyone in (True, False)
    ]
    P, moments = 8 * 2 * (5 + 4 + 3) * (method != "flora"), 2 * 8 * (2 * (6 + 6 + 4) + 6 + 4 + 3) + 8
    assert sizes[0] == {"weights": M, "gradients": M, "optimizer": P + moments}
    assert sizes[1] == {"weights": M, "gradients": M, "optimizer": P}
    view = made.view(made.show(main, 0), main, None)
    assert view.trained is main.trained and view.opt.bases is main.opt.bases and view.opt.state is None
    assert made.facts.bound == {}  # every new basis brings directions


@pytest.mark.parametrize("method", METHODS)
def test_the_callers_weights_stay(method):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    before = tree.map(np.copy, task.weights)
    trajectory(both(task, 3, 0.1)[method][0], 3)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(task.weights), tree.leaves(before), strict=True))


def end_of(**changes):
    """The first matrix at the end of a tiny run."""
    session = tiny.session(**changes)
    *_, (_, state) = advance(session, first_state(session))
    return session.built.method.weights(state.main)["layer1"].W


@pytest.mark.parametrize("name", ["galore", "flora-projected"])
def test_settings_say_layers_and_directions(name):
    made = build(tiny.config(method=name, model="mlp", widths=(5,), project_rank=3, project_layers=("layer2",)))
    said = made.method.like(0, made.method.begin(), 2)["gradients"]
    assert said["layer1"].W.shape == (5, 6) and said["layer2"].W.shape == (3, 5) and said["layer2"].c.shape == (4,)
    with pytest.raises(
        BadInput, match=r"rank: expected 1 to 4 \(the largest min\(m, n\) of the adapted layers\), got 5"
    ):
        build(tiny.config(method=name, project_rank=5))
    with pytest.raises(BadInput, match="no dense layer is called 'layer7'"):
        build(tiny.config(method=name, project_rank=2, project_layers=("layer7",)))
    for setting in ("rank", "alpha", "merge_every", "galore_scale" if name != "galore" else "reset"):
        with pytest.raises(BadInput, match=f"{setting.replace('_', '-')}: belongs to --method "):
            Config(method=name, **{setting: 2 if setting != "reset" else "b"})


@pytest.mark.parametrize("name", ["galore", "flora-projected"])
def test_weight_decay_of_the_settings_is_of_the_whole_matrix(name):
    settings = dict(method=name, project_rank=1, steps=1, optimizer="sgd", dtype="float64", warmup=0.0)
    ends = [end_of(**settings, weight_decay=decay, lr=0.1, schedule="constant") for decay in (0.0, 0.5)]
    start = build(tiny.config(**settings)).task.weights["layer1"].W
    np.testing.assert_allclose(ends[0] - ends[1], 0.1 * 0.5 * start, atol=1e-15)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_betas_of_the_settings_move_the_moments(optimizer):
    given = dict(method="galore", project_rank=2, project_every=2, move_moments=True, optimizer=optimizer, beta2=0.9)
    made = build(tiny.config(**given, dtype="float64", model="mlp", widths=(5,)))
    ranks = dict.fromkeys(made.task.weights, 2)
    by_hand = [galore(made.task, ranks, 2, move=True, betas=(0.9, b2)) for b2 in (0.9, 0.999)]
    got, right, wrong = (trajectory(method, 2, 6)[-1][-1][0] for method in (made.method, *by_hand))
    assert np.array_equal(got, right) and abs(got - wrong).max() > 1e-9


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_a_run_that_diverges_says_so():
    with pytest.raises(Diverged):
        end_of(
            method="galore", project_rank=2, project_every=2, optimizer="sgd", lr=1e200, galore_scale=1e200, steps=9
        )
