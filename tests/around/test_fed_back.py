"""A sum on a thin wire: against its definition, the same bits on any number of processes, and nothing of it lost."""

import numpy as np
import pytest
from methods.test_on_bases import LR, RANKS, STEPS, W, dense, method
from rewritten import rewritten
from support import assert_same, make_task
from traffic import assert_the_same_anywhere

from minilte.around import fed_back as module
from minilte.around.fed_back import Owing, fed_back
from minilte.around.guarded import Guarded, guarded
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE, MASTER, one_by_one
from minilte.comm.solo import Solo
from minilte.core import optim, tree
from minilte.core.errors import Diverged
from minilte.core.method import rounds
from minilte.laws import oracle
from minilte.methods.bases import Basis
from minilte.quant import wire as wires
from minilte.quant.codes import LEVELS
from minilte.quant.wire import WIRES, rows_of
from minilte.steps.adamw import adamw

CODES = {name: wires.by_code(name, 4) for name in LEVELS}  # so that every head has rows of its own
THIN = {"float16": WIRES["float16"], "bfloat16": WIRES["bfloat16"], **CODES}
MEETINGS = {"everyone": EVERYONE, "master": MASTER}


def rounded(name, x):
    """What arrives of a vector, from the definition of its code."""
    if name == "float16":
        return x.astype(np.float16).astype(float)
    if name == "bfloat16":  # 8 binary digits; no number here is small or large
        mantissa, exponent = np.frexp(x.astype(np.float32).astype(float))
        return np.ldexp(np.round(mantissa * 2.0**8), exponent - 8)
    rows = np.pad(x, (0, -len(x) % 4)).reshape(-1, 4)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    levels = LEVELS[name].astype(float)
    nearest = np.abs(rows[..., None] - largest[..., None] * levels).argmin(axis=-1)
    return (levels[nearest] * largest).reshape(-1)[: len(x)]


def added_on(name, master, remainder):
    """How the dense method adds what heads say, when it travels so: every head keeps its own remainder, written out."""
    owed, rows = [0.0 for _ in W], 1 if name in ("float16", "bfloat16") else 4

    def whole(kind, said, carry):
        nonlocal owed
        shapes, sizes = [X.shape for X in said[0]], [X.size for X in said[0]]
        want = [np.concatenate([X.ravel() for X in layers]) for layers in said]
        if kind == "factors":
            want = [x + e for x, e in zip(want, owed)]
        sent = [rounded(name, x) for x in want]
        total = got = sum(sent)
        if not master:
            got = rounded(name, total)
        layers = lambda x: [X.reshape(shape) for X, shape in zip(np.split(x, np.cumsum(sizes)[:-1]), shapes)]  # noqa: E731
        if kind == "factors":
            owed = [x - c for x, c in zip(want, sent)]
            parts = np.array_split(np.arange(-(-len(total) // rows)), len(W))  # rows, of each head its own
            for e, part in zip(owed, parts):
                mine = np.isin(np.arange(len(total)) // rows, part)
                e[mine] += (total - got)[mine]
            if carry:
                moved = [[carry(X, i) for i, X in enumerate(layers(e))] for e in owed]
                owed = [np.concatenate([X.ravel() for X in Xs]) if remainder else 0.0 for Xs in moved]
        return layers(got)

    return whole


def on(wire, meeting, task, side="a", keep=2, kind="orthonormal", remainder=False, **changes):
    made = method(task, kind, Basis(RANKS, 3, keep, side, 7), remainder, **changes)
    return fed_back(made, THIN[wire], len(W), meeting == "master")


def path(made, meeting, steps=STEPS):
    comm = Communicator(Solo(), len(W))
    return list(rounds(made, comm, MEETINGS[meeting], made.begin(), [made.enter(n) for n in comm.mine], steps))


def as_dense(made, done):
    return [[(layer.W, layer.c) for layer in made.weights(one.main).values()] for one in done]


@pytest.mark.parametrize("changes", [{}, dict(averaged=False), dict(decay=0.3, moved=True)], ids=str)
@pytest.mark.parametrize("remainder", [False, True])
@pytest.mark.parametrize("side", ["a", "b", "alternating"])
@pytest.mark.parametrize("meeting", MEETINGS)
@pytest.mark.parametrize("wire", THIN)
def test_it_follows_the_dense_method_whose_sums_are_rounded_as_its_are(wire, meeting, side, remainder, changes):
    task, _ = make_task(optim.sgd(0.5), LR)
    made = on(wire, meeting, task, side, remainder=remainder, **changes)
    sums = added_on(wire, meeting == "master", remainder)
    rest = oracle.Settings(task.rate, momentum=0.5)
    assert_same(
        as_dense(made, path(made, meeting)),
        list(dense(task, W, Basis(RANKS, 3, 2, side, 7), "orthonormal", rest, added=sums, **changes)),
    )


@pytest.mark.parametrize("changes", [{}, dict(averaged=False), dict(remainder=True, outer_momentum=0.5)], ids=str)
@pytest.mark.parametrize("side", ["a", "alternating"])
@pytest.mark.parametrize("meeting", MEETINGS)
@pytest.mark.parametrize("wire", THIN)
def test_bits_and_bytes_do_not_depend_on_processes(wire, meeting, side, changes):
    task, _ = make_task(adamw(), LR)
    made = on(wire, meeting, task, side, **changes)
    assert_the_same_anywhere(made, len(W), 15, {meeting: MEETINGS[meeting]})


WRONG = {  # of the text of the wrapper
    "a remainder that is not sent": ("return x + worker.owed[: x.size]", "return x"),
    "a remainder that is forgotten": ("Owing(after, np.pad(owed, (0, blank.size - owed.size)))", "Owing(after, blank)"),
    "a remainder that is kept twice": ("left = fraction * (x - said)", "left = worker.owed[: x.size] + fraction * (x - said)"),
    "what the way back loses is forgotten": ("+= worker.back", "+= 0"),
    "what the way back loses is kept by its neighbour": ("range(worker.index, worker.index + 1)", "range((worker.index + 1) % heads, (worker.index + 1) % heads + 1)"),
    "the sum comes back too long": ("rows = {kind: way(kind).encode(numbers)", "rows = {kind: way(kind).encode(1.01 * numbers)"),
    "momentum is fed back": ("rows_of(way(kind), flat(of, blank.dtype))", "rows_of(way(kind), flat(of, blank.dtype) + (kind == 'momentum') * worker.owed[0])"),
    "replicas are coded": ("return wire if kind in THIN else FULL", "return wire"),
    "a remainder of the old basis": ("vector(carried(shaped(left, method.like(worker.index, shown, step)[\"factors\"]), step))", "left"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_bug_in_its_text_leaves_the_dense_path(name):
    planted = rewritten(module, *WRONG[name])
    task, _ = make_task(optim.sgd(0.5), LR)
    plain = method(task, "orthonormal", basis := Basis(RANKS, 3, 4, "a", 7))
    expected = list(
        dense(
            task,
            W,
            basis,
            "orthonormal",
            oracle.Settings(task.rate, momentum=0.5),
            added=added_on("int4", False, False),
        )
    )

    def follows(wrapped):
        made = wrapped(plain, THIN["int4"], len(W), False)
        got = as_dense(made, path(made, "everyone"))
        return all(
            np.allclose(a, b, rtol=0, atol=1e-9)
            for xs, ys in zip(got, expected)
            for x, y in zip(xs, ys)
            for a, b in zip(x, y)
        )

    assert follows(fed_back) and not follows(planted["fed_back"])


@pytest.mark.parametrize("wire", ["bfloat16", "int8", "int4"])
def test_heads_that_move_no_more_send_what_they_owe(wire):
    """As long as the basis lasts, what the merges add comes as near to what was moved as the code of a small rest can be."""
    task, _ = make_task(optim.sgd(), LR)
    made = on(wire, "everyone", task, keep=100, averaged=False)
    heads = [made.local(made.begin(), made.enter(n), 0, 3) for n in range(len(W))]
    factors = heads[0].head.factors

    def still(shown, worker, start, stop):
        return (
            worker if worker.head.factors else worker._replace(head=worker.head._replace(factors=tree.zeros(factors)))
        )

    far, *_, left = [
        max(np.abs(head.owed).max() for head in done.heads)
        for done in rounds(made._replace(local=still), Communicator(Solo(), 3), EVERYONE, made.begin(), heads, 45)
    ]
    assert 0 < far and left < 1e-6 * far


@pytest.mark.parametrize("trust", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("keep", [9, 1])
@pytest.mark.parametrize("remainder", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_what_a_head_owes_and_what_was_merged_of_it_are_its_step_as_far_as_it_counted(trust, keep, remainder, late):
    """e' = e + f w_n B_n - f C(w_n B_n + e), in the basis of the next round; 0 where nothing of it was heard."""
    task, _ = make_task(optim.sgd(), LR)
    basis = Basis(RANKS, 3, keep, "a", 7)
    plain = method(task, "orthonormal", basis, remainder)
    made = fed_back(guarded(one_by_one(plain), 3, clip=True), THIN["bfloat16"], 3, False)
    fresh = [made.enter(n)._replace(owed=made.enter(n).owed + 0.1234567) for n in range(3)]
    heads = [made.local(made.begin(), head, 0, 3) for head in fresh]
    old, trust = (fresh[1], 0.0) if late else (heads[1], trust)
    shown = made.merge(made.begin(), [made.tell(head) for head in heads], 3, map)
    new = made.hear(Guarded(shown.main, np.array([1.0, trust, 1.0])), old, 3)
    factors = plain.tell(old.head)["factors"]
    step = np.concatenate([factors[name].ravel() for name in RANKS])
    x = step + old.owed
    expected = old.owed + trust * step - trust * rounded("bfloat16", x) if trust else 0 * old.owed
    if trust and keep == 1:
        carried = plain.facts.remainder.carried(module.shaped(expected, factors), 3)
        assert any(leaf.any() for leaf in carried.values()) == remainder
        expected = np.concatenate([carried[name].ravel() for name in RANKS])
    np.testing.assert_allclose(new.owed, expected, atol=1e-14)


def test_a_number_that_no_code_holds_stops_the_run_with_the_remedy():
    task, _ = make_task(optim.sgd(), LR)
    made = on("int8", "everyone", task)
    head = made.local(made.begin(), made.enter(0), 0, 3)
    broken = head._replace(
        said=None, head=head.head._replace(factors=tree.map(lambda x: x * np.nan, head.head.factors))
    )
    with pytest.raises(Diverged, match="wire: a factor is no longer finite; lower --lr, or set --clip"):
        made.tell(broken)


@pytest.mark.parametrize("side", ["a", "b", "alternating"])
def test_what_is_owed_is_counted_in_memory_and_in_the_length_of_the_longest_round(side):
    task, _ = make_task(optim.sgd(), LR)
    inner = method(task, "orthonormal", Basis(RANKS, 3, 1, side, 7))
    made, worker = fed_back(inner, WIRES["int8"], 3, False), None
    worker = made.enter(0)
    longest = max(3 * 5 + 2 * 6, 3 * 6 + 2 * 4) if side == "alternating" else {"a": 27, "b": 26}[side]
    assert isinstance(worker, Owing) and worker.owed.size == -(-longest // 64) * 64
    main, plain = made.begin(), inner.facts.held(inner.begin(), inner.enter(0), False)
    held = made.facts.held(main, worker, False)
    assert held["merged_factors"] is worker.owed and held.keys() - plain.keys() == {"merged_factors"}


def test_rows_are_those_of_the_closed_form():
    for name, width in {"float16": 2, "bfloat16": 2, "int8": 72, "int4": 40, "nf4": 40}.items():
        wire = WIRES[name]
        assert rows_of(wire, np.ones((3, 50))).shape == (-(-150 // wire.block), width)
        assert wire.width(np.dtype("f4")) == (2 if width == 2 else width - 4)
