"""What a run cost: bytes sent and bytes held, each beside what full-rank data parallel training needs."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from minilte.comm.buffers import payload
from minilte.comm.communicator import Communicator
from minilte.core import tree
from minilte.core.method import Method
from minilte.core.types import Array, Task, Tree
from minilte.cost.traffic import all_to_all, ring


def bytes_sent(comm: Communicator, task: Task, before: dict[str, int], steps: int) -> dict:
    """Payload bytes by process, by kind and in all, counted; and by formula those of dense gradients.

    `before` is what the processes before a resume sent: it is in `total` and `by_kind`, not in `per_process`. Headers
    are counted apart; evaluation, agreement and checkpoints are not training traffic. Every process calls.
    """
    by_process = sent_by_process(comm)
    kinds = added([before, *by_process])
    dense = tree.nbytes(task.weights) * steps
    return {
        "per_process": [payload(sent) for sent in by_process],
        "before_resume": payload(before),
        "total": payload(kinds),
        "by_kind": {kind: size for kind, size in kinds.items() if kind != "headers" and size},
        "headers": kinds.get("headers", 0),
        "full_rank_ring": ring(comm.size, dense),
        "full_rank_all_to_all": all_to_all(comm.size, dense),
    }


def sent_by_process(comm: Communicator) -> list[dict[str, int]]:
    """Bytes that each process has sent so far, by kind; {} for a process that is late. Every process calls."""
    return [sent or {} for sent in comm.transport.objects(dict(comm.sent))]


def added(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """The sum of the counts, by kind."""
    return dict(sum(map(Counter, counts), Counter()))


# of what a worker holds; "merged_factors" are V_n, or of a sum on a thin wire what a head has still to send
KINDS = ("weights", "adapters", "merged_factors", "rule", "gradients", "optimizer")


def memory(task: Task, method: Method, main: Tree, head: Tree, master: bool) -> dict:
    """Bytes that a worker with one head holds between steps, and what a full-rank worker would hold.

    Where every process merges, the worker holds the V_n of all heads; under a master, its own.
    """
    known = method.facts.held
    trees = known(main, head, not master) if known else {"weights": arrays(main), "adapters": arrays(head)}
    if odd := sorted(trees.keys() - set(KINDS)):
        raise ValueError(f"facts.held: expected kinds of {', '.join(KINDS)}, got {odd[0]!r}")
    held = {kind: tree.nbytes(trees.get(kind)) for kind in KINDS}
    full = 2 * tree.nbytes(task.weights) + tree.nbytes(task.optimizer.init(task.weights))
    return {**held, "total": sum(held.values()), "full_rank_total": full}


def arrays(state: Tree) -> list[Array]:
    """The arrays of a state whose kinds no fact names."""
    return [leaf for leaf in tree.leaves(state) if isinstance(leaf, np.ndarray)]
