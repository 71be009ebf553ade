"""The shared basis as a run: its defaults, what it refuses, what it holds, and its steps and decay as they were asked for."""

import numpy as np
import pytest

import minilte as ml
from minilte.core.errors import BadInput
from minilte.methods import shared_basis as module
from minilte.optimizers.polar import exact, quintic
from minilte.quant.codes import Quantizer, fake
from minilte.run.build import build
from minilte.settings.config import Config
from minilte.settings.stored import read_settings

TINY = dict(data="least-squares", inputs=6, outputs=5, samples=64, model="mlp", widths=(7,), batch=12, heads=3, steps=13,
            merge_every=3, keep_basis=2, basis_rank=3, lr=0.05, method="shared-basis")  # fmt: skip


def test_defaults_are_those_of_the_method_and_what_is_given_wins():
    assert Config(method="shared-basis").lr == 0.1 and Config(method="shared-basis").weight_decay == 0.02
    assert Config(method="shared-basis", lr=0.3).lr == 0.3 and Config(method="shared-basis", lr=1e-3).lr == 1e-3
    assert (
        Config().replace(method="shared-basis").lr == 0.1
        and Config(method="shared-basis").replace(method="lte").lr == 1e-3
    )
    assert Config(method="shared-basis", lr=1e-3).own() == {"method": "shared-basis", "lr": 1e-3}
    assert Config(**Config(method="shared-basis", lr=1e-3).flat()).lr == 1e-3
    assert Config(method="diloco").outer_momentum == 0.9 and Config(method="shared-basis").outer_momentum == 0.0


@pytest.mark.parametrize(
    "changes, complaint",
    [
        (dict(basis_rank=9), "basis-rank: expected 1 to 6"),
        (dict(basis_rank=0), "basis-rank: expected a whole number of at least 1"),
        (dict(keep_basis=0), "keep-basis: expected a whole number of at least 1"),
        (dict(merge_every=0), "merge-every: expected a whole number of at least 1"),
        (dict(basis_layers=("layer9",)), "basis-layers: no dense layer is called 'layer9'"),
        (dict(basis_layers=("layer2",), basis_rank=6), "basis-rank: expected 1 to 5"),
        (dict(basis_layers=("layer1", "layer2"), basis_rank=6), "basis-layers: layer2 is 5 x 7, too small"),
        (dict(basis_step="adamw", move_momentum=True), "move-momentum: expected with"),
        (dict(move_remainder=True), "move-remainder: expected a thin --wire"),
        (dict(rank=3), "rank: belongs to"),
    ],
)
def test_what_cannot_be_is_refused(changes, complaint):
    with pytest.raises(BadInput) as trouble:
        ml.fit(Config(**TINY | changes))
    assert complaint in str(trouble.value)


@pytest.mark.parametrize("polar", ["quintic", "exact"])
def test_the_polar_factor_is_the_one_that_was_asked_for(polar, monkeypatch):
    seen = []
    own = {"quintic": quintic, "exact": exact}[polar]
    monkeypatch.setitem(module.POLAR, polar, lambda X: (seen.append(X.shape), own(X))[1])
    ml.fit(Config(**TINY | dict(basis_polar=polar, steps=3)))
    assert len(seen) == 3 * 3 * 2  # heads, steps, layers


def test_no_decay_is_left_in_the_replicas_optimizer():
    """Where nothing is learnt, a matrix of a replica decays by the merge alone, and a bias not at all."""
    flat = ml.fit(
        Config(**TINY | dict(steps=6, lr=1e-9, replica_lr=1e-9, weight_decay=1e5, basis_layers=("layer1",)))
    )
    start = next(iter(ml.rounds(Config(**TINY | dict(steps=0)))))
    weights = start.state.main.weights
    rates = Config(**TINY | dict(steps=6, lr=1e-9)).schedule.build(1e-9, 6)
    shrink = np.prod([1 - 1e5 * sum(rates(t) for t in range(a, a + 3)) for a in (0, 3)])
    for name in ("layer1", "layer2"):
        np.testing.assert_allclose(flat.weights[name].W, shrink * weights[name].W, rtol=1e-5)
    np.testing.assert_allclose(flat.weights["layer1"].c, 0, atol=1e-7)


def test_a_worker_holds_no_second_moment_and_no_factors_of_others():
    from minilte.cost import account
    from minilte.run.session import advance, first_state, open_session

    session = open_session(Config(**TINY))
    *_, (_, state) = advance(session, first_state(session))
    held = account.memory(session.built.task, session.built.method, state.main, state.heads[0], False)
    m, n, k, r, size = 7, 6, 5, 3, 4
    factors, biases, Q = r * (n + 7), 12, r * (m + k)  # side a: (r, n) and (r, 7) trained, Q of (r, 7) and (r, 5)
    assert held["weights"] == size * (m * n + k * m + biases)
    assert held["adapters"] == size * (factors + biases + Q)
    assert held["gradients"] == size * (factors + biases) and held["merged_factors"] == held["rule"] == 0
    assert (
        held["optimizer"] == size * (2 * factors + 2 * biases) + 8
    )  # momentum, here and averaged; AdamW of the biases


@pytest.mark.parametrize("code", ["int8", "int4", "nf4"])
def test_under_a_master_workers_see_codes_of_w_and_the_factors_are_exact(code):
    settings = TINY | dict(quant=code, quant_block=16, steps=6, topology="server")
    record = list(ml.rounds(Config(**settings)))[-1]
    whole = record.state.main.weights["layer1"].W
    kind = Quantizer(code, "block", 16, "nearest")
    assert not np.array_equal(fake(whole, kind), whole)  # the master's own is no code
    plain = list(ml.rounds(Config(**{k: v for k, v in settings.items() if k != "quant_block"} | dict(quant="none"))))[
        -1
    ]
    assert record.train_loss != plain.train_loss and np.isfinite(record.train_loss)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_replicas_step_at_their_own_rate_whatever_the_optimizer(optimizer):
    """The first step of AdamW moves every entry by the rate; Muon leaves the last layer, and biases, to AdamW at its own."""
    settings = TINY | dict(
        optimizer=optimizer, steps=1, basis_layers=("layer1",), weight_decay=0.0, replica_lr=0.01, warmup=0.0
    )
    if optimizer == "muon":
        settings |= dict(rest_lr=0.01)
    start, end = list(ml.rounds(Config(**settings | dict(schedule="constant", heads=1))))
    moved = end.state.main.weights["layer2"].W - start.state.main.weights["layer2"].W
    if optimizer != "sgd":
        np.testing.assert_allclose(np.abs(moved), 0.01, rtol=1e-3)
    else:
        assert np.abs(moved).max() < 0.1


@pytest.mark.parametrize("guard", ["skip", "clip"])
def test_a_head_whose_gradients_are_huge_is_seen_though_its_steps_are_not(guard):
    """Orthonormal steps have one length for all gradients; the momentum that a head sends has not."""
    config = Config(**TINY | dict(bad_heads=guard, steps=3, heads=4, batch=16))

    def trust(size):
        built = build(config)
        batch = built.task.batch
        task = built.task._replace(
            batch=lambda n, step: (lambda x, y: (x, (size if n == 2 else 1) * y))(*batch(n, step))
        )
        made = config.guard.wrap(config.method.build(task, config), 4)
        main, heads = made.begin(), [made.enter(n) for n in range(4)]
        said = [made.tell(made.local(main, head, 0, 3)) for head in heads]
        return made.merge(main, said, 3, map).trust

    assert trust(1.0).tolist() == [1, 1, 1, 1]
    counted = trust(-1e6)
    assert counted[2] < 1e-3 and [counted[n] for n in (0, 1, 3)] == [1, 1, 1]


def test_a_baseline_beside_it_trains_at_a_rate_of_its_own(tmp_path):
    settings = TINY | dict(steps=3, versus="full", lr=0.3, weight_decay=0.2)
    ml.fit(Config(**settings), out=tmp_path / "run")
    inner = read_settings(tmp_path / "run" / "versus-full")
    assert (inner.method.name, inner.lr, inner.weight_decay) == ("full", 1e-3, 0.0)
    assert read_settings(tmp_path / "run").lr == 0.3


@pytest.mark.parametrize(
    ("steps", "bases"), [(0, 1), (1, 1), (3, 1), (5, 1), (6, 1), (7, 2), (12, 2), (13, 3)], ids=str
)
def test_a_run_uses_as_many_bases_as_it_has_begun(steps, bases):
    """K T = 6 steps a basis: r directions each, as far as a layer has them, in the bound and in the adapter that it leaves as."""
    settings = TINY | dict(basis_rank=2, steps=steps, weight_decay=0.0)
    built = build(Config(**settings))
    expected = {"layer1": min(6, 2 * bases), "layer2": min(5, 2 * bases)}
    assert built.method.facts.bound == expected and built.method.facts.bound_law == "L26"
    *_, last = ml.rounds(Config(**settings))
    if built.method.facts.one_lora:
        ((pairs,), _, _) = built.method.facts.one_lora(last.state.main, ())
        assert {name: len(pair.A) for name, pair in pairs.items()} == expected
    assert (built.method.facts.one_lora is None) == (2 * bases >= 6)
    for name, rank in expected.items():
        change = last.state.main.weights[name].W - built.task.weights[name].W
        assert np.linalg.matrix_rank(change, tol=1e-5) == (rank if steps else 0)


def test_with_decay_there_is_no_rank_bound():
    assert build(Config(**TINY | dict(basis_rank=2))).method.facts.bound == {}
