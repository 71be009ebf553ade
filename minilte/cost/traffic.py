"""What travels, as formulas: the units (numbers or bytes) that all processes together hand to the others.

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


def sliced(heads: Sequence[int], units: int) -> int:
    """A sum in head order: every process adds a slice of the vectors of all heads and sends the sum to the others.

    `heads` counts those of each process. About (P-1)/P N units and (P-1) units; a ring all-reduce where P = N.

    >>> sliced([1] * 8, 1000) == ring(8, 1000), sliced([4, 4], 1000)
    (True, 5000)
    """
    processes = len(heads)
    first = sum(own * (units - size) for own, size in zip(heads, slices(units, processes)))
    return first + (processes - 1) * units


def server(processes: int, up: int, down: int) -> int:
    """Up: what the heads of other processes say. Down: the same to every process but the master."""
    return up + (processes - 1) * down
