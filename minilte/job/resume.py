"""Where a run goes on from: the checkpoint to take, in the number of heads asked for, and what is kept beside it."""

import json
from collections.abc import Callable
from pathlib import Path

from minilte.job import checkpoint, elastic
from minilte.job.checkpoint import Damaged
from minilte.job.records import read_records
from minilte.run.build import build
from minilte.run.session import Session, State, first_state
from minilte.settings.config import Config


def latest(path: Path, session: Session, warn: Callable[[str], None] | None = None) -> State:
    """The newest checkpoint, with this process's heads; step 0 where there is none. Raises BadInput.

    With `warn` a damaged one is passed over, and it hears why; where all are, the run begins anew.
    """
    state = newest_good(checkpoint.listed(path), lambda one: loaded(one, session), warn)
    if state is None:
        return first_state(session)
    mine = session.comm.mine
    return state._replace(heads=state.heads[mine.start : mine.stop])


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
        return read(path, session.config, session.built.method)
    config = elastic.with_heads(session.config, heads)
    before = read(path, config, build(config, session.comm.process).method)
    return elastic.resized(before, session.built.method, session.config.heads)


def read(path: Path, config: Config, method) -> State:
    """The state in a checkpoint of a run with these settings. Raises BadInput."""
    return checkpoint.load(path, method.begin(), [method.enter(n) for n in range(config.heads)], as_read(config))


def as_read(config: Config) -> dict:
    """The settings as JSON gives them back: lists for tuples."""
    return json.loads(json.dumps(config.flat()))


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
