"""A bad head does not take the others with it, and law L1 holds for those that took part."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from hypothesis import assume, given
from hypothesis import strategies as st

from minilte.around.guarded import FACTOR, Guarded, along, guarded, stopping
from minilte.around.wired import wired
from minilte.comm import threads
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE, MASTER
from minilte.core import tree
from minilte.core.errors import Diverged
from minilte.core.head import descend
from minilte.core.lora import product
from minilte.core.method import Method, rounds
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Main, Sent
from minilte.laws.world import Case
from minilte.laws.world import build as build_world
from minilte.methods.lte import facts
from minilte.quant.wire import WIRES
from minilte.run.session import advance, first_state, open_session

SCALES = [{"layer1": 0.5}] * 4
POLICIES = ["skip", "clip"]


def heads(seed=0, then=True):
    draw = stream(seed, "check").standard_normal
    old = [{"layer1": Adapter(draw((2, 5)), draw((4, 2)))} for _ in range(4)]
    new = [tree.map(lambda leaf: leaf + 0.1 * draw(leaf.shape), one) for one in old]
    main = Main({"layer1": Linear(draw((4, 5)), draw(4))}, tuple(old) if then else None)
    return [Sent(one, {"layer1": Linear(None, draw(4))}) for one in new], main


def moved(one, main, n):
    V = product(main.then[n]["layer1"]) if main.then else 0
    return SCALES[0]["layer1"] * np.linalg.norm(product(one.factors["layer1"]) - V)


def keeping(counted):
    """A method that does nothing at a merge but keep what counted of every head."""
    known = facts(None, SimpleNamespace(scales=SCALES), None, False, False)
    nothing = dict.fromkeys(Method._fields[: Method._fields.index("adds")])
    return Method(**nothing | dict(merge=lambda main, said, *_: (counted.extend(said), main)[1]), facts=known)


def check(policy, sent, main):
    """What counts of every head at a merge, and how much the guard trusts it."""
    counted = []
    method = guarded(keeping(counted), len(sent), policy == "clip")
    state = method.merge(Guarded(main, np.ones(len(sent))), sent, 1, map)
    assert state.main is main
    return counted, state.trust


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from(POLICIES))
def test_sound_heads_count_as_they_are(seed, then, policy):
    sent, main = heads(seed, then)
    sizes = [moved(one, main, n) for n, one in enumerate(sent)]
    assume(max(sizes) <= FACTOR * sorted(sizes)[1])
    got, trust = check(policy, sent, main)
    assert all(a is b for a, b in zip(got, sent, strict=True)) and trust.tolist() == [1, 1, 1, 1]


def test_heads_that_are_missing_do_not_hide_one_that_ran_away():
    sent, main = heads()
    wild = {"layer1": tree.map(lambda leaf: 1e3 * leaf, sent[0].factors["layer1"])}
    gone = [tree.map(lambda leaf: np.full_like(leaf, np.nan), one) for one in sent[2:]]
    _, trust = check("skip", [sent[0]._replace(factors=wild), sent[1], *gone], main)
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
        stopping(keeping([])).merge(main, sent, 1, map)
    assert caught.value.agreed is False
    for policy in POLICIES:
        got, trust = check(policy, sent, main)
        assert trust.tolist() == [1, 1, 0, 1] and got[2].factors is main.then[2]
        assert np.array_equal(got[2].replicas["layer1"].c, main.weights["layer1"].c)


def test_heads_that_are_sound_do_not_stop_a_run_and_single_heads_of_a_sum_are_not_heard():
    sent, main = heads()
    counted = []
    assert stopping(keeping(counted)).merge(main, sent, 1, map) is main and counted == sent
    sums = keeping([])._replace(adds=True)
    assert stopping(sums) is sums


@pytest.mark.parametrize("then", [False, True])
def test_a_head_of_which_nothing_counts_counts_as_where_it_would_be_without_moving(then):
    sent, main = heads(then=then)
    sent[1] = sent[1]._replace(factors=tree.map(lambda leaf: leaf * np.nan, sent[1].factors))
    got, _ = check("skip", sent, main)
    assert moved(got[1], main, 1) == 0 and all(np.isfinite(leaf).all() for leaf in tree.leaves(got[1]))


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
    _, skipped = check("skip", sent, main)
    got, clipped = check("clip", sent, main)
    assert skipped.tolist() == [1, 0, 1, 1] and 0 < clipped[1] < 1
    assert moved(got[1], main, 1) == pytest.approx(limit, rel=1e-5)  # the limit is found by halving
    part = lambda old, new: old + clipped[1] * (new - old)  # noqa: E731
    expected = part(main.weights["layer1"].c, sent[1].replicas["layer1"].c)
    np.testing.assert_allclose(got[1].replicas["layer1"].c, expected, atol=1e-15)  # the same part of that way


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_whose_heads_are_all_bad_ends(policy):
    sent, main = heads()
    sent = [one._replace(factors=tree.map(lambda leaf: leaf * np.nan, one.factors)) for one in sent]
    with pytest.raises(Diverged, match="head 0"):
        check(policy, sent, main)


def test_a_part_of_the_way_begins_at_V_and_ends_at_the_factors():
    sent, main = heads()
    for part, end in ((0.0, main.then[0]), (1.0, sent[0].factors)):
        for a, b in zip(tree.leaves(along(main.then[0], sent[0].factors, part)), tree.leaves(end), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-15)
    low = tree.map(lambda leaf: leaf.astype(np.float32), sent[0].factors)
    assert {leaf.dtype for leaf in tree.leaves(along(main.then[0], low, 0.3))} == {np.dtype("f4")}


def test_where_half_of_the_heads_stand_still_nobody_is_too_far():
    sent, main = heads()
    still = [one._replace(factors=main.then[n]) for n, one in enumerate(sent)]
    for policy in POLICIES:
        assert check(policy, [sent[0], *still[1:]], main)[1].tolist() == [1, 1, 1, 1]
        assert check(policy, still, main)[1].tolist() == [1, 1, 1, 1]
        assert check(policy, sent[:1], main._replace(then=main.then[:1]))[1].tolist() == [1]


# ---------------------------------------------------------------------------------- around LTE


def guarded_lte(policy, wire="full", **case):
    """A small LTE with a guard around it, as a run has it."""
    world = build_world(Case(ranks=(2, 2, 1, 2), steps=12, every=2, **case))
    keeps = world.case.reset == "none"
    method = world.method()._replace(facts=facts(world.task, world.plan, [0.25] * 4, keeps, keeps))
    return world, wired(guarded(method, 4, policy == "clip"), WIRES[wire])


def astray(method, times):
    """The method with a head 0 that is so many times where it should be after each round."""

    def local(shown, head, start, stop):
        head = method.local(shown, head, start, stop)
        by = times[start // 2] if head.index == 0 else 1.0
        return head._replace(now=tree.map(lambda leaf: leaf * by, head.now))

    return method._replace(local=local)


TIMES = [np.nan, 1.0, 30.0, np.nan, 5.0, 1.0]


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("wire", ["full", "bfloat16"])
@pytest.mark.parametrize("meeting", [EVERYONE, MASTER], ids=["everyone", "master"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_head_that_was_bad_again_and_again_has_the_V_of_the_main_state(policy, meeting, wire, processes):
    world, method = guarded_lte(policy, wire)  # laws L1, L13
    method = astray(method, TIMES)

    def work(transport):
        comm = Communicator(transport, 4)
        run = rounds(method, comm, meeting, method.begin(), [method.enter(n) for n in comm.mine], 12)
        return [(done.main, done.shown, done.heads) for done in run]

    for times, *merge in zip(TIMES, *threads.run(processes, work), strict=True):
        state = merge[0][0]
        assert state.trust[0] < 1 or times == 1.0
        assert state.trust[0] == 1 or times != 1.0 or policy == "clip"  # who was clipped has a way to go yet
        remembered = {head.index: shown.main.then[head.index] for _, shown, heads in merge for head in heads}
        for n, V in enumerate(state.main.then):
            assert all(np.array_equal(a, b) for a, b in zip(*map(tree.leaves, (V, remembered[n])), strict=True))
        for layer, start in world.task.weights.items():
            gone = sum(scales[layer] / 4 * product(V[layer]) for V, scales in zip(state.main.then, world.plan.scales))
            # 1e-11: rounding of six merges of numbers up to 10
            np.testing.assert_allclose(state.main.weights[layer].W, start.W + gone, atol=1e-11)
        assert all(shown.trust.tolist() == state.trust.tolist() for _, shown, _ in merge)
        assert all(pair.A.any() for *_, heads in merge for head in heads for pair in head.now.values())  # law L7


@pytest.mark.parametrize("reset", ["none", "b", "ab"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_bad_head_goes_on_finite_with_fresh_optimizer_state(policy, reset):
    _, method = guarded_lte(policy, reset=reset, optimizer="adamw")
    state, everyone = method.begin(), [method.enter(n) for n in range(4)]
    for start in (0, 2):
        everyone = [method.local(state, head, start, start + 2) for head in everyone]
        everyone[2] = everyone[2]._replace(now=tree.map(lambda leaf: leaf * np.nan, everyone[2].now))
        state = method.merge(state, [method.tell(head) for head in everyone], start + 2, map)
        assert state.trust.tolist() == [1, 1, 0, 1]
        everyone = [method.hear(state, head, start + 2) for head in everyone]
        assert [int(head.opt.count) for head in everyone] == [start + 2, start + 2, 0, start + 2]
        held = tree.leaves([(head.now, head.replica, head.opt) for head in everyone])
        assert all(np.isfinite(leaf).all() for leaf in held)
        assert all(pair.A.any() for pair in everyone[2].now.values())
    assert all(np.isfinite(leaf).all() for leaf in tree.leaves(method.weights(state)))


def test_a_bad_head_is_left_out_and_the_other_shares_are_not_renormalised():
    world, method = guarded_lte("skip")
    state = method.begin()
    everyone = [method.local(state, method.enter(n), 0, 2) for n in range(4)]
    gone = everyone[3]._replace(now=tree.map(lambda leaf: leaf * np.inf, everyone[3].now))
    merged = method.merge(state, [method.tell(head) for head in (*everyone[:3], gone)], 2, map)
    for name, layer in method.weights(merged).items():
        moves = sum(world.plan.scales[n][name] / 4 * product(everyone[n].now[name]) for n in range(3))
        np.testing.assert_allclose(layer.W, world.task.weights[name].W + moves, atol=1e-13)  # rounding
        kept = world.task.weights[name].c / 4 + sum(everyone[n].replica[name].c for n in range(3)) / 4
        np.testing.assert_allclose(layer.c, kept, atol=1e-13)


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
        monkeypatch.setattr("minilte.core.lte.descend", lambda *work: descend(*going(wrong, *work)))
    *records, (last, state) = advance(session, first_state(session))
    return [record for record, _ in records] + [last], state


def going(wrong, task, see, pick, trained, opt, n, *steps):
    """What `descend` is given, with head 3's gradients astray."""
    at = []
    batch = lambda n, step: (at.append(step), task.batch(n, step))[1]  # noqa: E731

    def picked(grads, own):
        grads = pick(grads, own)
        return AWAY[wrong](grads) if n == 3 and 20 <= at[-1] < 40 else grads

    return task._replace(batch=batch), see, picked, trained, opt, n, *steps


@pytest.mark.parametrize("wrong", AWAY)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_bad_head_of_eight_costs_little(monkeypatch, wrong, policy):
    clean, _ = trained(monkeypatch)
    records, state = trained(monkeypatch, wrong, bad_heads=policy)
    assert records[-1].test_loss <= 1.02 * clean[-1].test_loss
    noticed = [record.step for record in records if record.trust and "3" in record.trust]
    assert noticed and set(noticed) <= {25, 30, 35, 40}
    assert all(np.isfinite(leaf).all() for leaf in tree.leaves([head._replace(loss=0.0) for head in state.heads]))
    if wrong == "nan":
        assert noticed == [25, 30, 35, 40] and records[5].losses[3] is None
        with pytest.raises(Diverged, match="head 3"):
            trained(monkeypatch, wrong)
