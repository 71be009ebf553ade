"""Where a run goes on from: the checkpoint to take, in the number of heads asked for, and what is kept beside it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from minilte.job import checkpoint, elastic
from minilte.run.build import build
from minilte.job.checkpoint import Damaged, State
from minilte.settings.config import Config
from minilte.run.session import Session, first_state, read_records


def latest(path: Path, session: Session, warn: Callable[[str], None] | None = None) -> State:
    """The newest checkpoint, with this rank's heads; step 0 where there is none. Raises BadInput.

    With `warn` a damaged one is passed over, and it hears why; where all are, the run begins anew. Under a master the
    workers leave the main state to it: they will be told what they need.
    """
    first, comm = first_state(session), session.comm
    state = newest_good(checkpoint.listed(path), lambda one: loaded(one, session), warn)
    if state is None:
        return first
    main = first.main if comm.rank and session.parts.master else state.main
    return state._replace(main=main, heads=state.heads[comm.mine.start : comm.mine.stop])


def newest_good(found: list[Path], load: Callable[[Path], State], warn: Callable[[str], None] | None) -> State | None:
    """The state of the newest checkpoint, with `warn` of the newest that is not damaged; None where there is none."""
    for one in reversed(found):
        try:
            return load(one)
        except Damaged as trouble:
            if warn is None:
                raise
            warn(f"warning: {trouble}")
    return None


def loaded(path: Path, session: Session) -> State:
    """The whole state of a checkpoint, in the number of heads of the run that goes on. Raises BadInput."""
    heads = elastic.saved_heads(path)
    if heads == session.config.heads:
        return read(path, session.config, session.parts.method)
    config = elastic.with_heads(session.config, heads)
    before = read(path, config, build(config, session.parts.data, session.comm.rank).method)
    return elastic.resized(before, session.parts.method, session.config.heads)


def read(path: Path, config: Config, method) -> State:
    """The state in a checkpoint of a run with these settings. Raises BadInput."""
    return checkpoint.load(path, method.begin(), [method.enter(n) for n in range(config.heads)], as_read(config))


def as_read(config: Config) -> dict:
    """The settings as JSON gives them back: lists for tuples."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def set_aside(path: Path, step: int) -> None:
    """Checkpoints after a step are no longer in the line of the run: out of the way, and not lost."""
    for one in checkpoint.listed(path):
        if int(one.name[5:]) > step:
            aside = one.with_name(f"damaged-{one.name}")
            if aside.exists():
                checkpoint.drop(aside)
            one.rename(aside)


def best_saved(path: Path, step: int) -> int | None:
    """The step of the saved state, this one or one on disk, with the least held-out loss, of those evaluated."""
    steps = {step, *(int(one.name[5:]) for one in checkpoint.listed(path))}
    seen = [(one.test_loss, one.step) for one in read_records(path / "metrics.jsonl") if one.step in steps]
    return min(((loss, step) for loss, step in seen if loss is not None), default=(None, None))[1]
