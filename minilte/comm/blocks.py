"""Which process holds which heads, and which slice of a vector: in blocks, as equal as can be."""


def block(total: int, parts: int, index: int) -> range:
    """The block of `range(total)` that falls to `index`: sizes differ by one at most, the larger ones first.

    >>> [block(8, 3, process) for process in range(3)]  # 8 heads on 3 processes
    [range(0, 3), range(3, 6), range(6, 8)]
    """
    size, extra = divmod(total, parts)
    start = index * size + min(index, extra)
    return range(start, start + size + (index < extra))
