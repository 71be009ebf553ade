"""Where a run goes on from: the checkpoint to take, in the number of heads asked for, and what is kept beside it."""

from collections.abc import Callable
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.disk.files import shown
from minilte.job import checkpoint, elastic
from minilte.job.checkpoint import Damaged, step_of
from minilte.job.records import read_records
from minilte.run.build import build
from minilte.run.session import Session, State, first_facts, first_state
from minilte.settings.config import Config
from minilte.settings.stored import Edited, read_settings


def settings(path: Path) -> Config:
    """The settings in a run folder. Raises BadInput; of what was edited there, where a checkpoint shows it, by its name."""
    try:
        return read_settings(path)
    except Edited as trouble:
        for place in checkpoint.listed(path)[-1:]:
            had = checkpoint.read_manifest(place)["config"]
            checkpoint.refuse_other_run(place, had, trouble.config.flat())
        raise


def latest(path: Path, session: Session, warn: Callable[[str], None] | None = None) -> State:
    """The newest checkpoint, with this process's heads; step 0 where there is none. Raises BadInput.

    With `warn` a damaged checkpoint is passed over with a warning.
    """
    for place in reversed(checkpoint.listed(path)):
        try:
            state = loaded(place, session)
        except Damaged as trouble:
            if warn is None:
                raise
            warn(f"warning: {trouble}")
        else:
            mine = session.comm.mine
            return state._replace(heads=state.heads[mine.start : mine.stop])
    return first_state(session)


def loaded(path: Path, session: Session) -> State:
    """The whole state of a checkpoint, in the number of heads of the run that goes on. Raises BadInput."""
    heads, method = elastic.saved_heads(path), session.built.method
    if heads == session.config.heads:
        return read(path, session.config, method)
    config = elastic.with_heads(session.config, heads)
    before = read(path, config, build(config, session.comm.process).method)
    return elastic.resized(before, method, session.config.heads)


def read(path: Path, config: Config, method: Method) -> State:
    """The state in a checkpoint of a run with these settings. Raises BadInput."""
    state = checkpoint.load(path, method.begin(), [method.enter(n) for n in range(config.heads)], config.flat())
    for name in first_facts().keys() - state.facts.keys():
        raise BadInput(f"{shown(path / 'manifest.json')}: its facts lack {name}, which minilte always writes")
    return state


def set_aside(path: Path, step: int) -> None:
    """Rename the checkpoints after a step: the run goes on without them, and they are not lost."""
    for later in checkpoint.listed(path):
        if step_of(later) > step:
            aside = later.with_name(f"damaged-{later.name}")
            if aside.exists():
                checkpoint.drop(aside)
            later.rename(aside)


def best_saved(path: Path, step: int) -> int | None:
    """The step with the least held-out loss, of `step` and those on disk; None where none was evaluated."""
    steps = {step, *map(step_of, checkpoint.listed(path))}
    evaluated = [record for record in read_records(path / "metrics.jsonl") if record.held_loss is not None]
    losses = [(record.held_loss, record.step) for record in evaluated if record.step in steps]
    return min(losses, default=(None, None))[1]
