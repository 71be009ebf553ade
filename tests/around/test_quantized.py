"""Heads that see q(W): of a master's W in full precision, or each for itself, where most of a small merge is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.around.quantized import in_place, quantized, rounding
from minilte.comm import threads
from minilte.comm.buffers import cat
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE, MASTER
from minilte.core import tree
from minilte.core.lora import product
from minilte.core.method import rounds
from minilte.core.random import stream
from minilte.core.types import Linear, Main
from minilte.laws.world import Case, build, run
from minilte.methods.facts import Facts
from minilte.quant.codes import LEVELS, Quantizer, fake
from minilte.quant.packed import Packed

CASE = Case(widths=(6, 5, 4), ranks=(2, 1, 2), every=2, steps=6, lr=0.3)
NAMES = ["layer1", "layer2"]
WORLD = build(CASE)
KINDS = st.builds(Quantizer, st.sampled_from(list(LEVELS)), st.sampled_from(["tensor", "row", "block"]), st.just(4))


def plain(world=WORLD, **changes):
    held = lambda main, head, all_heads: {"weights": main.weights, "optimizer": head.opt}  # noqa: E731
    return world.method(**changes)._replace(facts=Facts(bound={"layer1": 5}, held=held, one_lora=lambda main: ()))


def no_draw(layer, step):
    return None


def q(W, kind, draw=None):
    return fake(W, kind, draw)


def same(one, other):
    return cat(tree.leaves(one)).tobytes() == cat(tree.leaves(other)).tobytes()


# ---------------------------------------------------------------------------------- without a master


def survives(wrap, size=0.01):
    """How much of a merge along itself is left in the main weights: <W' - W, D> / |D|^2, where wrap(method) is trained."""
    draw = stream(0, "check").standard_normal
    weights = {"layer1": Linear(draw((256, 256)), None)}
    D = size * draw((256, 256))
    moves = lambda main, said, step, each: main._replace(
        weights={"layer1": Linear(main.weights["layer1"].W + D, None)}
    )  # noqa: E731
    method = wrap(plain()._replace(begin=lambda: Main(weights, None), merge=moves), weights)
    start = method.begin()
    moved = method.merge(start, [], 2, map).weights["layer1"].W - start.weights["layer1"].W
    return float((moved * D).sum() / (D * D).sum())


@pytest.mark.parametrize("code", ["int4", "nf4"])
def test_a_move_of_one_percent_is_lost_without_a_master_and_kept_with_one(code):
    kind = Quantizer(code)
    assert survives(lambda method, weights: in_place(method, ["layer1"], kind, no_draw)) < 0.05
    kept = survives(lambda method, weights: quantized(method, weights, ["layer1"], kind, True, no_draw))
    assert kept == pytest.approx(1)


@given(st.integers(0, 2**32), st.sampled_from(list(LEVELS)))
def test_a_merge_ends_on_codes_and_is_the_quantized_merge(seed, code):
    world, kind = build(CASE._replace(seed=seed)), Quantizer(code)
    method = in_place(plain(world), ["layer1"], kind, no_draw)
    start = method.begin()
    assert np.array_equal(start.weights["layer1"].W, q(world.task.weights["layer1"].W, kind))
    assert start.weights["layer2"].W is world.task.weights["layer2"].W  # not asked for
    said = [method.tell(method.local(start, method.enter(n), 0, 2)) for n in range(3)]
    new, whole = method.merge(start, said, 2, map), plain(world).merge(start, said, 2, map)
    assert np.array_equal(new.weights["layer1"].W, q(whole.weights["layer1"].W, kind))
    assert np.array_equal(q(new.weights["layer1"].W, kind), new.weights["layer1"].W)
    assert same(new.weights["layer1"].c, whole.weights["layer1"].c)
    assert same(new.weights["layer2"], whole.weights["layer2"]) and same(new.then, whole.then)


def test_the_start_and_every_merge_draw_their_own_rounding():
    seen = []
    draw = lambda layer, merge: lambda shape: seen.append((layer, merge)) or np.zeros(shape)  # noqa: E731
    method = in_place(plain(), NAMES, Quantizer("int4", rounding="stochastic"), draw)
    run(method, 3, 5)  # the last round is a shorter one
    assert seen == [(layer, merge) for merge in (0, 1, 2, 3) for layer in NAMES]


def test_rounding_of_every_layer_and_step_is_its_own_and_the_same_anywhere():
    draw = rounding(WORLD.task.weights, 7, "float32")
    numbers = {(layer, step): draw(layer, step)((3, 2)) for layer in NAMES for step in (0, 1, 2)}
    assert all(one.dtype == np.float32 and one.shape == (3, 2) for one in numbers.values())
    assert len({one.tobytes() for one in numbers.values()}) == 6
    again = rounding(WORLD.task.weights, 7, "float32")
    assert all(np.array_equal(again(*key)((3, 2)), one) for key, one in numbers.items())
    other = rounding(WORLD.task.weights, 8, "float32")
    assert not np.array_equal(other("layer1", 0)((3, 2)), numbers["layer1", 0])


def test_without_a_master_no_rank_is_bounded_and_no_adapter_stands_for_the_run():
    method = in_place(plain(), NAMES, Quantizer(), no_draw)
    assert method.facts.bound == {} and method.facts.one_lora is None and method.facts.held is not None
    assert plain().facts.bound and plain().facts.one_lora


# ---------------------------------------------------------------------------------- under a master


def coded(kind, stay_packed, world=WORLD, draw=no_draw, **changes):
    return quantized(plain(world, **changes), world.task.weights, NAMES, kind, stay_packed, draw)


def trained(method, processes=1, steps=CASE.steps):
    def work(transport):
        comm = Communicator(transport, CASE.heads)
        heads = [method.enter(n) for n in comm.mine]
        return list(rounds(method, comm, MASTER, method.begin(), heads, steps)), dict(comm.sent)

    return threads.run(processes, work)


@pytest.mark.parametrize("stay_packed", [True, False])
@given(st.integers(0, 2**32), KINDS)
def test_heads_train_around_the_codes_of_the_masters_weights(stay_packed, seed, kind):
    world = build(CASE._replace(seed=seed))
    method, whole = coded(kind, stay_packed, world), plain(world)
    main, heads = method.begin(), [method.enter(n) for n in range(3)]
    ((path, _),) = trained(method)
    for done in path:
        around = {name: layer._replace(W=q(layer.W, kind)) for name, layer in main.weights.items()}
        start = done.step - 2
        heads = [whole.local(main._replace(weights=around), head, start, done.step) for head in heads]
        main = whole.merge(main, [whole.tell(head) for head in heads], done.step, map)  # into W, not into q(W)
        heads = [whole.hear(main, head, done.step) for head in heads]
        # 1e-9: a product of codes is summed block by block
        for a, b in zip(tree.leaves(done.main), tree.leaves(main), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)
        assert isinstance(done.shown.weights["layer1"].W, Packed) is stay_packed


def test_the_bits_do_not_depend_on_the_processes():
    for stay_packed in (True, False):
        method = coded(Quantizer("nf4", block=4), stay_packed)
        ((alone, _),) = trained(method)
        for processes in (2, 3, 5):
            (path, _), *_ = trained(method, processes)
            assert all(same(a.main, b.main) for a, b in zip(path, alone, strict=True))


def test_the_master_keeps_its_weights_in_full_precision():  # law L1
    ((path, _),) = trained(coded(Quantizer("int4", block=4), True))
    for name, layer in path[-1].main.weights.items():
        moved = sum(WORLD.plan.scales[n][name] / 3 * product(V[name]) for n, V in enumerate(path[-1].main.then))
        np.testing.assert_allclose(layer.W, WORLD.task.weights[name].W + moved, atol=1e-12)  # rounding
        assert not np.array_equal(layer.W, q(layer.W, Quantizer("int4", block=4)))


@pytest.mark.parametrize("stay_packed", [True, False])
def test_what_is_sent_down_are_codes_scales_and_what_is_averaged(stay_packed):
    kind = Quantizer("nf4", block=4)
    method = coded(kind, stay_packed)
    shown, frame = method.show(method.begin(), 0), method.frame()
    assert list(shown) == list(frame) == ["codes", "scales", "replicas"]
    assert [(path, leaf.shape, leaf.dtype) for path, leaf in tree.named(shown)] == [
        (path, leaf.shape, leaf.dtype) for path, leaf in tree.named(frame)
    ]
    numbers = 6 * 5 + 5 * 4
    (_, sent), *workers = trained(method, 3)
    merges = 3 + 1  # and a view before the first step
    assert sent["codes"] == merges * 2 * numbers // 2  # two workers, half a byte a number
    assert sent["scales"] == merges * 2 * 8 * -(-30 // 4) + merges * 2 * 8 * 5
    assert all("codes" not in one and one["factors"] > 0 for _, one in workers)


def test_templates_take_no_memory():
    wide = {"layer1": WORLD.task.weights["layer1"]._replace(W=tree.blank(np.empty((512, 512), "f4")))}
    frame = quantized(plain(), wide, ["layer1"], Quantizer("int8"), True, no_draw).frame()
    assert all(leaf.strides == (0,) for leaf in tree.leaves((frame["codes"], frame["scales"])))


def test_a_master_rounds_every_view_with_numbers_of_its_own_step():
    seen = []
    draw = lambda layer, step: lambda shape: seen.append((layer, step)) or np.zeros(shape)  # noqa: E731
    trained(coded(Quantizer("int4", rounding="stochastic"), True, draw=draw), steps=5)
    assert seen == [(layer, step) for step in (0, 2, 4, 5) for layer in NAMES]


def test_workers_hold_codes_where_they_stay_packed():
    for stay_packed in (True, False):
        method = coded(Quantizer("int8", "tensor"), stay_packed)
        held = method.facts.held(method.begin(), method.enter(0), False)
        assert isinstance(held["weights"]["layer1"].W, Packed) is stay_packed and "optimizer" in held
        codes = tree.nbytes(held["weights"]["layer2"].W.codes) if stay_packed else held["weights"]["layer2"].W.nbytes
        assert codes == 5 * 4 * (1 if stay_packed else 8)


def test_the_bits_in_place_do_not_depend_on_the_processes():
    method = in_place(plain(), NAMES, Quantizer("int4", rounding="stochastic"), rounding(WORLD.task.weights, 1, "f8"))

    def work(transport):
        comm = Communicator(transport, 3)
        *_, last = rounds(method, comm, EVERYONE, method.begin(), [method.enter(n) for n in comm.mine], 6)
        return cat(tree.leaves(last.main)).tobytes()

    assert len({bits for processes in (1, 2, 3, 5) for bits in threads.run(processes, work)}) == 1
