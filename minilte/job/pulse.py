"""Signs of life: every MPI process leaves one in the run folder, so that whoever goes silent can be named.

`alive/process-N` holds a line that the process writes over whenever it comes to a merge, and many times a second while it
waits there. A process that computes, hangs or is gone doesn't, and the others can read for how long. After a clean end
the folder is removed; what a later start finds there tells who died, and when.
"""

import json
import os
import socket
import time
from pathlib import Path

from minilte.disk import folder

WIDTH = 200  # bytes of a sign, so that a newer one covers the whole of an older one


class Pulse:
    """The sign of one process. `step` is what it says of the process's progress."""

    def __init__(self, run: Path, process: int, size: int, step: int = 0):
        self.place, self.process, self.size, self.step = run / "alive", process, size, step
        with folder.writing(self.place):
            self.place.mkdir(exist_ok=True)
            self.file = os.open(self.place / f"process-{process}", os.O_WRONLY | os.O_CREAT, 0o644)
        self.beat()

    def beat(self) -> None:
        """Leave a sign now."""
        sign = {
            "process": self.process,
            "step": self.step,
            "time": time.time(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }
        os.pwrite(self.file, json.dumps(sign)[:WIDTH].ljust(WIDTH).encode(), 0)

    def silent(self, waited: float) -> str:
        """Who has not given a sign for most of the time that this process has waited, in words."""
        found, now = signs(self.place), time.time()
        quiet = [
            process
            for process in range(self.size)
            if now - found.get(process, {"time": 0.0})["time"] > max(1.0, waited / 2)
        ]
        names = [
            f"process {process} ({seen(found[process], now) if process in found else 'never seen'})"
            for process in quiet
        ]
        return f"{' and '.join(names) or 'some process'}: silent for more than {waited:.0f} s"

    def end(self) -> None:
        """Take the sign away: this process ended as it should."""
        os.close(self.file)
        (self.place / f"process-{self.process}").unlink(missing_ok=True)
        try:
            self.place.rmdir()
        except OSError:  # the last one out does it
            return


def seen(sign: dict, now: float) -> str:
    """Where and when a process was last heard of."""
    return f"last seen {now - sign['time']:.1f} s ago after step {sign['step']}, pid {sign['pid']} on {sign['host']}"


def signs(place: Path) -> dict[int, dict]:
    """The signs in a folder, by process; one that cannot be read counts for none."""
    found = {}
    for file in place.glob("process-*"):
        try:
            sign = json.loads(file.read_bytes())
            found[int(sign["process"])] = {"step": int(sign["step"]), "time": float(sign["time"])} | {
                name: str(sign[name]) for name in ("pid", "host")
            }
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def left_by_the_dead(run: Path) -> str:
    """What a start can say of the processes before it, which ended without a word; "" where there were none.

    Clears the signs away.
    """
    found, now = signs(run / "alive"), time.time()
    for file in (run / "alive").glob("process-*"):
        file.unlink(missing_ok=True)
    if not found:
        return ""
    first = min(found, key=lambda process: found[process]["time"])
    return f"the processes before this one ended without a word; the first to go was process {first} ({seen(found[first], now)})"
