"""LTE whose ranks and heads change at merges, against heads that are matrices, written out."""

import math
from itertools import product as product_of

import numpy as np
import pytest
import tiny
from dense import dense_start, up_to_merges
from support import OPTIMIZERS, TOGETHER, Alone, assert_same, make_plan, make_task, trajectory
from traffic import MEETINGS

from minilte.comm import threads
from minilte.comm.buffers import cat
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE
from minilte.core import tree
from minilte.core.errors import BadInput, Diverged
from minilte.core.head import seen
from minilte.core.lora import product
from minilte.core.lte import lte
from minilte.core.method import rounds
from minilte.core.types import Adapter
from minilte.laws import oracle
from minilte.laws.exact import redrawn
from minilte.methods.dynamic import dynamic
from minilte.rules.ties import ties
from minilte.run.build import build
from minilte.run.session import advance, first_state
from minilte.steps.adamw import adamw

RANKS = [3, 3, 3]
all_heads = lambda step: np.ones(3, bool)  # noqa: E731
fixed = lambda step, k, r, change, heads: r  # noqa: E731


def drawn(step):
    """Another one, two or three heads in each round."""
    return np.array([True, step % 2 == 0, step % 3 == 0])


def up_and_down(step, k, r, change, heads):
    return min(r, 1 + step // 4 % 3)


def by_change(step, k, r, change, heads):
    """By what was merged and by how many, so that the arguments matter."""
    return r if change is None else min(r, 1 + (np.linalg.norm(change) > 0.05) + (heads > 1))


# ---------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("reset", ["none", "b", "ab"])
@pytest.mark.parametrize("rule", [{}, dict(rule=ties(0.4))], ids=["mean", "ties"])
def test_with_all_heads_and_all_rows_it_is_lte_to_the_bit(reset, rule):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    plan, w = make_plan(task, RANKS), [0.5, 0.2, 0.3]
    mine = trajectory(dynamic(task, plan, 4, fixed, all_heads, reset, reset == "b", w=w, **rule), 3)
    plain = trajectory(lte(task, plan, 4, reset, reset == "b", w=w, **rule), 3)
    pairs = zip(tree.leaves(mine), tree.leaves(plain), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def dense(task, plan, settings, w, next_rank, active):
    """Every head has its own full W - s V + s B A; rows that do not live are zeros in B and A."""
    run = oracle.Explorer(*dense_start(task, plan), settings, redraw=redrawn(plan))
    r, step = [len(A) for A in run.A[0]], run.step
    k, here = [next_rank(0, size, size, None, 3) for size in r], active(0)
    cut_all(run, k)
    run.step = lambda n, t, x, y: step(n, t, x, y) if here[n] else None
    for t in up_to_merges(run, task.batch):
        before, old = run.W.copy(), k
        run.w = [w[n] * here[n] / sum(w[n] for n in range(3) if here[n]) for n in range(3)]
        run.merge(t)
        k = [next_rank(t, k[i], r[i], run.W[i] - before[i], int(here.sum())) for i in run.L]
        cut_all(run, [min(pair) for pair in zip(old, k)])
        for n, i in product_of(range(3), run.L):
            run.A[n][i][old[i] : k[i]] = redrawn(plan)(n, t)[i][old[i] : k[i]]
        here = active(t)
        yield run.weights()


def cut_all(run, k):
    """The rows from k[i] on go, out of V and of what the optimizer remembers too."""
    for n, i in product_of(range(run.N), run.L):
        run.A[n][i][k[i] :], run.B[n][i][:, k[i] :] = 0, 0
        if run.s.reset == "none":
            run.V[n][i] = run.B[n][i] @ run.A[n][i]
        for kind, dead in (("A", np.s_[k[i] :]), ("B", np.s_[:, k[i] :])):
            for remembered in run.memory[n].get((i, kind), {}).values():
                if np.ndim(remembered) == 2:
                    remembered[dead] = 0


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("reset", "every", "next_rank", "active"),
    [
        ("none", 1, up_and_down, all_heads),
        ("none", 3, fixed, drawn),
        ("none", 10, up_and_down, drawn),
        ("b", 3, up_and_down, drawn),
        ("ab", 3, up_and_down, drawn),
        ("none", 4, by_change, drawn),
    ],
)
def test_it_follows_the_dense_method(reset, every, next_rank, active, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan, w = make_plan(task, RANKS), [0.5, 0.2, 0.3]
    settings = oracle.Settings(task.rate, every=every, reset=reset, **extra)
    method = dynamic(task, plan, every, next_rank, active, reset, w=w)
    assert_same(trajectory(method, 3), list(dense(task, plan, settings, w, next_rank, active)))


def every_round(method, meeting, processes, steps=24):
    """Of every process the rounds, and what it sent by kind."""

    def work(transport):
        comm = Communicator(transport, 3)
        heads = [method.enter(n) for n in comm.mine]
        return list(rounds(method, comm, meeting, method.begin(), heads, steps)), comm.sent

    return threads.run(processes, work)


@pytest.mark.parametrize("reset", ["none", "ab"])
@pytest.mark.parametrize("meeting", MEETINGS.values(), ids=MEETINGS)
def test_bits_do_not_depend_on_processes_and_only_what_lives_travels(meeting, reset):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    method = dynamic(task, make_plan(task, RANKS), 4, up_and_down, drawn, reset)
    ((alone, _),) = every_round(method, EVERYONE, 1)
    for processes in (2, 3):
        everyone = every_round(method, meeting, processes)
        for mine, one in zip(everyone[0][0], alone, strict=True):
            assert (
                cat(tree.leaves(method.weights(mine.main))).tobytes()
                == cat(tree.leaves(one.main.main.weights)).tobytes()
            )
            np.testing.assert_array_equal(mine.losses, one.losses)  # NaN of those that sat out
        others = 2 if processes == 3 else 1
        spoken = [spoken_in(task, step) for step in range(0, 24, 4)]
        if meeting is EVERYONE:
            assert sum(sent["factors"] for _, sent in everyone) == sum(spoken) * others
        elif processes == 3:  # head 0 is the master's own
            assert sum(sent["factors"] for _, sent in everyone[1:]) == sum(spoken) - sum(
                spoken_in(task, s, [0]) for s in range(0, 24, 4)
            )


def spoken_in(task, step, heads=range(3)):
    """Bytes of the factors that these heads say of the round that begins at a step."""
    shapes = [layer.W.shape for layer in task.weights.values()]
    return sum(8 * min(3, 1 + step // 4 % 3) * (m + n) for head in heads if drawn(step)[head] for m, n in shapes)


@pytest.mark.parametrize("reset", ["none", "b", "ab"])
@pytest.mark.parametrize("meeting", MEETINGS.values(), ids=MEETINGS)
def test_right_after_a_merge_every_head_computes_the_main_function(meeting, reset):  # law L10
    task, _ = make_task(adamw(), 0.01)
    plan = make_plan(task, RANKS)
    method = dynamic(task, plan, 4, up_and_down, drawn, reset)
    for done in every_round(method, meeting, 1)[0][0]:
        live = {name: int(k) for name, k in done.main.ranks.items()}
        for seat in done.heads:
            head, V = seat.head, done.shown.main.then and done.shown.main.then[seat.index]
            eyes = seen(done.main.main.weights, head.now, head.replica, V, plan.scales[seat.index])
            for name, layer in done.main.main.weights.items():
                then = 0 if V is None else product(eyes[name].then)
                assert np.array_equal(product(eyes[name].now) - then, np.zeros_like(layer.W))
                assert np.array_equal(eyes[name].c, layer.c)
                assert not head.now[name].A[live[name] :].any() and head.now[name].A[: live[name]].any()


def test_a_row_that_went_stays_away_until_it_is_drawn_anew():
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    method = dynamic(
        task, make_plan(task, RANKS), 4, lambda step, k, r, change, heads: r if step < 8 else 1, all_heads
    )
    main, seat = method.begin(), method.enter(1)
    for start in range(0, 24, 4):
        seat = method.local(main, seat, start, start + 4)
        if start >= 8:
            assert not seat.head.now["layer1"].A[1:].any() and not seat.head.now["layer1"].B[:, 1:].any()
        others = [method.tell(method.local(main, method.enter(n), start, start + 4)) for n in (0, 2)]
        said = method.tell(seat)
        others = [said._replace() for _ in others]
        main = method.merge(main, [others[0], said, others[1]], start + 4, map)
        seat = method.hear(main, seat, start + 4)


# ---------------------------------------------------------------------------------- in a run

RUNS = {
    "a schedule": dict(rank_rule="schedule", rank_from=1, heads_rule="growing", taking_part=1),
    "effective rank": dict(rank_rule="effective", rank_spare=1, heads_rule="drawn", heads=4),
    "energy": dict(rank_rule="energy", rank_energy=0.5, rank_spare=1, heads_rule="shrinking", reset="ab"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_records_its_ranks_and_heads(name):
    settings = dict(
        method="dynamic", model="mlp", widths=(6,), inputs=6, outputs=5, rank=4, heads=3, steps=12, merge_every=2
    )
    session = tiny.session(**settings | RUNS[name])
    records, states = zip(*advance(session, first_state(session)))
    assert [dict(record.ranks) for record in records[1:]] == [
        {layer: int(k) for layer, k in state.main.ranks.items()} for state in states[1:]
    ]
    spoke = [len(record.losses) - len(record.trust or {}) for record in records[1:]]
    assert spoke == [int(state.main.took.sum()) for state in states[1:]]
    assert all((record.losses[int(n)] is None) for record in records[1:] for n in record.trust or {})
    if name == "a schedule":
        assert (
            spoke == sorted(spoke)
            and spoke[0] == 1
            and [r.ranks["layer1"] for r in records[1:]] == [2, 2, 2, 3, 4, 4]
        )
    if name == "effective rank":
        assert set(spoke) == {2} and len({tuple(record.trust) for record in records[1:]}) > 1
    if name == "energy":
        assert spoke == sorted(spoke, reverse=True) and all(
            r.ranks["layer1"] <= 1 + math.ceil(5 / 2) for r in records[1:]
        )


def test_a_change_of_weights_decides_the_rank_of_the_next_round():
    config = tiny.config(
        method="dynamic", model="linear", inputs=6, outputs=6, rank=6, heads=2, rank_rule="energy", rank_spare=1
    )
    method = build(config).method
    main = method.begin()
    assert int(main.ranks["layer1"]) == 6
    flat = [method.tell(method.enter(n)) for n in (0, 1)]
    assert int(method.merge(main, flat, 2, map).ranks["layer1"]) == 6  # nothing moved, nothing is known
    moved = [
        said._replace(factors={"layer1": Adapter(np.eye(6, dtype="f4"), np.diag([3, 2, 1e-3, 0, 0, 0]).astype("f4"))})
        for said in flat
    ]
    assert int(method.merge(main, moved, 2, map).ranks["layer1"]) == 2 // 2 + 1


def test_the_directions_of_a_change_are_shared_among_the_heads_that_made_it():
    settings = dict(method="dynamic", model="linear", inputs=6, outputs=6, rank=6, heads=4, rank_rule="energy")
    method = build(tiny.config(**settings, rank_spare=1, heads_rule="drawn", taking_part=2)).method
    four = {"layer1": Adapter(np.eye(6, dtype="f4"), np.diag([1, 1, 1, 1, 0, 0]).astype("f4"))}
    said = [method.tell(method.enter(n)) for n in range(4)]
    moved = [words and words._replace(factors=four) for words in said]
    assert sum(map(bool, moved)) == 2
    assert int(method.merge(method.begin(), moved, 2, map).ranks["layer1"]) == 4 // 2 + 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(rank_from=9), "rank-from: expected at most 2, the rank, which is the most that can live, got 9"),
        (dict(rank_to=3, rank_rule="schedule"), "rank-to: expected at most 2"),
        (dict(taking_part=3, heads_rule="drawn"), "taking-part: expected at most 2, the heads, got 3"),
        (dict(taking_part=1), "taking-part: belongs to --heads-rule drawn, growing, shrinking; leave it out"),
        (dict(rank_energy=0.5, rank_rule="effective"), "rank-energy: belongs to --rank-rule energy; leave it out"),
        (dict(rank_to=1), "rank-to: belongs to --rank-rule schedule; leave it out"),
        (dict(rank_spare=1), "rank-spare: belongs to --rank-rule effective, energy; leave it out"),
        (dict(rank_from=5, head_ranks=(4, 4)), "rank-from: expected at most 4, the rank"),
        (
            dict(head_ranks=(1, 2)),
            "method dynamic: needs one rank for all heads: --head-ranks of equal numbers, or none",
        ),
        (dict(rank_spare=0), "rank-spare: expected a whole number of at least 1, got 0"),
        (dict(wire="float16"), "wire: belongs to --method lte"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(BadInput) as refused:
        tiny.config(method="dynamic", **settings)
    assert str(refused.value).startswith(words)


@pytest.mark.parametrize("k", [0, 4])
def test_a_rule_that_leaves_what_an_adapter_can_hold_is_refused(k):
    task, _ = make_task(adamw(), 0.01)
    for rule in (lambda step, *_: k, lambda step, *_: k if step else 1):
        with pytest.raises(
            BadInput, match=f"^rank: expected 1 to 3 rows that live, .*, got {k}; set a larger --rank"
        ):
            trajectory(dynamic(task, make_plan(task, RANKS), 4, rule, all_heads), 3, 8)


@pytest.mark.parametrize("none", [np.zeros(3, bool), np.ones(2, bool)], ids=["nobody", "too few"])
def test_a_round_in_which_nobody_takes_part_is_refused(none):
    task, _ = make_task(adamw(), 0.01)
    for active in (lambda step: none, lambda step: none if step else np.ones(3, bool)):
        with pytest.raises(BadInput, match="^active: expected at least one of 3 heads after step [04], got "):
            trajectory(dynamic(task, make_plan(task, RANKS), 4, fixed, active), 3, 8)


@pytest.mark.parametrize("heads", [1, 6, 7])
def test_it_is_lte_to_the_bit_though_equal_shares_do_not_sum_to_one_in_floating_point(heads):
    task, _ = make_task(adamw(), 0.01, heads=heads)
    plan = make_plan(task, [2] * heads)
    mine = trajectory(dynamic(task, plan, 3, fixed, lambda step: np.ones(heads, bool)), heads, 12)
    plain = trajectory(lte(task, plan, 3), heads, 12)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(mine), tree.leaves(plain), strict=True))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "rule", [dict(rank_rule="energy"), dict(rank_rule="effective"), dict(merge_rule="gram", reset="b")], ids=str
)
def test_a_run_that_diverges_ends_as_that(rule):
    session = tiny.session(
        method="dynamic", lr=1e200, optimizer="sgd", dtype="float64", steps=20, merge_every=5, **rule
    )
    with pytest.raises(Diverged), np.errstate(all="ignore"):
        list(advance(session, first_state(session)))


@pytest.mark.parametrize(
    ("ranks", "next_rank", "active"),
    [
        ([2, 2], lambda step, *_: 1 + step // 4 % 2, lambda step: np.ones(2, bool)),
        ([1, 1, 1], fixed, drawn),
    ],
    ids=["ranks", "heads"],
)
def test_what_heads_forget_stays_so_nothing_telescopes_and_no_rank_is_bound(ranks, next_rank, active):  # laws L1, L2
    N = len(ranks)
    task, _ = make_task(adamw(), 0.05, heads=N)
    plan = make_plan(task, ranks)
    method = dynamic(task, plan, 4, next_rank, active)
    *_, last = rounds(method, Alone(N), TOGETHER, method.begin(), [method.enter(n) for n in range(N)], 40)
    moved, V = last.main.main.weights["layer1"].W - task.weights["layer1"].W, last.main.main.then
    kept = sum(plan.scales[n]["layer1"] * product(V[n]["layer1"]) / N for n in range(N))
    assert np.abs(moved - kept).max() > 1e-3
    assert np.linalg.matrix_rank(moved, tol=1e-6) > sum(ranks)
    assert method.facts.bound == {} and method.facts.one_lora is None
