"""Signs of life: every MPI process leaves a sign in the run folder, so that a silent process can be named.

`alive/process-N` holds a line that the process overwrites whenever it comes to a merge, and many times a second while
it waits there. A process that computes, hangs or has died doesn't, and the others can read for how long. After a clean
end the folder is removed; signs that a later start finds there show which process died first, and when.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.job.records import count, number

WIDTH = 200  # bytes of a sign, so that a newer sign covers the whole of an older
SIGN = {  # what a sign must hold
    "process": count,
    "step": count,
    "time": lambda value: number(value) and value < 1e12,  # seconds
    "pid": count,
    "host": lambda value: isinstance(value, str) and value.isprintable(),  # a line break would break the line
}


class Pulse:
    """The sign of a process. `step` is what it says of the process's progress."""

    def __init__(self, run: Path, process: int, size: int, step: int = 0):
        self.place, self.size, self.step = run / "alive", size, step
        self.who = {"process": process, "pid": os.getpid(), "host": socket.gethostname()}
        self.path = self.place / f"process-{process}"
        with folder.writing(self.place):
            self.place.mkdir(exist_ok=True)
            self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        self.beat()

    def beat(self) -> None:
        """Leave a sign now."""
        sign = json.dumps({"step": self.step, "time": time.time()} | self.who)
        os.pwrite(self.file, sign[:WIDTH].ljust(WIDTH).encode(), 0)

    def silent(self, waited: float) -> str:
        """The processes without a sign for most of the time that this process has waited, in words."""
        found, now = signs(self.place), time.time()
        fresh = {process for process, sign in found.items() if now - sign["time"] <= max(1.0, waited / 2)}
        quiet = [process for process in range(self.size) if process not in fresh]
        words = [f"process {n} ({seen(found[n], now) if n in found else 'never seen'})" for n in quiet]
        return f"{' and '.join(words) or 'some process'}: silent for more than {waited:.0f} s"

    def end(self) -> None:
        """Take the sign away: this process ended as it should."""
        os.close(self.file)
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other signs are still there
            self.place.rmdir()


@contextlib.contextmanager
def signs_of_life(run: Path, transport, patience: float, say: Callable[[str], None]) -> Iterator[Pulse | None]:
    """Inside the `with` this process leaves signs and watches those of others; None where nobody can go silent.

    Says at the start which process of an earlier job died first. `patience`: seconds to wait for a silent process.
    """
    if transport.eyes is None:
        yield None
        return
    if transport.process == 0 and (word := left_by_the_dead(run)):
        say(f"note: {word}")
    transport.objects(None)  # a barrier: no process leaves a sign before the old ones are deleted
    before, pulse = transport.eyes, Pulse(run, transport.process, transport.size)
    transport.eyes = before._replace(limit=patience, beat=pulse.beat, silent=pulse.silent)
    try:
        yield pulse
    except BaseException as trouble:
        if getattr(
            trouble, "agreed", False
        ):  # after what no other process has heard the sign shows where this one was
            pulse.end()
        raise
    else:
        pulse.end()
    finally:
        transport.eyes = before


def seen(sign: dict, now: float) -> str:
    """Where and when a process left its last sign."""
    return f"last seen {now - sign['time']:.1f} s ago after step {sign['step']}, pid {sign['pid']} on {sign['host']}"


def signs(place: Path) -> dict[int, dict]:
    """The signs in a folder, by process, without those that cannot be read."""
    found = {}
    for file in place.glob("process-*"):
        with contextlib.suppress(BadInput):
            sign = folder.read_json(file)
            if all(name in sign and fits(sign[name]) for name, fits in SIGN.items()):
                found[sign["process"]] = sign
    return found


def left_by_the_dead(run: Path) -> str:
    """What the signs of processes that died say, "" where there are none. Deletes them."""
    found, now = signs(run / "alive"), time.time()
    for file in (run / "alive").glob("process-*"):
        file.unlink(missing_ok=True)
    if not found:
        return ""
    first = min(found, key=lambda process: found[process]["time"])
    return f"the processes before this one ended without a word; the first to go was process {first} ({seen(found[first], now)})"
