"""kill -9 at random points: whatever dies whenever, the run goes on with any number of processes to the same bits."""

import random
import time
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

import tiny

from reliability import jobs
from reliability.rows import Row, all_of, none_of

PROCESSES = (1, 2, 3, 4, 5, 8)
SETTINGS = dict(heads=3, batch=12, steps=120, save_every=4)  # a save at every other merge
KINDS = {
    "lte": {},
    "reset-ab": dict(reset="ab", reset_optimizer=True),
    "allreduce": dict(topology="allreduce"),
    "server-reset": dict(topology="server", reset="ab"),
    "nf4": dict(quant="nf4", quant_block=16),
    "versus-full": dict(versus="full"),
}
MANY = 3  # kills of one run, at most


class Seen(NamedTuple):
    """What came of some runs, in lines that name the seed; `kills` counts those that hit a living job, by place."""

    kills: dict[str, int]
    different: list[str]
    hung: list[str]
    lies: list[str]
    left: list[str]


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of 100 kills, or eight."""
    return rows(100 if full else 8, seed)


def rows(
    kills: int, seed: int, kinds: tuple[str, ...] = tuple(KINDS), sizes: tuple[int, ...] = PROCESSES
) -> list[Row]:
    """So many kills, in as many runs as it takes."""
    with jobs.place() as place:
        seen, lost, runs = Seen({}, [], [], [], []), 0, 0
        whole = {kind: jobs.unbroken(place / kind, **SETTINGS | KINDS[kind]) for kind in kinds}
        while (before := sum(seen.kills.values())) < kills:
            kind, folder, wrong = kinds[runs % len(kinds)], place / str(runs), len(seen.different)
            folder.mkdir()
            one_run(folder, kind, whole[kind], kills - before, f"{seed}.{runs}", sizes, seen)
            lost += (sum(seen.kills.values()) - before) * (len(seen.different) > wrong)
            runs += 1
    places = ", ".join(f"{many} {where}" for where, many in sorted(seen.kills.items()))
    notes = [f"{places}; {runs} runs", *seen.different]
    return [
        all_of("kill -9 of a process or mpirun, resumed on others: same bits", kills - lost, kills, notes),
        none_of("  jobs that hung", seen.hung, runs),
        none_of("  success told without a whole run", seen.lies, runs),
        none_of("  processes or temporary files left", seen.left, runs),
    ]


def one_run(folder: Path, kind: str, whole: jobs.Whole, most: int, seed: str, sizes: tuple, seen: Seen) -> None:
    """A run that is killed up to `MANY` times, each time resumed on a random number of processes, to its end."""
    rng, run = random.Random(seed), folder / "run"
    name, planned = f"{kind}, seed {seed}", min(most, rng.randint(1, MANY))
    for life in range(MANY + 1):
        size = rng.choice(sizes)
        begun = (run / "config.json").exists()
        process = jobs.start(folder, size, *(["--resume=run"] if begun else begin(kind)))
        hit = kill(folder, process, size, whole, rng) if life < planned else ""
        code = jobs.ended(process)
        hit = hit and code != 0 and f", {hit} killed {counted(run, seen)}"  # with 0 it was past its end
        where = f"{name}, life {life + 1} on {size} processes{hit or ''}"
        look(folder, code, whole, where, seen, wait=not hit or not (run / "config.json").exists() or life % 2 == 0)
        if not hit or code is None:
            break
    if jobs.outcome(run) != whole.outcome:
        seen.different.append(f"{where}: exit {code}, {jobs.last_words(folder)}")
    if found := jobs.temporary(run):
        seen.left.append(f"{where}: {', '.join(found)}")


def begin(kind: str) -> list[str]:
    """The arguments of a new run."""
    return ["--out=run", *tiny.flags(**SETTINGS | KINDS[kind])]


def look(folder: Path, code: int | None, whole: jobs.Whole, where: str, seen: Seen, wait: bool) -> None:
    """Write down what is wrong after one life of a run; without `wait` it goes on while the last processes still fall."""
    got = jobs.outcome(folder / "run")
    if code is None:
        seen.hung.append(where)
    if (code == 0 and got is None) or (got is not None and got != whole.outcome):
        seen.lies.append(f"{where}: exit {code}, summary {'there' if got else 'missing'}")
    if wait and (many := jobs.left(folder)):
        seen.left.append(f"{where}: {many} processes")


def kill(folder: Path, process: Popen, size: int, whole: jobs.Whole, rng: random.Random) -> str:
    """kill -9 of a random process, or of mpirun, at a random point; says whom it hit, or "" where all had ended.

    One in five dies while it starts; the others somewhere between the first byte of metrics and a little after the last.
    """
    run, victim, extra = folder / "run", rng.randint(-1, size - 1), rng.uniform(0, 0.01)
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0, 0.3 + 0.15 * size))
    else:
        goal = rng.uniform(jobs.written(run), whole.written)
        jobs.until(process, lambda: jobs.written(run) >= goal)
        time.sleep(extra)
    pid = process.pid if victim < 0 else jobs.pid_of(folder, victim) or process.pid
    if process.poll() is not None:
        return ""
    jobs.end([pid])
    return "mpirun" if pid == process.pid else f"process {victim}"


def counted(run: Path, seen: Seen) -> str:
    """Where a killed run stood, as its folder tells; counts it."""
    if jobs.temporary(run):
        place = "in a write"
    elif (run / "summary.json").exists():
        place = "after its end"
    else:
        place = "in training" if list(run.glob("ckpt/step-*")) else "before a save"
    seen.kills[place] = seen.kills.get(place, 0) + 1
    return place
