"""What a run cost: bytes sent and bytes held, each beside what full-rank data parallel training needs."""

from collections import Counter
from collections.abc import Sequence

from minilte.comm.buffers import nbytes, payload
from minilte.comm.communicator import Ranks
from minilte.comm.traffic import all_to_all, ring
from minilte.core import tree
from minilte.core.types import Head, Tree
from minilte.run.build import Parts


def bytes_sent(comm: Ranks, parts: Parts, before: dict[str, int], steps: int) -> dict:
    """Payload bytes by rank, by kind and in all, counted; and by formula what dense gradients would have cost.

    `before` is what was sent before a resume, by ranks that are gone: it is in `total` and `by_kind`, not in
    `per_rank`. Headers are counted apart. Every rank calls. Evaluation, agreement and checkpoints are not training
    traffic and are left out.
    """
    by_rank = sent_by_rank(comm)
    kinds = added([before, *by_rank])
    dense = nbytes(parts.task.weights) * steps
    return {
        "per_rank": [payload(sent) for sent in by_rank],
        "before_resume": payload(before),
        "total": payload(kinds),
        "by_kind": {kind: size for kind, size in kinds.items() if kind != "headers" and size},
        "headers": kinds.get("headers", 0),
        "full_rank_ring": ring(comm.size, dense),
        "full_rank_all_to_all": all_to_all(comm.size, dense),
    }


def sent_by_rank(comm: Ranks) -> list[dict[str, int]]:
    """What each rank has sent so far, by kind; of a rank that is late nothing is known. Every rank calls."""
    return [sent or {} for sent in comm.transport.objects(dict(comm.sent))]


def added(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """The sum of some counts by kind."""
    return dict(sum(map(Counter, counts), Counter()))


def memory(parts: Parts, main: Tree, head: Tree) -> dict:
    """Bytes that a worker with one head holds between steps, and what a full-rank worker would hold.

    Where every rank merges, it holds the V_n of all heads; under a master, or with dense sums, its own.
    """
    lte, dense = isinstance(head, Head), tree.nbytes(parts.task.weights)
    trained = (head.now, head.replica) if lte else main.trained
    own = trained is not parts.task.weights and not same_shapes(trained, parts.task.weights)
    held = {
        "weights": parts.seen or dense,
        "adapters": tree.nbytes(trained) if own else 0,
        "merged_factors": tree.nbytes(head.then if parts.master else main.then or head.then) if lte else 0,
        "gradients": tree.nbytes(trained),
        "optimizer": tree.nbytes(head.opt if lte else main.opt),
    }
    state = tree.nbytes(parts.task.optimizer.init(parts.task.weights))
    return {**held, "total": sum(held.values()), "full_rank_total": 2 * dense + state}


def same_shapes(a: Tree, b: Tree) -> bool:
    """Do two trees have the same paths and shapes?"""
    return [(path, leaf.shape) for path, leaf in tree.named(a)] == [
        (path, leaf.shape) for path, leaf in tree.named(b)
    ]


def human(count: float) -> str:
    """1234567 -> "1.2 MB"; powers of ten."""
    if count < 999.5:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        count /= 1000
        if count < 999.95:  # more would round to 1000.0
            break
    return f"{count:.1f} {unit}"
