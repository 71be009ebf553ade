"""Which process holds which heads, and which slice of a vector: in blocks, as equal as can be."""


def block(total: int, parts: int, index: int) -> range:
    """The block of `range(total)` that falls to `index`: sizes differ by one at most, the larger ones first.

    >>> [block(8, 3, process) for process in range(3)]  # 8 heads on 3 processes
    [range(0, 3), range(3, 6), range(6, 8)]
    """
    size, extra = divmod(total, parts)
    start = index * size + min(index, extra)
    return range(start, start + size + (index < extra))


def rows_of_heads(total: int, heads: int, own: range) -> range:
    """The rows, of so many, that fall to some of the heads: those of a process follow from those of its heads.

    >>> [rows_of_heads(5, 8, block(8, 2, process)) for process in range(2)]
    [range(0, 4), range(4, 5)]
    """
    start, stop = (block(total, heads, end).start for end in (own.start, own.stop))
    return range(start, stop)
