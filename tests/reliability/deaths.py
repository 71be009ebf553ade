"""A process that dies at its k-th request to the file system, for every k: no checkpoint and no bit is lost."""

import builtins
import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import tiny

from minilte.core.errors import MinilteError
from minilte.job import checkpoint
from minilte.run.session import State, advance, first_state
from reliability import jobs
from reliability.rows import Row, none_of

CALLS = ("mkdir", "open", "fsync", "replace", "rename", "rmdir", "unlink", "symlink", "link")
SETTINGS = dict(steps=6, save_every=2)


class Killed(BaseException):
    """What no handler may catch: the process is gone."""


@contextlib.contextmanager
def dying_at(call: int) -> Iterator[list[str]]:
    """The `call`-th request to the file system, and every later one, fails; tells what was asked for.

    A write that fails has written half of what it was given.
    """
    asked: list[str] = []

    def count(name: str, where) -> None:
        asked.append(f"{name} {Path(str(where)).name}")
        if len(asked) > call:
            raise Killed

    with contextlib.ExitStack() as undo:
        for name in CALLS:
            put(undo, os, name, counted(getattr(os, name), name, count))
        put(undo, builtins, "open", opening(builtins.open, count))
        yield asked


def put(undo: contextlib.ExitStack, where, name: str, new: Callable) -> None:
    """Another function in a module until `undo` is left."""
    undo.callback(setattr, where, name, getattr(where, name))
    setattr(where, name, new)


def counted(real: Callable, name: str, count: Callable) -> Callable:
    """The function, asking first whether it may."""

    def asking(where, *args, **options):
        count(name, where)
        return real(where, *args, **options)

    return asking


def opening(real: Callable, count: Callable) -> Callable:
    """`open` whose files ask before they write."""

    def asking(where, mode="r", *args, **options):
        if "r" in mode and "+" not in mode:
            return real(where, mode, *args, **options)
        count("create", where)
        file = real(where, mode, *args, **options)
        write = file.write

        def halved(content):
            try:
                count("write", where)
            except Killed:
                write(content[: len(content) // 2])
                file.flush()
                raise
            return write(content)

        file.write = halved
        return file

    return asking


# ---------------------------------------------------------------- the rows


def measure(full: bool, seed: int) -> list[Row]:
    """A save and a whole run, cut off everywhere; in the full form a run with a baseline."""
    with jobs.place() as place:
        return [saves(place / "saves"), runs(place / "runs", seed, versus="full" if full else "none")]


def saves(place: Path) -> Row:
    """Every crash point of a save of the third of three checkpoints: the second or the third is whole afterwards."""
    session = tiny.session(**SETTINGS)
    states = [state for _, state in advance(session, first_state(session))][1:]
    lost = []
    for call in itertools.count():
        run = place / str(call)
        for state in states[:-1]:
            checkpoint.save(run, state, {})
        with dying_at(call) as asked, contextlib.suppress(Killed):
            checkpoint.save(run, states[-1], {})
        if len(asked) <= call:  # it lived on
            return none_of("crash points of a save that lose a checkpoint", lost, call)
        if trouble := newest(run, states[-2:]):
            lost.append(f"dies at request {call + 1}, {asked[call]}: {trouble}")


def newest(run: Path, states: list[State]) -> str:
    """What is wrong with the newest checkpoint of a run, which must be one of these states."""
    found = checkpoint.listed(run)[-1:]
    try:
        got = checkpoint.load(found[0], states[0].main, states[0].heads, {})
        return "" if any(same(got, state) for state in states) else f"{found[0].name} is another state"
    except (MinilteError, IndexError) as trouble:
        return str(trouble)


def same(one: State, other: State) -> bool:
    """Are two states equal bit by bit?"""
    return (one.step, one.facts) == (other.step, other.facts) and bits(one) == bits(other)


def bits(state: State) -> list[tuple]:
    """Every array of a state: its path, shape, type and bytes."""
    arrays = checkpoint.named_arrays({"main": state.main, "heads": tuple(state.heads)})
    return [(path, leaf.shape, leaf.dtype, leaf.tobytes()) for path, leaf in arrays]


def runs(place: Path, seed: int, **changes) -> Row:
    """Every crash point of a run from its first step to its last line: it goes on to the same bits, nothing is left."""
    settings = SETTINGS | dict(seed=seed) | changes
    tiny.go_on(tiny.begin(place / "whole", **settings))
    expected, wrong = jobs.outcome(place / "whole"), []
    for call in itertools.count():
        run = tiny.begin(place / "cut", **settings)
        with dying_at(call) as asked, contextlib.suppress(Killed):
            tiny.go_on(run)
        if len(asked) <= call:  # it lived on
            return none_of("crash points of a run, resumed: other bits, or something left", wrong, call)
        if trouble := gone_on(run, expected):
            wrong.append(f"seed {seed}, dies at request {call + 1}, {asked[call]}: {trouble}")
        shutil.rmtree(run)


def gone_on(run: Path, expected: tuple) -> str:
    """Resume a run that died; what is wrong with it."""
    if jobs.outcome(run) not in (None, expected):
        return "a summary of something else"
    try:
        tiny.go_on(run)
    except Exception as trouble:
        return f"{type(trouble).__name__}: {trouble}"
    if jobs.outcome(run) != expected:
        return "other bits"
    return f"left: {', '.join(found)}" if (found := jobs.temporary(run)) else ""
