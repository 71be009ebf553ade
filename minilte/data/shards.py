"""Shards: whose rows the heads train on, alike or not. A pure function of the data and the seed, whatever the processes.

    iid          each batch is a stretch of one shuffled sequence, cut among the heads: all see the same mixture
    by-class     the rows in the order of their labels, cut into equal shards (McMahan et al. 2017, section 3)
    dirichlet:a  of each class a part p_n goes to shard n, p ~ Dirichlet(a, …, a): the smaller a, the less alike in kind
                 and in size (Li et al. 2022, section 4.1)

A head of larger data has a larger part of every batch, b_n in proportion, so all pass through theirs in the same time.
With more clients than heads each round draws who of them the heads are; the others do nothing, and send nothing, and
all heads have equal parts of the batch, whoever they are: a client of fewer rows reads some again.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from minilte.comm.blocks import block
from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Array
from minilte.data.dataset import Dataset


def concentration(word: str) -> float:
    """The number behind `dirichlet:`. Raises BadInput for anything that names no shards."""
    kind, _, number = word.partition(":")
    try:
        if kind == "dirichlet" and 0 < float(number) < float("inf"):
            return float(number)
    except ValueError:
        pass
    raise BadInput(f"shards: expected iid, by-class, or dirichlet:NUMBER with a number above 0, got {word!r:.60}")


def dealt(word: str, data: Dataset, clients: int, seed: int) -> list[Array]:
    """Indices into the training set for each client. Raises BadInput where a shard is empty."""
    rng, n = stream(seed, "shards"), len(data.x_train)
    if clients > n:
        raise BadInput(f"clients: {clients} need as many samples, there are {n} to train on")
    if word != "iid" and data.classes is None:
        raise BadInput(f"shards {word}: expected data with classes, got a regression")
    order = rng.permutation(n)
    if word == "by-class":
        order = order[np.argsort(data.y_train[order], kind="stable")]
    if word in ("iid", "by-class"):
        return [order[piece.start : piece.stop] for piece in (block(n, clients, client) for client in range(clients))]
    shards = by_dirichlet(order, data.y_train[order], concentration(word), clients, rng)
    for client, rows in enumerate(shards):
        if not len(rows):
            raise BadInput(
                f"shards {word}: leaves shard {client} of {clients} without a sample; take a larger number, fewer"
                " shards, or another seed"
            )
    return shards


def by_dirichlet(order: Array, labels: Array, a: float, clients: int, rng: np.random.Generator) -> list[Array]:
    """The rows of each class cut among the clients by p ~ Dirichlet(a, …, a).    (n),(n)->(n_1), (n_2) …"""
    parts = []
    for label in np.unique(labels):
        rows, p = order[labels == label], rng.dirichlet([a] * clients)
        parts.append(np.split(rows, np.round(np.cumsum(p)[:-1] * len(rows)).astype(int)))
    return [np.concatenate(pieces) for pieces in zip(*parts)]


def shard_batches(
    data: Dataset, shards: Sequence[Array], sizes: Sequence[int], seed: int, every: int
) -> Callable[[int, int], tuple[Array, Array]]:
    """The function (head, step) -> (x, y): b_n samples of the client that the head is in this round of `every` steps."""

    def samples(head: int, step: int) -> tuple[Array, Array]:
        client, b = drawn(seed, step // every, len(shards), len(sizes))[head], sizes[head]
        n = len(shards[client])
        rows = shards[client][stretch(lambda epoch: shuffled(seed, client, epoch, n), n, step * b, b)]
        return data.x_train[rows], data.y_train[rows]

    return samples


@lru_cache(maxsize=64)
def drawn(seed: int, round: int, clients: int, heads: int) -> tuple[int, ...]:
    """Which client each head is in a round; head n is client n where there are no more of them."""
    if clients == heads:
        return tuple(range(heads))
    return tuple(stream(seed, "clients", round).permutation(clients)[:heads].tolist())


@lru_cache(maxsize=1024)
def shuffled(seed: int, client: int, epoch: int, n: int) -> Array:
    """The order in which a client reads its n rows in an epoch."""
    order = stream(seed, "shard order", client, epoch).permutation(n)
    order.flags.writeable = False  # all callers get this array
    return order


def stretch(order: Callable[[int], Array], n: int, start: int, count: int) -> Array:
    """The places start … start + count - 1 of an endless sequence, epoch after epoch a permutation of n."""
    parts = []
    while count:
        epoch, at = divmod(start, n)
        parts.append(order(epoch)[at : at + count])
        start, count = start + len(parts[-1]), count - len(parts[-1])
    return np.concatenate(parts)


def proportional(total: int, parts: Sequence[float]) -> list[int]:
    """Whole numbers of at least 1 that sum to `total`, as near to the parts as can be.

    >>> proportional(10, [0.5, 0.26, 0.24]), proportional(4, [98, 1, 1])
    ([5, 3, 2], [2, 1, 1])
    """
    ideal = total * np.asarray(parts, float) / sum(parts)
    sizes = np.maximum(1, np.floor(ideal)).astype(int)
    while rest := total - int(sizes.sum()):
        sizes[np.argmax(np.where(sizes + np.sign(rest) >= 1, np.sign(rest) * (ideal - sizes), -np.inf))] += np.sign(
            rest
        )
    return sizes.tolist()
