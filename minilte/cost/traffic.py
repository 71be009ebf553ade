"""What travels, as formulas: the units (numbers or bytes) that all processes together send to the others.

`processes` is P; with a head on every process P = N. Headers (losses, wishes) are not among them.
"""

from collections.abc import Sequence

from minilte.comm.blocks import block


def slices(units: int, processes: int) -> list[int]:
    """How many units fall to each process, heads or numbers of a vector: in blocks, as equal as can be.

    >>> slices(8, 3)
    [3, 3, 2]
    """
    return [len(block(units, processes, process)) for process in range(processes)]


def ring(processes: int, units: int) -> int:
    """A ring all-reduce: every process sends 2 (P-1)/P of the vector.

    >>> ring(8, 22_500_000), all_to_all(8, 22_500_000)  # a step of the paper's model, in numbers
    (315000000, 1260000000)
    """
    return 2 * (processes - 1) * units


def all_to_all(processes: int, units: int) -> int:
    """Every process sends the whole vector to every other."""
    return processes * (processes - 1) * units


def allgather(processes: int, units: int) -> int:
    """Every process sends what its own heads hold to every other; `units` is what all heads hold together.

    >>> allgather(8, 8 * (52_324 + 522)) * 4 * 40  # the default run: 8 heads, float32, 40 merges; bytes
    473500160
    """
    return (processes - 1) * units


def sliced(heads: Sequence[int], sizes: Sequence[int]) -> int:
    """A sum in head order: every process adds a slice of the vectors of all heads and sends the sum to the others.

    `heads` counts those of each process, `sizes` the units of each slice; a ring all-reduce where P = N.

    >>> sliced([1] * 8, slices(1000, 8)) == ring(8, 1000), sliced([4, 4], [500, 500])
    (True, 5000)
    """
    units = sum(sizes)
    return sum(own * (units - size) for own, size in zip(heads, sizes)) + (len(heads) - 1) * units


def sliced_link(heads: Sequence[int], sizes: Sequence[int]) -> int:
    """Units of such a sum on the busiest link, in two phases.

    The slices may be slower in either direction; of the sums a process sends the largest P-1 times.
    """
    N, units = sum(heads), sum(sizes)
    add = max(max(own * (units - size), (N - own) * size) for own, size in zip(heads, sizes))
    return add + (len(heads) - 1) * max(sizes)


def server(processes: int, up: int, down: int) -> int:
    """`up` is what the heads of other processes send in all; `down` goes to every process but the master."""
    return up + (processes - 1) * down
