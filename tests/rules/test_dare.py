"""DARE against its definition, with whole masks; what it is in the mean over them; for whole runs against dense heads."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, count, product

import numpy as np
import pytest
import tiny
from dense import by_rule
from support import OPTIMIZERS, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core.errors import BadInput
from minilte.core.lora import ROWS
from minilte.core.lte import lte
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Sent
from minilte.laws import LAWS, Variant, oracle, try_law
from minilte.rules.dare import dare, mask, plus_kept
from minilte.rules.outer import outer
from minilte.steps.adamw import adamw

W, SEED = [0.5, 0.2, 0.3], 11


def stays(drop, seed, head, merge, layer, shape):
    """The mask of a whole layer: the stream of head and merge, so many jumps on, in one draw."""
    bits = stream(seed, "dare", head, merge).bit_generator.jumped(layer)
    return np.random.Generator(bits).random(shape) >= drop


def masked(drop, layers=3):
    """The change of W, written out; it is asked layer by layer, merge by merge."""
    asked = count()

    def merged(moves, w):
        merge, layer = divmod(next(asked), layers)
        kept = [stays(drop, SEED, n, merge, layer, D.shape) * D / (1 - drop) for n, D in enumerate(moves)]
        return sum(w_n * D for w_n, D in zip(w, kept, strict=True))

    return merged


def drawn(m, n, ranks, seed=0):
    draw = stream(seed, "check").standard_normal
    return draw((m, n)), [Adapter(draw((r, n)), draw((m, r))) for r in ranks]


def test_a_case_by_hand():
    moves = [Adapter(np.array([[4.0, 8.0, 16.0]]), np.ones((1, 1))), Adapter(np.ones((1, 3)), np.ones((1, 1)))]
    first, second = (mask(0.75, (1, 2, 0), head, 0, (1, 3)) for head in (0, 1))
    expected = [[10 + 0.5 * 4 * a * x + 0.5 * 4 * b for a, b, x in zip(first[0], second[0], (4, 8, 16))]]
    assert plus_kept(np.full((1, 3), 10.0), moves, [0.5, 0.5], 0.75, (1, 2, 0)).tolist() == expected


@pytest.mark.parametrize("drop", [0.1, 0.5, 0.9])
def test_over_seeds_and_merges_it_is_the_mean_with_the_variance_that_it_says(drop):
    _, moves = drawn(3, 4, [2, 1, 2])
    keys = list(product(range(20), range(15), range(2)))  # seeds, merges, layers
    draws = np.array([plus_kept(np.zeros((3, 4)), moves, W, drop, key) for key in keys])
    changes = [B @ A for A, B in moves]
    mean = sum(w * D for w, D in zip(W, changes))
    variance = drop / (1 - drop) * sum((w * D) ** 2 for w, D in zip(W, changes))
    squares = (draws - mean) ** 2
    # 4.5 standard errors for each of 12 entries; at drop 0.5 a head alone has the same square whatever its mask
    assert (abs(draws.mean(0) - mean) < 4.5 * np.sqrt(variance / len(keys))).all()
    assert (abs(squares.mean(0) - variance) < 4.5 * squares.std(0) / np.sqrt(len(keys)) + 1e-12).all()


def test_no_two_masks_have_anything_in_common():
    sizes, starts, drop = (ROWS, 7), (0, ROWS, 2 * ROWS), 0.3
    keys = product((0, 1), (0, 1), (0, 1))  # seed, merge, layer
    masks = [mask(drop, key, head, start, sizes) for key in keys for head in (0, 1) for start in starts]
    agree = np.array([(one == other).mean() for one, other in combinations(masks, 2)])
    chance = drop**2 + (1 - drop) ** 2
    error = np.sqrt(chance * (1 - chance) / (ROWS * 7))
    assert len(agree) == 48 * 47 / 2 and (abs(agree - chance) < 4.5 * error).all()
    assert all(abs(one.mean() - (1 - drop)) < 4.5 * np.sqrt(drop * (1 - drop) / one.size) for one in masks)


@pytest.mark.parametrize("m", [1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 88])
def test_blocks_of_rows_are_parts_of_one_mask_with_the_same_bits_on_any_threads(m):
    start, moves = drawn(m, 7, [2, 1])
    got = plus_kept(start, moves, [0.4, 0.6], 0.3, (5, 9, 2))
    kept = [stays(0.3, 5, n, 9, 2, (m, 7)) * (B @ A) / 0.7 for n, (A, B) in enumerate(moves)]
    np.testing.assert_allclose(got, start + 0.4 * kept[0] + 0.6 * kept[1], atol=1e-12)  # rounding
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(plus_kept(start, moves, [0.4, 0.6], 0.3, (5, 9, 2), pool.map), got)


def test_its_memory_does_not_grow_with_the_heads():
    peaks = []
    for heads in (2, 12):
        start, moves = drawn(200, 200, [1] * heads)
        tracemalloc.start()
        plus_kept(start, moves, [1 / heads] * heads, 0.5, (0, 0, 0))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


# ---------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize(("reset", "drop"), [("none", 0.5), ("b", 0.3), ("ab", 0.8)])
def test_it_follows_the_dense_method(reset, drop, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    settings = oracle.Settings(task.rate, every=every, reset=reset, **extra)
    reference = by_rule(task, plan, W, settings, masked(drop))
    assert_same(trajectory(lte(task, plan, every, reset, w=W, rule=dare(drop, SEED)), 3), list(reference))


@pytest.mark.parametrize("rule", [dare(0.4, SEED), outer(rule=dare(0.4, SEED))], ids=["alone", "in an outer step"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(rule):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, w=W, rule=rule), 3, 10)


def test_without_drops_it_is_the_mean_and_in_a_plain_outer_step_it_is_itself():
    task, _ = make_task(adamw(), 0.01)
    path = lambda **rule: trajectory(lte(task, make_plan(task), 3, w=W, **rule), 3)  # noqa: E731
    assert_same(path(rule=dare(0.0)), path())
    assert_same(path(rule=outer(1.0, 0.0, dare(0.4, SEED))), path(rule=dare(0.4, SEED)))


def test_its_state_counts_merges_and_its_seed_is_that_of_the_run():
    task, _ = make_task(adamw(), 0.01)
    method = lte(task, make_plan(task), rule=dare())
    main, said = method.begin(), [method.tell(method.enter(n)) for n in range(3)]
    for merges in range(3):
        assert main.rule.dtype == np.int64 and main.rule.shape == () and main.rule == merges
        main = method.merge(main, said, 0, map)
    ends = [one_merge(tiny.config(merge_rule="dare", seed=seed)) for seed in (0, 1, 0)]
    assert np.array_equal(ends[0], ends[2]) and not np.array_equal(ends[0], ends[1])


def one_merge(config):
    rule, (start, moves) = config.rule.build(config), drawn(6, 5, [2])
    weights, sent = {"layer": Linear(start, None)}, [Sent({"layer": moves[0]}, {})]
    return rule.merge(rule.init(weights), weights, sent, None, [{"layer": 1.0}], [1.0], map)[0]["layer"].W


@pytest.mark.parametrize(
    ("name", "holds"),
    [*dict.fromkeys(("L1", "L2", "L3", "L9", "L10", "L13", "L15", "L20-order"), False).items(), ("L10-all", True)],
)
def test_the_laws_that_it_keeps_and_breaks(name, holds):
    assert try_law(LAWS[name], examples=10, variant=Variant(rule=dare()), shrink=False).holds == holds
    assert not dare().bounded and not dare().telescopes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(merge_rule="dare", drop=1.0), "drop: expected a number below 1, got 1"),
        (dict(drop=0.3), "drop: belongs to --merge-rule dare or --outer-over dare"),
        (dict(merge_rule="dare", topology="allreduce"), "merge-rule dare: needs what every head sends"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        tiny.config(**settings)
