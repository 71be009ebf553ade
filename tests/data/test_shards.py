"""Shards: every row belongs to one client, keyed so that bits hold; heads read theirs without a gap."""

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.data.batches import Workers
from minilte.data.dataset import Dataset
from minilte.data.shards import dealt, drawn, proportional, shard_batches, stretch
from minilte.methods.lte import weighed
from minilte.run.build import build
from minilte.settings.config import Config

KINDS = ["iid", "by-class", "dirichlet:1.5"]


def data(n=120, classes=4, seed=0):
    """Rows whose only number is their index."""
    y = stream(seed, "check").integers(0, classes, n)
    x = np.arange(float(n))[:, None]
    return Dataset(x, y, x, y, classes, "made")


def counted(rows, y, classes=4):
    return [np.bincount(y[shard], minlength=classes) for shard in rows]


# ---------------------------------------------------------------- who has which rows


@pytest.mark.parametrize("kind", KINDS)
@given(clients=st.integers(1, 6), seed=st.integers(0, 20))
def test_every_row_has_a_single_client_whatever_the_kind(kind, clients, seed):
    rows = (
        dealt(kind, data(seed=seed), clients, seed)
        if kind != "dirichlet:1.5"
        else dirichlet(data(seed=seed), clients, seed)
    )
    assert sorted(np.concatenate(rows).tolist()) == list(range(120)) and len(rows) == clients
    again = (
        dealt(kind, data(seed=seed), clients, seed)
        if kind != "dirichlet:1.5"
        else dirichlet(data(seed=seed), clients, seed)
    )
    assert all(np.array_equal(a, b) for a, b in zip(rows, again, strict=True))


def dirichlet(made, clients, seed):
    """Shards that are nearly alike, so that none is empty."""
    return dealt("dirichlet:1000", made, clients, seed)


def test_shards_by_class_have_few_classes_and_equal_sizes_and_iid_shards_all():
    made = data()
    by_class, alike = (counted(dealt(kind, made, 4, 0), made.y_train) for kind in ("by-class", "iid"))
    assert [sum(each) for each in by_class] == [sum(each) for each in alike] == [30] * 4
    assert (
        max(np.count_nonzero(each) for each in by_class) <= 3 and min(np.count_nonzero(each) for each in alike) == 4
    )
    firsts = [int(np.flatnonzero(each)[0]) for each in by_class]
    assert firsts == sorted(firsts) and firsts[0] == 0


def test_dirichlet_shards_are_the_less_alike_the_smaller_the_number():
    made, spread = data(n=4000), []
    for a in (0.3, 3.0, 300.0):
        parts = np.array([counted(dealt(f"dirichlet:{a}", made, 5, seed), made.y_train) for seed in range(8)], float)
        spread.append(np.mean(np.std(parts / parts.sum(axis=1, keepdims=True), axis=1)))  # of a class over the shards
        if a == 300:
            np.testing.assert_allclose(parts.sum(axis=2), 800, rtol=0.1)
    # of Dirichlet(a, a, a, a, a) a part has mean 1/5 and variance (1/5)(4/5) / (5 a + 1)
    np.testing.assert_allclose(spread, [np.sqrt(0.16 / (5 * a + 1)) for a in (0.3, 3.0, 300.0)], rtol=0.25)


def test_other_seeds_deal_otherwise():
    made = data()
    for kind in KINDS:
        one, other = dealt(kind, made, 3, 0), dealt(kind, made, 3, 1)
        assert any(len(a) != len(b) or not np.array_equal(a, b) for a, b in zip(one, other))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(shards="dirichlet:0"), "shards: expected iid, by-class, or dirichlet:NUMBER with a number above 0"),
        (dict(shards="dirichlet:x"), "got 'dirichlet:x'"),
        (dict(shards="dirichlet:inf"), "number above 0"),
        (dict(shards="alike"), "expected iid, by-class"),
        (dict(head_data="same", shards="by-class"), "head-data same: the heads share every batch"),
        (dict(head_data="same", clients=9), "head-data same"),
        (dict(shard_sizes=(0.5, 0.5), heads=3), "shard-sizes: expected a part for each of 3 heads"),
        (dict(shard_sizes=(0.5, 0.5), heads=2, shards="by-class"), "with --shards iid and no --clients"),
        (dict(shard_sizes=(0.5, 0.0), heads=2), "shard-sizes: expected a number above 0"),
        (dict(clients=3, heads=4), "clients: expected at least the 4 heads, got 3"),
        (
            dict(merge_rule="weighted", shares=(0.5, 0.5), heads=2),
            "shares: merge-rule weighted has shares of its own",
        ),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(BadInput, match=words.replace("(", r"\(")):
        Config(**settings)


def test_shards_that_the_data_cannot_fill_are_refused():
    with pytest.raises(
        BadInput, match="^shards dirichlet:0.001: leaves shard [0-9]+ of 9 without a sample; take a larger"
    ):
        dealt("dirichlet:0.001", data(), 9, 0)
    with pytest.raises(BadInput, match="^clients: 121 need as many samples, there are 120"):
        dealt("iid", data(), 121, 0)
    for kind in ("by-class", "dirichlet:1"):
        with pytest.raises(BadInput, match=f"^shards {kind}: expected data with classes, got a regression"):
            build(tiny.config(shards=kind))


# ---------------------------------------------------------------- who reads what


@given(st.integers(1, 9), st.integers(0, 50), st.integers(1, 30))
def test_a_stretch_is_what_an_endless_sequence_has_there(n, start, count):
    order = lambda epoch: np.roll(np.arange(n), epoch)  # noqa: E731
    endless = np.concatenate([order(epoch) for epoch in range(90 // n + 2)])
    assert np.array_equal(stretch(order, n, start, count), endless[start : start + count])


@given(st.integers(1, 60), st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_sizes_are_whole_at_least_one_and_near_their_part(total, parts):
    total += len(parts)
    sizes, ideal = proportional(total, parts), total * np.array(parts) / sum(parts)
    assert sum(sizes) == total and min(sizes) >= 1
    if ideal.min() >= 1:
        assert np.abs(sizes - ideal).max() < 1


@given(seed=st.integers(0, 5), kind=st.sampled_from(KINDS[:2]))
def test_a_head_reads_every_row_of_its_own_once_an_epoch_and_no_other(kind, seed):
    made = data()
    shards = dealt(kind, made, 3, seed)
    take = shard_batches(made, shards, [7, 7, 7], seed, every=4)
    for head, mine in enumerate(shards):
        read = np.concatenate([take(head, step)[0][:, 0] for step in range(12)]).astype(int)
        assert sorted(read[:40]) == sorted(mine) and sorted(read[40:80]) == sorted(mine)  # 40 rows a shard
        assert not np.array_equal(read[:40], read[40:80])
        x, y = take(head, 5)
        assert np.array_equal(y, made.y_train[x[:, 0].astype(int)])


@given(st.integers(0, 5), st.integers(1, 12))
def test_each_round_draws_other_clients_without_repeating_any(seed, heads):
    rounds = [drawn(seed, round, 12, heads) for round in range(200)]
    assert all(len(set(clients)) == heads for clients in rounds)
    if heads < 12:
        assert len({frozenset(clients) for clients in rounds}) > 1
        assert set().union(*rounds) == set(range(12))
    else:
        assert set(rounds) == {tuple(range(12))}


def test_a_head_is_one_client_from_merge_to_merge():
    made = data()
    shards = dealt("iid", made, 10, 1)
    owner = {int(row): client for client, rows in enumerate(shards) for row in rows}
    take = shard_batches(made, shards, [2, 2, 2], 1, every=5)
    for round in range(6):
        for head in range(3):
            read = np.concatenate([take(head, step)[0][:, 0] for step in range(5 * round, 5 * round + 5)])
            assert {owner[int(row)] for row in read} == {drawn(1, round, 10, 3)[head]}


def test_a_client_reads_no_row_twice_in_an_epoch_whichever_head_it_is():
    made, read, was = data(), {client: [] for client in range(4)}, set()
    take = shard_batches(made, dealt("iid", made, 4, 1), [3, 3], 1, every=1)
    for step in range(10):  # an epoch of 30 rows
        for head, client in enumerate(drawn(1, step, 4, 2)):
            read[client] += take(head, step)[0][:, 0].tolist()
            was.add((client, head))
    assert len(was) > 4  # some were both heads
    assert all(len(set(rows)) == len(rows) for rows in read.values())


# ---------------------------------------------------------------- in a run


def test_alike_shards_of_equal_size_are_the_blocks_of_a_shuffled_sequence():
    made = data()
    plain, pieces = (Workers(heads=3, batch=12, shard_sizes=sizes).deal(made, 0, 1) for sizes in ((), (2, 2, 2)))
    assert plain.shards == pieces.shards and plain.said == pieces.said == ()
    assert all(np.array_equal(plain.batch(n, t)[0], pieces.batch(n, t)[0]) for n in range(3) for t in range(20))


def test_parts_of_the_batch_have_their_sizes_and_are_the_whole_batch_together():
    made = data()
    unequal, plain = Workers(heads=3, batch=12, shard_sizes=(0.5, 0.3, 0.2)), Workers(heads=1, batch=12)
    dealt_, whole = unequal.deal(made, 0, 1), plain.deal(made, 0, 1)
    assert dealt_.shards == (6 / 12, 4 / 12, 2 / 12)
    for step in range(12):
        mine = [dealt_.batch(n, step)[0] for n in range(3)]
        assert [len(x) for x in mine] == [6, 4, 2] and np.array_equal(np.concatenate(mine), whole.batch(0, step)[0])


def test_a_larger_shard_has_a_larger_part_of_every_batch_and_its_size_is_said():
    dealt_ = Workers(heads=4, batch=40, shards="dirichlet:1").deal(data(), 3, 10)
    rows = [len(shard) for shard in dealt("dirichlet:1", data(), 4, 3)]
    np.testing.assert_allclose(dealt_.shards, np.array(rows) / 120, atol=1 / 40)
    assert [len(dealt_.batch(n, 0)[0]) for n in range(4)] == proportional(40, rows)
    (said,) = dealt_.said
    assert said.startswith(f"4 shards of {min(rows)} to {max(rows)} rows, ") and "of 4 classes in each" in said


@pytest.mark.parametrize(
    "settings", [dict(shards="dirichlet:2"), dict(shards="by-class", clients=7), dict(shard_sizes=(3, 1))]
)
def test_the_bits_do_not_depend_on_the_processes_and_the_shares_may_follow_the_data(tmp_path, settings):
    settings |= dict(
        data="fashion-mini", batch=20, heads=2, merge_rule="weighted", model="linear", rank=2, eval_every=6
    )
    alone, path = tiny.go_on(tiny.begin(tmp_path / "one", **settings)), tiny.begin(tmp_path / "two", **settings)
    (together, _) = threads.run(2, lambda transport: tiny.go_on(path, transport))
    assert together["weights_sha256"] == alone["weights_sha256"]
    config = tiny.config(**settings)
    built = build(config)
    assert weighed(built.task, config) == list(built.task.shards)
    alike = build(config.replace(shards="iid", clients=0, shard_sizes=()))
    assert not np.array_equal(built.task.batch(0, 0)[0], alike.task.batch(0, 0)[0])


@pytest.mark.parametrize(("method", "round_"), [(dict(merge_every=4, rank=2), 4), (dict(method="full"), 1)])
def test_a_head_is_the_same_client_for_a_whole_round_of_the_method(method, round_):
    """A step is a round where nothing is merged less often."""
    settings = dict(data="fashion-mini", model="linear", heads=2, batch=4, shards="by-class", clients=10, **method)
    built = build(Config(**settings))
    kinds = [{n: set(built.task.batch(n, step)[1].tolist()) for n in range(2)} for step in range(24)]
    for start in range(0, 24, round_):
        for n in range(2):  # ten clients, two classes each
            assert len(set().union(*(kinds[step][n] for step in range(start, start + round_)))) <= 2
    assert len(set().union(*(step[0] for step in kinds))) > 4
