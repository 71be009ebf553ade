"""What travels, as formulas: numbers sent by all workers together. Multiply by the size of a number in bytes."""


def ring(workers: int, numbers: int) -> int:
    """A ring all-reduce: every worker sends 2 (N-1)/N of the vector."""
    return 2 * (workers - 1) * numbers


def all_to_all(workers: int, numbers: int) -> int:
    """Everyone sends the whole vector to everyone else."""
    return workers * (workers - 1) * numbers
