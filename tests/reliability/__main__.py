"""How often the library fails when everything around it does: ./run reliability."""

import json
import sys
import time
from collections.abc import Callable

from minilte.commands.shared import JSON, Command
from minilte.core.errors import BadInput
from minilte.settings.knob import knob, of_knobs
from reliability import (
    answers,
    damage,
    deaths,
    hangs,
    health,
    jobs,
    kills,
    outputs,
    processes,
    signals,
    soak,
    streams,
    world,
)
from reliability.rows import HEAD, Row, line

MEASURES = {
    "soak": soak.measure,  # first: nothing has used memory yet
    "deaths": deaths.measure,
    "damage": damage.measure,
    "processes": processes.measure,
    "signals": signals.measure,
    "answers": answers.measure,
    "streams": streams.measure,
    "world": world.measure,
    "outputs": outputs.measure,
    "hangs": hangs.measure,
    "health": health.measure,
    "kills": kills.measure,
}


@of_knobs
class Options:
    """How much is tried, and how the outcome is written."""

    quick: bool = knob(False, "a sample of everything, under 90 s on two cores; the default")
    full: bool = knob(False, "all of it, about seven minutes")
    only: str = knob("", f"one measure: {', '.join(MEASURES)}")
    seed: int = knob(0, "of everything that is drawn at random", least=0)
    json: bool = JSON

    def check(self):
        if self.quick and self.full:
            raise BadInput("--quick: not together with --full; give one")
        if self.only and self.only not in MEASURES:
            raise BadInput(f"--only: expected one of {', '.join(MEASURES)}, got {self.only!r:.60}")


def scoreboard(options: Options, *_) -> int:
    """Measure every row; 0 when all targets are met, 1 otherwise."""
    rows, begun = [], time.monotonic()
    if jobs.MPIRUN is None:
        raise BadInput("reliability: no mpirun is on PATH; pip install 'minilte[mpi]'")
    tell = print if not options.json else lambda *_, **__: None
    tell(HEAD, flush=True)
    for name, measure in MEASURES.items():
        if options.only in ("", name):
            for row in timed(measure, options.full, options.seed):
                rows.append(row)
                tell(line(row), flush=True)
    seconds, missed = time.monotonic() - begun, sum(row.met is False for row in rows)
    tell(f"{len(rows)} rows, {missed} missed, {seconds:.0f} s, seed {options.seed}")
    if options.json:
        print(
            json.dumps({"seed": options.seed, "seconds": seconds, "rows": [row._asdict() for row in rows]}, indent=2)
        )
    return int(missed > 0)


def timed(measure: Callable[[bool, int], list[Row]], full: bool, seed: int) -> list[Row]:
    """The rows of a measure; the first one says how long they all took."""
    begun = time.monotonic()
    with jobs.unsynced():
        first, *others = measure(full, seed)
    return [first._replace(seconds=time.monotonic() - begun), *others]


main = Command("./run reliability", __doc__, Options, scoreboard)

if __name__ == "__main__":
    sys.exit(main())
