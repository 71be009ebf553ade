"""Runs that go on with more or fewer heads.

Heads 0 … min(N, N')-1 stay as they are; those that leave take their factors with them, and what of these is in W stays
there; those that join start with B = 0, V = 0 and the main parameters. All compute the main function then (law L10), so
nothing jumps. From the next merge on each counts 1/N', so a merge is still the mean of what the heads did since the last
one (law L13). What no longer holds is what needs constant shares: telescoping (L1) starts anew from here, and so does
the rank bound (L2), on top of the rank that was reached.
"""

import dataclasses
from pathlib import Path

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.head import replica_of
from minilte.core.types import Head, Main, Method
from minilte.job import checkpoint
from minilte.job.checkpoint import State
from minilte.settings.config import Config
from minilte.disk.files import brief
from minilte.settings.knob import flag_name


# what must have its default for the number of heads to change: the others were made for one number
KEPT = {"head_ranks": (), "shares": (), "merge_rule": "mean", "versus": "none"}


def with_heads(config: Config, heads: int) -> Config:
    """The settings of a run that goes on with so many heads. Raises BadInput where that cannot be."""
    if heads == config.heads:
        return config
    if config.method != "lte":
        raise BadInput(
            f"heads: {config.method} has workers that hold nothing; start it on any number of them, got {heads}"
        )
    if config.topology == "auto":
        raise BadInput(
            f"heads: a run with --topology auto keeps its {config.heads} heads, which chose it; begin anew"
        )
    for name, plain in KEPT.items():
        if (had := getattr(config, name)) != plain:
            raise BadInput(
                f"heads: a run with --{flag_name(name)} {brief(had)} keeps its {config.heads} heads, got {heads}; begin anew"
            )
    return dataclasses.replace(config, heads=heads, quorum=min(config.quorum, heads))


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
    """The state of another number of heads; the method is that of the run that goes on."""
    main, facts = resized_main(state.main, method, heads), state.facts | {"resized": True}
    return state._replace(main=main, heads=resized_heads(state, method, heads), facts=facts)


def resized_main(main: Main, method: Method, heads: int) -> Main:
    """The main state with as many V_n: 0 for heads that join."""
    fresh = method.begin()
    then = None if main.then is None else (*main.then[:heads], *fresh.then[len(main.then) : heads])
    return main._replace(then=then, trust=None if main.trust is None else np.ones(heads))


def resized_heads(state: State, method: Method, heads: int) -> tuple[Head, ...]:
    """Those that stay, and those that join with the main parameters as replicas."""
    return (*state.heads[:heads], *(joining(method.enter(n), state.main) for n in range(len(state.heads), heads)))


def joining(head: Head, main: Main) -> Head:
    """A new head with the replicas of the run it joins."""
    if not head.replica:
        return head
    return head._replace(replica=tree.map(np.array, replica_of(main.weights, head.now)))
