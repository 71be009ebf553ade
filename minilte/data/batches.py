"""Which samples a head sees at a step: a pure function of (seed, head, step), whatever the processes.

The training set is read as an endless sequence, a fresh permutation every epoch. The cumulative batch of step t is
the places t b to (t + 1) b - 1 of that sequence. So every sample comes once an epoch, and the batch does not depend
on the number of heads: the shards of N heads are together the batch of a single head (law L11).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from minilte.comm.blocks import block
from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Array
from minilte.data.dataset import Dataset
from minilte.data.shards import concentration, dealt, proportional, shard_batches, stretch
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part

HEAD_DATA = ("own", "same")


class Dealt(NamedTuple):
    """What the workers train on."""

    batch: Callable[[int, int], tuple[Array, Array]]  # (head, step) -> x (b_n, n), y
    shards: tuple[float, ...]  # b_n / b
    said: tuple[str, ...] = ()  # of shards that are not alike, in words


@part("workers", "workers")
class Workers:
    """The workers of every method, and how the cumulative batch is split among them."""

    heads: int = knob(8, "heads N, the workers among which the batch is split", least=1, most=100_000)
    batch: int = knob(512, "samples a step, over all heads together", least=1, most=MOST)
    head_data: str = knob("own", "each head its block of the batch, or all the whole batch", choices=HEAD_DATA)
    shards: str = knob("iid", "whose rows the heads have: all alike, by-class, or dirichlet:0.3")
    shard_sizes: tuple[float, ...] = knob((), "parts of the batch of each head, as 0.5,0.3,0.2", above=0.0)
    clients: int = knob(0, "shards, of which each round draws one for each head; 0: the heads", least=0, most=MOST)

    def check(self):
        if self.batch < self.heads and self.head_data == "own":
            raise BadInput(f"batch: expected at least one sample for each of {self.heads} heads, got {self.batch}")
        if self.shards not in ("iid", "by-class"):
            concentration(self.shards)
        if self.head_data == "same" and (self.unlike or self.shard_sizes):
            raise BadInput(
                "head-data same: the heads share every batch, so --shards, --shard-sizes and --clients fall away"
            )
        if self.shard_sizes and (self.unlike or len(self.shard_sizes) != self.heads):
            raise BadInput(
                f"shard-sizes: expected a part for each of {self.heads} heads with --shards iid and no --clients, got"
                f" {len(self.shard_sizes)}"
            )
        if 0 < self.clients < self.heads:
            raise BadInput(f"clients: expected at least the {self.heads} heads, got {self.clients}")

    @property
    def unlike(self) -> bool:
        """Has each head rows of its own, rather than a block of every batch?"""
        return self.shards != "iid" or self.clients > self.heads

    def deal(self, data: Dataset, seed: int, every: int) -> Dealt:
        """The batches of every head, in rounds of `every` steps. Raises BadInput."""
        sizes = proportional(self.batch, self.shard_sizes) if self.shard_sizes else ()
        batch = batches(data, self.batch, self.heads, seed, self.head_data, sizes)
        if not self.unlike:
            own = sizes or [len(block(self.batch, self.heads, n)) for n in range(self.heads)]
            return Dealt(batch, fractions(own if self.head_data == "own" else [1] * self.heads))
        shards = dealt(self.shards, data, self.clients or self.heads, seed)
        rows = [len(shard) for shard in shards]
        sizes = proportional(self.batch, rows if len(shards) == self.heads else [1] * self.heads)
        classes = [len(np.unique(data.y_train[shard])) for shard in shards] if data.classes else [0]
        said = f"{len(shards)} shards of {min(rows):,} to {max(rows):,} rows"
        said += f", {min(classes)} to {max(classes)} of {data.classes} classes in each" if data.classes else ""
        return Dealt(shard_batches(data, shards, sizes, seed, every), fractions(sizes), (said,))


def fractions(sizes: Sequence[int]) -> tuple[float, ...]:
    """b_n / b of each head."""
    return tuple(size / sum(sizes) for size in sizes)


def batches(
    data: Dataset, batch: int, heads: int, seed: int, head_data: str = "own", sizes: Sequence[int] = ()
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
        mine = rows(n_train, batch, heads, head, step, seed, head_data, sizes)
        return data.x_train[mine], data.y_train[mine]

    return samples


def rows(
    n_train: int, batch: int, heads: int, head: int, step: int, seed: int, head_data: str = "own",
    sizes: Sequence[int] = (),
) -> Array:  # fmt: skip
    """Indices into the training set for one head at one step, of a batch that `batches` admits.

    own    the head's `block` of the cumulative batch, or its piece of these sizes; in head order they are the whole
    same   the whole cumulative batch
    """
    whole = stretch(lambda epoch: _permutation(seed, epoch, n_train), n_train, step * batch, batch)
    if head_data == "same":
        return whole
    mine = range(sum(sizes[:head]), sum(sizes[: head + 1])) if sizes else block(batch, heads, head)
    return whole[mine.start : mine.stop]


@lru_cache(maxsize=4)  # heads run in threads: two misses at once draw the same permutation
def _permutation(seed: int, epoch: int, n_train: int) -> Array:
    order = stream(seed, "batch", epoch).permutation(n_train)
    order.flags.writeable = False  # all callers get this array
    return order
