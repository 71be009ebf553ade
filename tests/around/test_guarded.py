"""A bad head does not take the others with it, and law L1 holds for those that took part."""

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm.communicator import Ranks
from minilte.comm.solo import Solo
from minilte.comm.topologies import allgather, server
from minilte.comm.wire import WIRES
from minilte.core import head as core_head
from minilte.core import tree
from minilte.core.errors import Diverged
from minilte.core.head import replica_of
from minilte.core.lora import product
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Main, Sent
from minilte.laws.world import Case
from minilte.laws.world import build as build_world
from minilte.around import guarded as guards
from minilte.around.guarded import FACTOR, along, distance, guard
from minilte.run import build
from minilte.run.session import advance, first_state, open_session

SCALES = [{"layer1": 0.5}] * 4


def heads(seed=0, then=True):
    draw = stream(seed, "check").standard_normal
    old = [{"layer1": Adapter(draw((2, 5)), draw((4, 2)))} for _ in range(4)]
    new = [tree.map(lambda leaf: leaf + 0.1 * draw(leaf.shape), one) for one in old]
    main = Main({"layer1": Linear(draw((4, 5)), draw(4))}, tuple(old) if then else None)
    return [Sent(one, {"layer1": Linear(None, draw(4))}) for one in new], main


def moved(one, main, n):
    V = product(main.then[n]["layer1"]) if main.then else 0
    return SCALES[0]["layer1"] * np.linalg.norm(product(one.factors["layer1"]) - V)


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from(guards.POLICIES))
def test_sound_heads_count_as_they_are(seed, then, policy):
    sent, main = heads(seed, then)
    sizes = [moved(one, main, n) for n, one in enumerate(sent)]
    for n, one in enumerate(sent):
        assert distance(one.factors, main.then[n] if then else None, SCALES[n]) == pytest.approx(sizes[n], rel=1e-6)
    if max(sizes) <= FACTOR * sorted(sizes)[1]:
        got, trust = guard(policy).check(sent, main, SCALES)
        assert all(a is b for a, b in zip(got, sent)) and trust.tolist() == [1, 1, 1, 1]


def test_heads_that_are_missing_do_not_hide_one_that_ran_away():
    sent, main = heads()
    wild = {"layer1": tree.map(lambda leaf: 1e3 * leaf, sent[0].factors["layer1"])}
    gone = [tree.map(lambda leaf: np.full_like(leaf, np.nan), one) for one in sent[2:]]
    _, trust = guard("skip").check([sent[0]._replace(factors=wild), sent[1], *gone], main, SCALES)
    assert trust.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["A", "B", "c"])
def test_a_head_that_is_not_finite_stops_the_run_or_is_left_out(bad, where):
    sent, main = heads()
    broken = sent[2].factors["layer1"].A.copy() if where == "A" else sent[2].factors["layer1"].B.copy()
    broken[0, 0] = bad
    if where == "c":
        sent[2] = sent[2]._replace(replicas={"layer1": Linear(None, np.full(4, bad))})
    else:
        sent[2] = sent[2]._replace(factors={"layer1": sent[2].factors["layer1"]._replace(**{where: broken})})
    with pytest.raises(Diverged, match="head 2: its factors are no longer finite") as caught:
        guard("stop", agreed=False).check(sent, main, SCALES)
    assert caught.value.agreed is False
    got, trust = guard("skip").check(sent, main, SCALES)
    assert trust.tolist() == [1, 1, 0, 1] and got[2].factors is main.then[2]
    assert np.array_equal(got[2].replicas["layer1"].c, main.weights["layer1"].c)


@given(st.integers(0, 2**32), st.booleans(), st.floats(10, 1e6))
def test_a_head_that_went_too_far_is_left_out_or_held_at_the_limit(seed, then, times):
    sent, main = heads(seed, then)
    far = lambda new, old: old + times * (new - old)  # noqa: E731
    start = main.then[1] if then else {"layer1": Adapter(sent[1].factors["layer1"].A, np.zeros((4, 2)))}
    sent[1] = sent[1]._replace(factors=tree.map(far, sent[1].factors, start))
    sizes = [moved(one, main, n) for n, one in enumerate(sent)]
    limit = FACTOR * sorted(sizes)[1]
    if sorted(sizes)[2] > limit:
        return
    _, skipped = guard("skip").check(sent, main, SCALES)
    got, clipped = guard("clip").check(sent, main, SCALES)
    assert skipped.tolist() == [1, 0, 1, 1] and 0 < clipped[1] < 1
    assert moved(got[1], main, 1) == pytest.approx(limit, rel=1e-5)  # the limit is found by halving


def test_a_run_whose_heads_are_all_bad_ends():
    sent, main = heads()
    sent = [one._replace(factors=tree.map(lambda leaf: leaf * np.nan, one.factors)) for one in sent]
    with pytest.raises(Diverged, match="head 0"):
        guard("skip").check(sent, main, SCALES)


def test_a_part_of_the_way_begins_at_V_and_ends_at_the_factors():
    sent, main = heads()
    for part, end in ((0.0, main.then[0]), (1.0, sent[0].factors)):
        for a, b in zip(tree.leaves(along(sent[0].factors, main.then[0], part)), tree.leaves(end)):
            np.testing.assert_allclose(a, b, atol=1e-15)


def test_where_half_of_the_heads_stand_still_nobody_is_too_far():
    sent, main = heads()
    still = [one._replace(factors=main.then[n]) for n, one in enumerate(sent)]
    for policy in ("skip", "clip"):
        assert guard(policy).check([sent[0], *still[1:]], main, SCALES)[1].tolist() == [1, 1, 1, 1]
        assert guard(policy).check(still, main, SCALES)[1].tolist() == [1, 1, 1, 1]
        assert guard(policy).check(sent[:1], main._replace(then=main.then[:1]), SCALES[:1])[1].tolist() == [1]


@pytest.mark.parametrize("wire", ["full", "bfloat16"])
@pytest.mark.parametrize("name", ["allgather", "server"])
@pytest.mark.parametrize("policy", ["skip", "clip"])
def test_a_head_that_was_bad_again_and_again_has_the_V_of_the_main_state(policy, name, wire):  # laws L1, L13
    world = build_world(Case(ranks=(2, 2, 1, 2), steps=12, every=2, reset="none"))
    task, adapted = world.task, list(world.plan.ranks[0])
    way = {
        "allgather": lambda: allgather(WIRES[wire]),
        "server": lambda: server(task.weights, replica_of(task.weights, adapted), adapted, wire=WIRES[wire]),
    }[name]()
    method = world.method(topology=way, guard=guard(policy))
    comm = Ranks(Solo(), 4)
    main, everyone = method.share(comm, method.begin(), 0), [method.enter(n) for n in range(4)]
    for merge, times in enumerate([np.nan, 1.0, 30.0, np.nan, 5.0, 1.0], 1):
        everyone = method.local(main, everyone, 2 * merge - 2, 2 * merge, map)
        everyone[0] = everyone[0]._replace(now=tree.map(lambda leaf: leaf * times, everyone[0].now))
        main, _ = method.merge(comm, main, everyone, 2 * merge)
        everyone = [method.restart(main, head, 2 * merge) for head in everyone]
        whole = method.whole(main)
        assert whole.trust[0] < 1 or times == 1.0
        for V, head in zip(whole.then, everyone, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(V), tree.leaves(head.then), strict=True))
        for layer, start in task.weights.items():
            moved = sum(
                scales[layer] / 4 * product(V[layer]) for V, scales in zip(whole.then, world.plan.scales, strict=True)
            )
            # 1e-11: rounding of six merges of numbers up to 10
            np.testing.assert_allclose(whole.weights[layer].W, start.W + moved, atol=1e-11)
        assert all(any(pair.A.any() for pair in head.now.values()) for head in everyone)  # law L7


# ---------------------------------------------------------------------------------- in a run

IMAGES = dict(data="fashion-mini", model="mlp", widths=(32,), batch=256, rank=8, heads=8, steps=60, merge_every=5)
AWAY = {  # what becomes of head 3's gradients in the second third of the run
    "nan": lambda grads: tree.map(lambda g: g * np.nan, grads),
    "huge": lambda grads: tree.map(lambda g: g * 1e6, grads),
    "flipped": lambda grads: tree.map(lambda g: g * -10, grads),
}


def trained(monkeypatch, wrong=None, **settings):
    """The records and last state of a run with plain steps, where Adam would hide the size of a gradient."""
    session = open_session(tiny.config(**IMAGES, optimizer="sgd", lr=0.05, alpha=8.0, **settings))
    if wrong:
        right, here = core_head.trained_grads, []
        watch = lambda head, step: here.append((head, step))  # noqa: E731
        batch = session.parts.task.batch
        monkeypatch.setattr(core_head, "trained_grads", lambda grads, own: gone(right(grads, own), here[-1], wrong))
        task = session.parts.task._replace(batch=lambda n, step: (watch(n, step), batch(n, step))[1])
        session = session._replace(comm=type(session.comm)(session.comm.transport, 8))
        monkeypatch.setattr(build, "make_task", lambda *_: task)
        session = session._replace(parts=build.build(session.config))
    *records, (last, state) = advance(session, first_state(session))
    return [record for record, _ in records] + [last], state


def gone(grads, where, wrong):
    head, step = where
    return AWAY[wrong](grads) if head == 3 and 20 <= step < 40 else grads


@pytest.mark.parametrize("wrong", AWAY)
@pytest.mark.parametrize("policy", ["skip", "clip"])
def test_one_bad_head_of_eight_costs_little(monkeypatch, wrong, policy):
    clean, _ = trained(monkeypatch)
    records, state = trained(monkeypatch, wrong, bad_heads=policy)
    assert records[-1].test_loss <= 1.02 * clean[-1].test_loss
    noticed = [record.step for record in records if record.trust and "3" in record.trust]
    assert noticed and set(noticed) <= {25, 30, 35, 40}
    assert all(np.isfinite(leaf).all() for leaf in tree.leaves(state.heads))
    if wrong == "nan":
        assert noticed == [25, 30, 35, 40] and records[5].losses[3] is None
        with pytest.raises(Diverged, match="head 3"):
            trained(monkeypatch, wrong)
