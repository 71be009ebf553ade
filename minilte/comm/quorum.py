"""Merges that do not wait for all: a master goes on with a quorum of heads, and a late process catches up.

All processes send to process 0 alone, each message with its place in the order of the program. At a merge process 0 waits for
all; once a quorum of heads is there it waits `grace` seconds more, and not at all for processes that have been silent since
the merge they missed. The bytes of a missing process are filled with NaN, so the guard leaves its heads out: they count
with V, as in law L1's second form. A late process gets the answers that it missed and goes through them without training.
It sits out the merge at which its next message arrives, and begins the next round with the others.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from minilte.core.errors import ProcessesDisagree
from minilte.core.types import Array

PARTING = 1.0  # seconds, at least, for the others to come to the end


class Post(Protocol):
    """What a transport must offer beside its collectives: messages between two processes, kept in order."""

    process: int
    size: int
    parting: float  # seconds that process 0 waits for the others at the end

    def post(self, thing, to: int) -> None:
        """Send an object without waiting for its receiver."""

    def heard(self, source: int):
        """The next object that a process has sent here; None where none has arrived."""

    def wait(self, reached: Callable[[], bool]) -> None:
        """Until something is reached, with signs of life. Raises ProcessLost when it takes too long."""


class Letter(NamedTuple):
    """A message and its place in the order of the program."""

    at: int
    thing: Any
    newest: bool = False  # does it replace those before it?


class Quorum:
    """Implements `comm.communicator.Transport` but for `alltoall` and gathering everywhere, which no master needs.

    `heads[p]` is how many heads live on process p, `need` the quorum. `late` are the processes that missed the last merge;
    no process waits for them until the next.
    """

    eyes = property(lambda self: self.inner.eyes, lambda self, eyes: setattr(self.inner, "eyes", eyes))

    def __init__(self, inner: Post, heads: Sequence[int], need: int, grace: float):
        self.inner, self.heads, self.need, self.grace = inner, heads, need, grace
        self.process, self.size = inner.process, inner.size
        inner.parting = max(grace, PARTING)
        self.at = 0  # messages of the program so far, the same on every process at the same place
        self.late: set[int] = set()
        self.silent: set[int] = set()  # of the late, those that have sent nothing since
        self.back: set[int] = set()  # those that have sent again, and sit out the merge that is on
        self.owed: dict[int, list] = {}  # letters kept for a silent process; MPI could not hold them for long
        self.early: deque[Letter] = deque()  # answers that arrived before this process came to read them

    def gather(self, mine: Array, counts: Sequence[int], everywhere: bool = False) -> Array | None:
        """Every process's bytes, in time for a merge; all bits are set in those of a process that is late."""
        parts = self._collected(mine, self.need)
        if parts is None:
            return None
        self.late = set(range(self.size)) - parts.keys()
        self.silent, self.back = self.late - self.back, set()
        return np.concatenate([parts.get(p, np.full(count, 0xFF, np.uint8)) for p, count in enumerate(counts)])

    def broadcast(self, *buffers: Array, newest: bool = False) -> None:
        """Process 0's bytes into the buffers of every other process, whenever that comes to read them.

        `newest`: a silent process gets the last such bytes alone; its buffers stay as they are at those before.
        """
        sent = self._from_master([buffer.copy() for buffer in buffers] if self.process == 0 else None, newest)
        for buffer, new in zip(buffers, sent or ()):
            buffer[:] = new

    def objects(self, mine, everywhere: bool = True) -> list | None:
        """Every process's object, by process: None for a process that is late."""
        parts = self._collected(mine)
        everyone = None if parts is None else [parts.get(p) for p in range(self.size)]
        return self._from_master(everyone) if everywhere else everyone

    def behind(self) -> bool:
        """Is the merge that this process works for over already?"""
        if self.process and not self.early:
            self.early.extend(self.inner.heard(0) or ())
        return bool(self.early)

    def _collected(self, mine, need: int | None = None) -> dict | None:
        """What the processes have sent for this place, by process, on process 0.

        Of all but the late; with `need`, of as many heads and of those that come within the grace after them.
        """
        self.at += 1
        if self.process:
            if not self.behind():
                self.inner.post(Letter(self.at, mine), 0)
            elif self.early[0].at == self.at:  # a merge to sit out
                self.early.popleft()
            return None
        parts, since = {0: mine}, None

        def enough():
            nonlocal since
            self._take_in(parts, merge=need is not None)
            missing = set(range(self.size)) - parts.keys()
            if need is None or not missing:
                return missing <= self.late
            if since is None and sum(self.heads[p] for p in parts) >= need:
                since = time.monotonic()
            return since is not None and (missing <= self.silent | self.back or time.monotonic() - since > self.grace)

        self.inner.wait(enough)
        return parts

    def _take_in(self, parts: dict, merge: bool) -> None:
        """Add to the parts what has come for this place; what comes too late only shows that its process is back."""
        for p in range(1, self.size):
            while p not in parts and (came := self.inner.heard(p)) is not None:
                self.silent.discard(p)
                if p in self.owed:
                    sit_out = [Letter(self.at, None)] if merge else []
                    self.inner.post(self.owed.pop(p) + sit_out, p)
                    self.back |= {p} if merge else set()
                if came.at == self.at:
                    parts[p] = came.thing

    def _from_master(self, thing, newest: bool = False):
        """Process 0's object on every process; a silent process will get it when it is back."""
        self.at += 1
        if self.process == 0:
            for p in range(1, self.size):
                self._send(p, Letter(self.at, thing, newest))
            return thing
        self.inner.wait(self.behind)
        letter = self.early.popleft()
        if letter.at != self.at:
            raise ProcessesDisagree(
                f"process {self.process}: got message {letter.at} of process 0 for {self.at}; begin anew, or --resume"
            )
        return letter.thing

    def _send(self, process: int, letter: Letter) -> None:
        """Send a letter, or keep it for a silent process."""
        if process not in self.silent:
            return self.inner.post([letter], process)
        kept = self.owed.setdefault(process, [])
        if letter.newest:
            kept[:] = [old._replace(thing=None) if old.newest else old for old in kept]
        kept.append(letter)
