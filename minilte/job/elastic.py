"""Runs that go on with more or fewer heads, or for more steps than they began with.

Heads 0 … min(N, N')-1 stay as they are; those that leave take their factors with them, and what of these is in W stays
there; those that join start with B = 0, V = 0 and the main parameters. All compute the main function then (law L10), so
nothing jumps. From the next merge on each counts 1/N', so a merge is still the mean of what the heads did since the last
one (law L13). What no longer holds is what needs constant shares: telescoping (L1) starts anew from here, and so does
the rank bound (L2), on top of the rank that was reached.
"""

from pathlib import Path

from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.disk import folder
from minilte.disk.files import brief
from minilte.job import checkpoint
from minilte.run.session import State
from minilte.settings.config import Config
from minilte.settings.knob import flag_name

# what must have its default for the number of heads to change: the others were made for one number
KEPT = {"head_ranks": (), "shares": (), "merge_rule": "mean", "versus": "none"}


def with_heads(config: Config, heads: int) -> Config:
    """The settings of a run that goes on with so many heads. Raises BadInput where that cannot be."""
    if heads == config.heads:
        return config
    if "factors" not in config.method.gives:
        raise BadInput(
            f"heads: a run with --method {config.method.name} keeps its {config.heads} heads, got {heads}; begin anew"
        )
    if len(config.topology.among(config)) > 1:
        raise BadInput(
            f"heads: a run with --topology {config.topology.name} keeps its {config.heads} heads, which chose it; begin anew"
        )
    had = config.flat()
    for name, plain in KEPT.items():
        if had.get(name, plain) != plain:
            raise BadInput(
                f"heads: a run with --{flag_name(name)} {brief(had[name])} keeps its {config.heads} heads, got {heads};"
                " begin anew"
            )
    fewer = {"quorum": min(had["quorum"], heads)} if had.get("quorum") else {}
    return config.replace(heads=heads, **fewer)


def with_steps(config: Config, steps: int) -> Config:
    """The settings of a run that goes on for so many steps in all. Raises BadInput for fewer than it has."""
    if steps < config.steps:
        raise BadInput(f"steps: the run has {config.steps}, got {steps}; a run goes on for more, not for fewer")
    return config.replace(steps=steps)


def ended_before(path: Path, steps: int) -> int:
    """The step at which a run had ended that goes on to a later one, 0 for others; its end is none any more."""
    file = path / "summary.json"
    done = folder.read_json(file)["steps"] if file.exists() else steps
    if done == steps:
        return 0
    file.unlink()
    return done


def longer(config: Config, done: int) -> str:
    """What the schedule makes of it, in words."""
    before, now = (config.schedule.build(config.lr, steps) for steps in (done, config.steps))
    rates = f"{before(done - 1):.3g} at the end of {done} steps, and {now(done):.3g} from step {done} on"
    return f"the run had ended at step {done} and goes on to {config.steps}; the rate was {rates}"


def saved_heads(path: Path) -> int:
    """The heads of the run that wrote a checkpoint. Raises BadInput."""
    with checkpoint.remedy(path):
        heads = checkpoint.read_manifest(path)["config"].get("heads")
    if type(heads) is not int or not 1 <= heads <= 100_000:
        raise BadInput(
            f"{path}: made with heads {heads!r:.40}, which is no number of heads; restore another checkpoint"
        )
    return heads


def resized(state: State, method: Method, heads: int) -> State:
    """The state of another number of heads; the method is that of the run that goes on.

    Those that join hear of the main state before their first round, as after any merge.
    """
    if method.facts.resized is None:
        raise BadInput(
            f"heads: this method keeps the {len(state.heads)} heads it began with, got {heads}; begin anew"
        )
    main = method.facts.resized(state.main, heads)
    joining = (method.hear(main, method.enter(n), state.step) for n in range(len(state.heads), heads))
    return state._replace(main=main, heads=(*state.heads[:heads], *joining), facts=state.facts | {"resized": True})
