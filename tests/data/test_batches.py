from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.data.batches import _permutation, batches, rows
from minilte.data.dataset import Dataset


def sizes():
    """(n_train, batch, heads) that are admitted."""
    return st.integers(1, 40).flatmap(
        lambda n: st.integers(1, n).flatmap(
            lambda batch: st.tuples(st.just(n), st.just(batch), st.integers(1, batch))
        )
    )


def whole(n, batch, step, seed):
    return rows(n, batch, 1, 0, step, seed)


@given(sizes(), st.integers(0, 3), st.integers(0, 2))
def test_every_epoch_sees_every_sample_exactly_once(size, seed, epoch):
    n, batch, _ = size
    steps = -(-(epoch + 1) * n // batch)
    seen = np.concatenate([whole(n, batch, step, seed) for step in range(steps)])
    assert sorted(seen[epoch * n : (epoch + 1) * n]) == list(range(n))


@given(sizes(), st.integers(0, 100), st.integers(0, 3))
def test_own_blocks_in_head_order_are_the_whole_batch_for_any_number_of_heads(size, step, seed):
    n, batch, heads = size
    blocks = [rows(n, batch, heads, head, step, seed) for head in range(heads)]
    assert np.array_equal(np.concatenate(blocks), whole(n, batch, step, seed))
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1 and min(map(len, blocks)) >= 1


@given(sizes(), st.integers(0, 100), st.integers(0, 3))
def test_same_gives_every_head_the_whole_batch(size, step, seed):
    n, batch, heads = size
    for head in range(heads):
        assert np.array_equal(rows(n, batch, heads, head, step, seed, "same"), whole(n, batch, step, seed))


@given(sizes(), st.integers(0, 100), st.integers(0, 3))
def test_a_batch_has_its_size_and_stays_within_the_training_set(size, step, seed):
    n, batch, _ = size
    rows = whole(n, batch, step, seed)
    assert len(rows) == batch and rows.min() >= 0 and rows.max() < n


def test_epochs_and_seeds_have_permutations_of_their_own():
    first, second, other = whole(50, 50, 0, 0), whole(50, 50, 1, 0), whole(50, 50, 0, 1)
    assert not np.array_equal(first, second) and not np.array_equal(first, other)


def test_a_block_does_not_depend_on_what_was_asked_before():
    jobs = [(head, step) for step in range(40) for head in range(3)]
    forwards = [rows(30, 7, 3, *job, 5).tolist() for job in jobs]
    _permutation.cache_clear()
    backwards = [rows(30, 7, 3, *job, 5).tolist() for job in reversed(jobs)]
    assert backwards[::-1] == forwards


def test_heads_in_threads_get_what_they_get_alone():
    jobs = [(head, step) for step in range(60) for head in range(4)]
    alone = [rows(100, 12, 4, *job, 6).tolist() for job in jobs]
    _permutation.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda job: rows(100, 12, 4, *job, 6).tolist(), jobs)) == alone


def test_the_cached_permutation_cannot_be_written():
    before = whole(30, 30, 0, 0).copy()
    whole(30, 30, 0, 0)[0] = 7  # what a caller gets is the caller's own
    assert np.array_equal(whole(30, 30, 0, 0), before)
    with pytest.raises(ValueError, match="read-only"):
        _permutation(0, 0, 30)[0] = 7


def test_batches_takes_the_samples_of_the_block():
    x = np.arange(20.0).reshape(10, 2)
    take = batches(Dataset(x, np.arange(10), x, np.arange(10), 10, "made"), 6, 2, 7)
    x_head, y_head = take(1, 3)
    assert np.array_equal(y_head, rows(10, 6, 2, 1, 3, 7)) and np.array_equal(x_head, x[y_head])


@pytest.mark.parametrize(
    ("batch", "heads", "head_data", "message"),
    [
        (7, 8, "own", "batch 7 for 8 heads with own data, expected 8 to 10 .*set --batch 8$"),
        (11, 1, "own", "batch 11 for 1 heads with own data, expected 1 to 10"),
        (0, 1, "same", "batch 0 .* expected 1 to 10"),
        (5, 0, "own", "heads 0, expected at least 1"),
        (5, 1, "mine", "head data 'mine', expected own or same"),
    ],
)
def test_fewer_samples_than_one_a_head_and_other_misfits_are_refused(batch, heads, head_data, message):
    x = np.zeros((10, 1))
    with pytest.raises(BadInput, match=message):
        batches(Dataset(x, np.zeros(10, int), x, np.zeros(10, int), 2, "made"), batch, heads, 0, head_data)


def test_with_same_data_a_batch_may_be_smaller_than_the_number_of_heads():
    assert len(rows(10, 2, 8, 7, 0, 0, "same")) == 2
