"""Orthonormalised momentum against its formula, written out leaf by leaf with singular value decompositions."""

import math

import numpy as np
import pytest
import tiny
from dense import dense_start
from support import STEPS, as_lists, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core import networks, tree
from minilte.core.errors import BadInput, Diverged
from minilte.core.lte import lte
from minilte.core.pairs import ACTIVATIONS
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Norm
from minilte.cost import account
from minilte.laws import oracle
from minilte.laws.exact import redrawn
from minilte.laws.world import Case, apart, build, weights_along
from minilte.methods.fedavg import fedavg
from minilte.methods.fedit import fedit
from minilte.methods.full import full
from minilte.methods.mhlora import lora, mhlora
from minilte.optimizers.muon import Muon, muon
from minilte.optimizers.polar import exact, quintic, response
from minilte.rules.ties import ties
from minilte.run.build import build as built
from minilte.run.session import advance, first_state
from minilte.steps.absorbed import absorbed
from minilte.steps.adamw import adamw
from minilte.steps.stacked import stacked_steps

FACTORS = {  # singular values -> those of what a matrix moves by
    exact: lambda S: (S > 1e-7 * S[0]).astype(float),
    quintic: lambda S: response(S / (np.linalg.norm(S) or 1.0)),
}
SETTINGS = dict(momentum=0.9, weight_decay=0.1, rest=adamw(weight_decay=0.1), rest_rate=0.4)
LAST = "layer3"
adam_step = oracle.move


def plain(polar=exact, last=None, momentum=0.9, decay=0.1, rest_rate=0.4):
    """A step on a dict of arrays, in place, as `oracle.move` takes it; the last but one of a key names the layer."""

    def move(params, grads, memory, lr, s):
        size = math.sqrt(sum((grads[key] ** 2).sum() for key in params))
        for key, p in params.items():
            g, old = grads[key] * min(1, s.clip / size if size else 1), memory.setdefault(key, {})
            if p.ndim == 2 and key[-2] != last:
                old["M"] = momentum * old.get("M", 0) + g
                U, S, Vt = np.linalg.svd(g + momentum * old["M"], full_matrices=False)
                p *= 1 - lr * decay
                p -= lr * math.sqrt(max(1, p.shape[0] / p.shape[1])) * (U * FACTORS[polar](S)) @ Vt
            else:
                adam_step(
                    {key: p}, {key: g}, memory, lr * rest_rate, oracle.Settings(None, optimizer="adamw", decay=decay)
                )

    return move


# ---------------------------------------------------------------------------------- single steps


def drawn(seed, like):
    return tree.map(lambda shape: stream(seed, "check", *shape.shape).standard_normal(shape.shape), like)


def blank(*shape):
    return np.zeros(shape)


WEIGHTS = {
    "layer1": Linear(blank(6, 4), blank(6)),
    "norm1": Norm(blank(6), blank(6)),
    LAST: Linear(blank(3, 6), None),
}
ADAPTERS = {"layer1": Adapter(blank(1, 4), blank(6, 1)), LAST: Adapter(blank(2, 6), blank(3, 2))}
REPLICA = {"layer1": Linear(None, blank(6)), "layer2": Linear(blank(2, 2), blank(2)), LAST: Linear(None, blank(3))}
TREES = {
    "weights": WEIGHTS,
    "head": (ADAPTERS, REPLICA),
    "frozen replicas": (ADAPTERS, {}),
    "many heads": ((ADAPTERS, {LAST: Adapter(blank(1, 6), blank(3, 1))}), REPLICA),
}


@pytest.mark.parametrize("last", ["", LAST])
@pytest.mark.parametrize("polar", FACTORS)
@pytest.mark.parametrize("name", TREES)
def test_every_leaf_takes_its_own_step(name, polar, last):
    optimizer, move = muon(polar=polar, last=last, **SETTINGS), plain(polar, last)
    p = drawn(1, TREES[name])
    state, memory = optimizer.init(p), {}
    expected = {tuple(path.split(".")): leaf.copy() for path, leaf in tree.named(p)}
    for step in range(5):
        g = drawn(step + 2, TREES[name])
        move(
            expected,
            {tuple(path.split(".")): leaf for path, leaf in tree.named(g)},
            memory,
            0.1 / (step + 1),
            oracle.Settings(None),
        )
        before = tree.map(np.copy, (p, g, state))
        new, later = optimizer.update(p, g, state, 0.1 / (step + 1))
        for old, kept in zip(tree.leaves((p, g, state)), tree.leaves(before), strict=True):
            assert np.array_equal(old, kept)  # nothing that was passed in is changed
        p, state = new, later
    for (path, leaf), (_, want) in zip(tree.named(p), expected.items(), strict=True):
        np.testing.assert_allclose(leaf, want, atol=1e-12, err_msg=path)  # rounding of five steps
    assert [path for path, _ in tree.named(p)] == [path for path, _ in tree.named(TREES[name])]
    for path, _ in tree.named(state.buf):  # no memory for a matrix's second moment, nor for a vector's momentum
        assert not last or last not in path
    assert tree.size(state.buf) + tree.size(state.rest.m) == tree.size(p)


def test_only_the_leaves_of_the_parameters_are_looked_at_and_their_dtype_stays():
    p = {"layer1": Linear(np.ones((2, 3), np.float32), None)}
    g = {"layer1": Linear(np.ones((2, 3), np.float32), np.ones(2, np.float32)), "layer2": None}
    for polar in FACTORS:
        optimizer = muon(polar=polar)
        new, state = optimizer.update(p, g, optimizer.init(p), 0.1)
        assert new["layer1"].c is None and {leaf.dtype for leaf in tree.leaves((new, state.buf))} == {
            np.dtype("float32")
        }


def test_a_layer_is_left_out_by_its_whole_name():
    p = {name: Linear(np.eye(2), None) for name in ("block.1", "block.10", "1")}
    state = muon(last="block.1").init(p)
    assert [path for path, _ in tree.named(state.buf)] == ["block.10.W", "1.W"]


# ---------------------------------------------------------------------------------- settings

NET = networks.Network(
    ("layer1", "norm1", ACTIVATIONS["tanh"], "layer2", "norm2"),
    {
        "layer1": networks.Dense(4, 6),
        "norm1": networks.Affine(4),
        "layer2": networks.Dense(3, 4),
        "norm2": networks.Affine(3),
    },
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, muon(last="layer2", rest_rate=4.0)),
        (
            dict(lr=0.02, rest_lr=0.005, muon_momentum=0.5, polar="exact", muon_last=True, weight_decay=0.2),
            muon(0.5, 0.2, exact, "", adamw(weight_decay=0.2), 0.25),
        ),
        (dict(beta1=0.5, beta2=0.7, eps=0.1), muon(last="layer2", rest=adamw(0.5, 0.7, 0.1), rest_rate=4.0)),
    ],
)
def test_it_is_that_of_its_settings(settings, expected):
    paths = []
    for optimizer in (Muon(**settings).build(NET), expected):
        p = networks.init_weights(NET, 0)
        state = optimizer.init(p)
        for step in range(3):
            p, state = optimizer.update(p, drawn(step, p), state, 0.1)
        paths.append(tree.leaves((p, state)))
    assert all(np.array_equal(a, b) for a, b in zip(*paths, strict=True))


def test_a_single_layer_is_its_last_and_has_to_be_asked_for():
    with pytest.raises(
        BadInput, match="muon-last: expected with a --model of one layer: as the last, layer1 would be left"
    ):
        built(tiny.config(optimizer="muon"))
    assert (
        built(tiny.config(optimizer="muon", muon_last=True))
        .task.optimizer.init({"a": np.ones((2, 2))})
        .buf["a"]
        .any()
        == 0
    )


# ---------------------------------------------------------------------------------- methods


def task_of(polar=exact, last="", clip=None):
    return make_task(muon(polar=polar, last=last, **SETTINGS), 0.02, clip=clip)


def settings_of(task, clip=None, **more):
    return oracle.Settings(task.rate, clip=clip or math.inf, **more)


@pytest.mark.parametrize(
    ("polar", "last", "clip"), [(exact, "", None), (exact, LAST, 0.3), (quintic, "", None), (quintic, LAST, 0.3)]
)
def test_full_rank_training_follows_the_dense_method(monkeypatch, polar, last, clip):
    task, whole = task_of(polar, last, clip)
    monkeypatch.setattr(oracle, "move", plain(polar, 2 if last else None))
    expected = oracle.full(as_lists(task.weights), whole, STEPS, settings_of(task, clip))
    assert_same(trajectory(full(task), 3), list(expected))


@pytest.mark.parametrize(
    ("every", "reset", "last"), [(1, "none", ""), (10, "none", LAST), (3, "b", LAST), (3, "ab", "")]
)
def test_lte_follows_the_dense_method(monkeypatch, every, reset, last):
    task, _ = task_of(last=last)
    plan = make_plan(task)
    monkeypatch.setattr(oracle, "move", plain(last=2 if last else None))
    settings = settings_of(task, every=every, reset=reset)
    expected = oracle.lte(*dense_start(task, plan), task.batch, STEPS, settings, redraw=redrawn(plan))
    assert_same(trajectory(lte(task, plan, every, reset), 3), list(expected))


def test_the_other_methods_follow_their_dense_ones(monkeypatch):
    task, whole = task_of(last=LAST)
    plan, settings = make_plan(task), settings_of(task, every=4)
    weights, adapters, scales = dense_start(task, plan)
    monkeypatch.setattr(oracle, "move", plain(last=2))
    expected = oracle.fedavg(weights, 3, task.batch, STEPS, settings)
    assert_same(trajectory(fedavg(task, [1 / 3] * 3, 4), 3), list(expected))
    expected = oracle.mhlora(weights, adapters, scales, whole, STEPS, settings)
    assert_same(trajectory(mhlora(task, plan), 3), list(expected))
    expected = list(oracle.mhlora(weights, adapters[:1], scales[:1], whole, STEPS, settings))
    assert_same(trajectory(lora(task, plan), 3), expected)
    alone = make_task(task.optimizer, 0.02, heads=1)[0]  # FedIT's only head is LoRA, whatever T
    assert_same(trajectory(fedit(alone, make_plan(alone, [2]), [1.0], 5), 1), expected[4::5])


def every_method(task):
    plan, w = make_plan(task, [2, 2, 2]), [0.5, 0.2, 0.3]
    yield lte(task, make_plan(task), 4, w=w)
    yield lte(task, plan, 4, "ab", reset_optimizer=True, rule=ties(0.5))
    yield full(task)
    yield fedavg(task, w, 4)
    yield fedit(task, plan, w, 4)


@pytest.mark.parametrize("at", range(5))
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(at):
    task, _ = task_of(quintic if at % 2 else exact, LAST)
    method = list(every_method(task))[at]
    assert_the_same_anywhere(method, 3, 8)


@pytest.mark.parametrize("polar", FACTORS)
@pytest.mark.parametrize("how", ["absorbed", "stacked"])
def test_the_other_forms_of_local_steps_follow_the_plain_ones(how, polar):
    case = Case(widths=(6, 5, 4), ranks=(2, 1, 2), every=3, steps=12, loss="squared-error")
    world = build(case)
    world = world._replace(task=world.task._replace(optimizer=muon(polar=polar, last="layer2", **SETTINGS)))
    method = world.method()
    other = {
        "absorbed": lambda: absorbed(method, world.plan),
        "stacked": lambda: method._replace(together=stacked_steps(2, world.task, world.plan, [1.0] * 3)),
    }[how]()
    paths = [weights_along(each, case.heads, case.steps) for each in (other, method)]
    assert apart(*paths) < 1e-9  # rounding of a dozen steps


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["full", "lte"])
def test_a_run_that_diverges_says_so(method):
    session = tiny.session(
        method=method, model="deep-linear", widths=(5, 5), optimizer="muon", polar="exact", lr=1e20
    )
    with pytest.raises(Diverged):
        list(advance(session, first_state(session)))


# ---------------------------------------------------------------------------------- memory


def test_its_state_is_counted_one_number_for_a_matrix_and_two_for_the_rest():
    net = dict(data="least-squares", inputs=6, outputs=4, model="mlp", widths=(5,), optimizer="muon", dtype="float64")
    M, rest = 5 * 6, 5 + 4 * 5 + 4  # layer1; its bias, and layer2
    for changes, numbers in (
        (dict(method="full"), M + 2 * rest),
        (dict(method="full", muon_last=True), M + 4 * 5 + 2 * (5 + 4)),
        (dict(method="lte", rank=2), 2 * (5 + 6) + 2 * (5 + 2 * (4 + 5) + 4)),
        (dict(method="lte", rank=2, muon_last=True), 2 * (5 + 6) + 2 * (4 + 5) + 2 * (5 + 4)),
    ):
        session = tiny.session(**net, **changes)
        state = first_state(session)
        held = account.memory(session.built.task, session.built.method, state.main, state.heads[0], False)
        assert held["optimizer"] == 8 * numbers + 8  # and a count of steps
        weights = M + rest
        own = M + 2 * rest if "muon_last" not in changes else M + 4 * 5 + 2 * (5 + 4)
        assert held["full_rank_total"] == 8 * (2 * weights + own) + 8
