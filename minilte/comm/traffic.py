"""What travels, as formulas: the units (numbers or bytes) that all ranks together hand to the others.

`ranks` is P; with a head on every rank P = N. Headers (losses, wishes) are counted apart, by `headers`.
"""

from collections.abc import Sequence


def share(total: int, parts: int, index: int) -> range:
    """The block of `range(total)` that falls to `index`: sizes differ by one at most, the larger ones first.

    >>> [share(8, 3, rank) for rank in range(3)]  # 8 heads on 3 ranks
    [range(0, 3), range(3, 6), range(6, 8)]
    """
    size, extra = divmod(total, parts)
    start = index * size + min(index, extra)
    return range(start, start + size + (index < extra))


def ring(ranks: int, units: int) -> int:
    """A ring all-reduce: every rank sends 2 (P-1)/P of the vector.

    >>> ring(8, 22_500_000), all_to_all(8, 22_500_000)  # a step of the paper's model, in numbers
    (315000000, 1260000000)
    """
    return 2 * (ranks - 1) * units


def all_to_all(ranks: int, units: int) -> int:
    """Everyone sends the whole vector to everyone else."""
    return ranks * (ranks - 1) * units


def allgather(ranks: int, units: int) -> int:
    """Everyone sends what its own heads hold to everyone else; `units` is what all heads hold together.

    >>> allgather(8, 8 * (52_324 + 522)) * 4 * 40  # the default run: 8 heads, float32, 40 merges; bytes
    473500160
    """
    return (ranks - 1) * units


def sliced(heads: Sequence[int], units: int) -> int:
    """A sum in head order: every rank adds one slice of the vectors of all heads, then all share the slices.

    `heads` counts those of each rank. About (P-1)/P N units and (P-1) units; a ring all-reduce where P = N.

    >>> sliced([1] * 8, 1000) == ring(8, 1000), sliced([4, 4], 1000)
    (True, 5000)
    """
    ranks = len(heads)
    first = sum(own * (units - len(share(units, ranks, rank))) for rank, own in enumerate(heads))
    return first + (ranks - 1) * units


def server(ranks: int, up: int, down: int) -> int:
    """Up: what the heads hold that do not live with the master. Down: the same to every rank but the master's."""
    return up + (ranks - 1) * down
