"""What a merge sends, by kind, from templates alone: the closed forms that counted bytes are held to."""

from collections import Counter

from minilte.comm.blocks import block, rows_of_heads
from minilte.comm.buffers import kinds, leaf_dtype, payload, spans
from minilte.comm.meetings import MASTER
from minilte.core import tree
from minilte.core.method import Meeting, Method
from minilte.core.types import Tree
from minilte.cost.traffic import allgather, server, sliced, sliced_link, slices


def merge_bytes(
    method: Method, meeting: Meeting, shown: Tree, heads: int, processes: int, step: int = 0
) -> dict[str, int]:
    """kind -> bytes of a merge over all processes, headers left out.

    `shown` is what heads see before the merge: templates suffice. Under a master a view goes down once more, before
    the first step.
    """
    own = slices(heads, processes)
    like, master = method.like(0, shown, step), meeting is MASTER
    if method.answer:
        return {kind: sliced(own, sizes) for kind, sizes in by_rows(like, own).items()}
    if method.adds and not master:
        return by_slices(like, own)
    sent = Counter(dict.fromkeys(kinds(like), 0))
    for n in range(own[0] if master else 0, heads):
        sent.update(kinds(method.like(n, shown, step)))
    if not master:
        return {kind: allgather(processes, size) for kind, size in sent.items()}
    down = kinds(method.frame())
    return {kind: server(processes, sent[kind], down.get(kind, 0)) for kind in {**sent, **down}}


def link_bytes(method: Method, meeting: Meeting, shown: Tree, heads: int, step: int = 0) -> int:
    """Bytes of a merge through the busiest link, summed over its phases: a head a process, each with its own link.

    The busiest link decides how long a phase lasts; that of a master carries all that is sent. Headers left out.
    """
    if meeting is MASTER:
        return sum(merge_bytes(method, meeting, shown, heads, heads, step).values())
    like = method.like(0, shown, step)
    if method.answer:
        return sliced_link([1] * heads, [sum(sizes) for sizes in zip(*by_rows(like, [1] * heads).values())])
    if method.adds:
        return leaf_dtype(like).itemsize * sliced_link([1] * heads, slices(tree.size(like), heads))
    return allgather(heads, max(payload(kinds(method.like(n, shown, step))) for n in range(heads)))


def first_view_bytes(method: Method, meeting: Meeting, processes: int) -> int:
    """Bytes of the view that a master sends down before the first step; none where there is no master."""
    return (processes - 1) * payload(kinds(method.frame())) if meeting is MASTER else 0


def by_slices(like: Tree, own: list[int]) -> dict[str, int]:
    """A sum in head order, by kind; a slice of the vector may hold numbers of several kinds."""
    blocks, sent = [block(tree.size(like), len(own), process) for process in range(len(own))], {}
    for kind, span in spans(like).items():
        sizes = [len(range(max(piece.start, span.start), min(piece.stop, span.stop))) for piece in blocks]
        sent[kind] = leaf_dtype(like).itemsize * sliced(own, sizes)
    return sent


def by_rows(like: dict, own: list[int]) -> dict[str, list[int]]:
    """kind -> bytes of each process's slice of a sum in rows, of which that of a process is that of its heads."""
    blocks = [block(sum(own), len(own), process) for process in range(len(own))]
    return {
        kind: [len(rows_of_heads(len(rows), sum(own), of)) * rows.shape[1] for of in blocks]
        for kind, rows in like.items()
    }
