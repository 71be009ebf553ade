"""What a run remarks on: losses that stand still or were better before, weights that leap, processes that are late."""

from collections.abc import Callable

from minilte.run.health import leapt, stalled
from minilte.run.observe import Record
from minilte.run.session import Session

Say = Callable[[str], None]  # a line
BETTER = 0.9  # of the last held-out loss: a difference worth a word


def of_health(seen: list[Record], record: Record, steps: int, say: Say) -> None:
    """Add an evaluation to those `seen`. Says when the training loss begins to stall, and when the weights leap."""
    if record.train_loss is None:
        return
    losses = [(each.step, each.train_loss) for each in (*seen, record)]
    norms = [each.update_norm for each in seen if each.update_norm is not None]
    if stalled(losses[:-1], steps) is None and (best := stalled(losses, steps)) is not None:
        say(f"note: the training loss has not been below that of step {best} since")
    if record.update_norm is not None and leapt(norms, record.update_norm):
        say(
            f"note: the weights moved by {record.update_norm:.3g} in the round before step {record.step}, "
            f"{record.update_norm / max(norms):.0f} times as far as ever before"
        )
    seen.append(record)


def of_a_better(seen: list[Record], say: Say) -> None:
    """Say so when the held-out loss was clearly less at an evaluation before the last."""
    if seen and (best := min(seen, key=lambda record: record.held_loss)).held_loss < BETTER * seen[-1].held_loss:
        say(
            f"note: the held-out loss was {best.held_loss:.4f} at step {best.step} and is {seen[-1].held_loss:.4f} now; "
            "the best checkpoint is kept in ckpt"
        )


def of_the_late(before: frozenset, session: Session, step: int, say: Say) -> frozenset:
    """The processes that a quorum merged without. Says who joined or left them since `before`."""
    late = frozenset(session.comm.transport.late)
    for process in sorted(late ^ before):
        if block := session.comm.blocks[process]:  # no merge misses a process without heads
            heads = f"head {block[0]}" if len(block) == 1 else f"heads {block[0]} to {block[-1]}"
            what = "missed the merge" if process in late else "is back, in time for the merge"
            say(f"note: process {process} ({heads}) {what} at step {step}")
    return late
