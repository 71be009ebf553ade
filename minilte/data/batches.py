"""Which samples a head sees at a step: a pure function of (seed, head, step), whatever the processes.

The training set is read as an endless sequence, a fresh permutation every epoch. The cumulative batch of step t is
the places t b to (t + 1) b - 1 of that sequence. So every sample comes once an epoch, and the batch does not depend
on the number of heads: the shards of N heads are together the batch of a single head (law L11).
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from minilte.comm.blocks import block
from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Array
from minilte.data.dataset import Dataset
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part

HEAD_DATA = ("own", "same")


@part("workers", "workers")
class Workers:
    """The workers of every method, and how the cumulative batch is split among them."""

    heads: int = knob(8, "heads N, the workers among which the batch is split", least=1, most=100_000)
    batch: int = knob(512, "samples a step, over all heads together", least=1, most=MOST)
    head_data: str = knob("own", "each head its block of the batch, or all the whole batch", choices=HEAD_DATA)

    def check(self):
        if self.batch < self.heads and self.head_data == "own":
            raise BadInput(f"batch: expected at least one sample for each of {self.heads} heads, got {self.batch}")


def batches(
    data: Dataset, batch: int, heads: int, seed: int, head_data: str = "own"
) -> Callable[[int, int], tuple[Array, Array]]:
    """The function (head, step) -> (x, y) that takes `rows`'s samples out of the training set.

    Raises BadInput for a batch above the training set, or too small to give each head a sample.
    """
    n_train, least = len(data.x_train), heads if head_data == "own" else 1
    if head_data not in HEAD_DATA:
        raise BadInput(f"head data {head_data!r}, expected {' or '.join(HEAD_DATA)}")
    if heads < 1:
        raise BadInput(f"heads {heads}, expected at least 1")
    if least > n_train:
        raise BadInput(f"heads: {heads} with data of their own need as many samples, there are {n_train} to train on")
    if not least <= batch <= n_train:
        raise BadInput(
            f"batch {batch} for {heads} heads with {head_data} data, expected {least} to {n_train}"
            f" (one sample a head, the size of the training set); set --batch {min(max(batch, least), n_train)}"
        )

    def samples(head: int, step: int) -> tuple[Array, Array]:
        mine = rows(n_train, batch, heads, head, step, seed, head_data)
        return data.x_train[mine], data.y_train[mine]

    return samples


def rows(n_train: int, batch: int, heads: int, head: int, step: int, seed: int, head_data: str = "own") -> Array:
    """Indices into the training set for one head at one step, of a batch that `batches` admits.

    own    the head's `block` of the cumulative batch; in head order they are the whole
    same   the whole cumulative batch
    """
    epoch, start = divmod(step * batch, n_train)
    whole = _permutation(seed, epoch, n_train)[start : start + batch]
    if len(whole) < batch:  # the rest is of the next epoch, and no later, since batch <= n_train
        whole = np.concatenate([whole, _permutation(seed, epoch + 1, n_train)[: batch - len(whole)]])
    mine = block(batch, heads, head)
    return whole if head_data == "same" else whole[mine.start : mine.stop]


@lru_cache(maxsize=4)  # heads run in threads: two misses at once draw the same permutation
def _permutation(seed: int, epoch: int, n_train: int) -> Array:
    order = stream(seed, "batch", epoch).permutation(n_train)
    order.flags.writeable = False  # all callers get this array
    return order
