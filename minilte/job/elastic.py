"""Runs that go on with more or fewer heads, or for more steps than they began with.

Heads 0 … min(N, N')-1 stay as they are. Heads that leave take their factors with them; what was merged of these stays in
W. Heads that join start with B = 0, V = 0 and the main parameters, so all compute the main function (law L10) and the
loss does not jump. From the next merge on each head counts 1/N', so a merge is still the mean of what the heads did since
the merge before (law L13). What needs constant shares starts anew: telescoping (L1), and the rank bound (L2), on top of
the rank that was reached.
"""

from pathlib import Path

from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.disk.files import brief
from minilte.job import checkpoint
from minilte.job.summary import read_summary
from minilte.run.session import State
from minilte.settings.config import Config
from minilte.settings.knob import flag_name

# what must have its default for the number of heads to change: other values belong to a number of heads
KEPT = {"head_ranks": (), "shares": (), "merge_rule": "mean", "versus": "none"}


def with_heads(config: Config, heads: int) -> Config:
    """The settings of a run that goes on with so many heads. Raises BadInput where that cannot be."""
    if heads == config.heads:
        return config
    had = config.flat()
    fixed = {
        f"--method {config.method.name}": "factors" not in config.method.gives,
        f"--topology {config.topology.name}": len(config.topology.among(config)) > 1,  # the heads chose it
        **{f"--{flag_name(key)} {brief(had.get(key))}": had.get(key, usual) != usual for key, usual in KEPT.items()},
    }
    if any(fixed.values()):
        what = " and ".join(words for words, holds in fixed.items() if holds)
        raise BadInput(f"heads: a run with {what} keeps its {config.heads} heads, got {heads}; begin anew")
    return config.replace(heads=heads, **({"quorum": min(had["quorum"], heads)} if had.get("quorum") else {}))


def with_steps(config: Config, steps: int) -> Config:
    """The settings of a run that goes on for so many steps in all. Raises BadInput for fewer than it has."""
    if steps < config.steps:
        raise BadInput(f"steps: the run has {config.steps}, got {steps}; a run goes on for more, not for fewer")
    return config.replace(steps=steps)


def reopened(path: Path, config: Config) -> str:
    """Set aside the summary of a run that had ended and goes on; says how its learning rate continues, "" for other runs."""
    file = path / "summary.json"
    done = read_summary(file)["steps"] if file.exists() else config.steps
    if done == config.steps:
        return ""
    before, now = (config.schedule.build(config.lr, steps) for steps in (done, config.steps))
    was = f"was {before(done - 1):.3g} at the end of {done} steps, and" if done else "is"
    rate = f"the rate {was} {now(done):.3g} from step {done} on"
    file.rename(path / f"summary-{done}.json")
    return f"the run had ended at step {done} and goes on to {config.steps}; {rate}"


def had_ended(path: Path) -> bool:
    """Had the run ended before it went on, so that its test set was looked at?"""
    return any(path.glob("summary-*.json"))


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

    Heads that join take over the main state before their first round, as after any merge.
    """
    if method.facts.resized is None:
        raise BadInput(
            f"heads: this method keeps the {len(state.heads)} heads it began with, got {heads}; begin anew"
        )
    main = method.facts.resized(state.main, heads)
    joining = (method.hear(main, method.enter(n), state.step) for n in range(len(state.heads), heads))
    return state._replace(main=main, heads=(*state.heads[:heads], *joining), facts=state.facts | {"resized": True})
