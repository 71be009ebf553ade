"""What a merge sends, by kind, from templates alone: the closed forms that counted bytes are held to."""

from minilte.comm.blocks import block
from minilte.comm.buffers import kinds, leaf_dtype, spans
from minilte.comm.meetings import MASTER
from minilte.core import tree
from minilte.core.method import Meeting, Method
from minilte.core.types import Tree
from minilte.cost.traffic import allgather, server


def merge_bytes(
    method: Method, meeting: Meeting, shown: Tree, heads: int, processes: int, step: int = 0
) -> dict[str, int]:
    """kind -> bytes of a merge over all processes, headers left out.

    `shown` is what heads see before the merge: templates suffice. Under a master a view goes down once more, before
    the first step.
    """
    blocks = [block(heads, processes, process) for process in range(processes)]
    if meeting is MASTER:
        return by_master(method, shown, heads, blocks, step)
    if method.adds:
        return by_slices(method.like(0, shown, step), blocks)
    said = [kinds(method.like(n, shown, step)) for n in range(heads)]
    return {kind: allgather(processes, sum(words[kind] for words in said)) for kind in said[0]}


def by_master(method: Method, shown: Tree, heads: int, blocks: list[range], step: int) -> dict[str, int]:
    """Up: what the heads of other processes say. Down: the view, to every process but the master."""
    away = [kinds(method.like(n, shown, step)) for n in range(len(blocks[0]), heads)]
    sent = {kind: 0 for kind in kinds(method.like(0, shown, step))}
    for said in away:
        for kind, size in said.items():
            sent[kind] += size
    for kind, size in kinds(method.frame()).items():
        sent[kind] = server(len(blocks), sent.get(kind, 0), size)
    return sent


def by_slices(like: Tree, blocks: list[range]) -> dict[str, int]:
    """A sum in head order: every process adds a slice of the vectors of all heads and sends the sum to the others."""
    total, size, sent = tree.size(like), leaf_dtype(like).itemsize, {}
    slices = [block(total, len(blocks), process) for process in range(len(blocks))]
    for kind, span in spans(like).items():
        inside = [len(range(max(s.start, span.start), min(s.stop, span.stop))) for s in slices]
        first = sum(len(own) * (len(span) - inside[process]) for process, own in enumerate(blocks))
        sent[kind] = size * (first + (len(blocks) - 1) * len(span))
    return sent
