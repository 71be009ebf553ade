"""What changes around a run: files that go, other data, edited settings, processes that start elsewhere or never."""

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import faults
import numpy as np
import tiny

from minilte.comm.solo import Solo
from minilte.disk.weights import write_weights
from minilte.job import job
from minilte.run.session import open_session
from minilte.settings.config import Config
from reliability import cases, jobs
from reliability.rows import Row

LONG = dict(heads=3, batch=12, steps=600, save_every=300)
DATA = dict(data="data.npz", widths=(4,), heads=3, rank=2, alpha=4.0, batch=6, steps=8, merge_every=2, save_every=2)


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of every change, or of a few."""
    few = (None, None, None) if full else (1, 2, 2)
    return [
        cases.row("files that go during a run: 74, put back: same bits", GOING, few[0], seed),
        cases.row("resumed on other data, weights, settings: refused, nothing changed", OTHER, few[1], seed),
        cases.row("processes in other folders, with other data, or missing", APART, few[2], seed),
    ]


# ---------------------------------------------------------------- files that go during a run


def going(name: str):
    """A case: a file of the run folder, or with "" the folder itself, is moved away while a job of two processes trains."""

    def case(folder: Path) -> str:
        whole, run, away = jobs.unbroken(folder / "whole", **LONG), folder / "run", folder / "away"
        job_ = jobs.start(folder, 2, "--out=run", *tiny.flags(**LONG))
        jobs.until(job_, lambda: jobs.written(run) > whole.written / 4)
        (run / name).rename(away)
        trouble = jobs.refused(folder, job_, 74)
        if trouble or (run / "summary.json").exists() or (not name and run.exists()):
            return trouble or f"left {', '.join(path.name for path in run.iterdir())}"
        away.rename(run / name)
        return jobs.goes_on(folder, whole, 2)

    return case


GOING = {name or "the run folder": going(name) for name in ("config.json", "env.json", "metrics.jsonl", "")}


# ---------------------------------------------------------------- what a run began with


def write_data(seed: int = 0, unit: float = 1.0, flip: bool = False) -> None:
    """data.npz: 40 rows of two classes."""
    x = np.random.default_rng(seed).standard_normal((40, 3))
    np.savez("data.npz", x=unit * x, y=(x[:, 0] > 0) ^ flip)


def write_start(factor: float = 1.0) -> None:
    """start.safetensors: weights to begin from."""
    weights = open_session(Config(**DATA)).built.task.weights
    write_weights(Path("start.safetensors"), {k: layer._replace(W=factor * layer.W) for k, layer in weights.items()})


def edit(**changes) -> None:
    """Other values in the run's config.json; without any, those of before."""
    file, kept = Path("run/config.json"), Path("config.before")
    if changes:
        shutil.copy(file, kept)
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    else:
        kept.replace(file)


def other(change: Callable, back: Callable, words: list[str], stop: int = 2, **settings):
    """A case: what a run began with has changed when it is resumed; `back` mends it, and the run ends in the same bits."""

    def case(folder: Path) -> str:
        with contextlib.chdir(folder):
            write_data()
            write_start()
            config = Config(**DATA | settings)
            tiny.go_on(job.begin(Path("whole"), config, Solo()))
            tiny.go_on(job.begin(Path("run"), config, Solo()), watch=tiny.stop_after(stop))
            change()
            before = cases.contents(folder)
            if trouble := jobs.refused(folder, jobs.start(folder, 2, "--resume=run"), 2, words):
                return trouble
            if cases.contents(folder) != before:
                return "it was refused, but something has changed"
            back()
            tiny.go_on(Path("run"))
        same = jobs.outcome(folder / "run") == jobs.outcome(folder / "whole")
        return "" if same else "mended, and resumed to other bits"

    return case


DATA_CHANGED = ["data.npz: not what the run began with"]
OTHER = {
    "other rows": other(lambda: write_data(seed=1), write_data, DATA_CHANGED),
    "labels flipped": other(lambda: write_data(flip=True), write_data, DATA_CHANGED),
    "another unit": other(lambda: write_data(unit=1000.0), write_data, DATA_CHANGED),
    "a run that has ended, other rows": other(lambda: write_data(seed=1), write_data, DATA_CHANGED, stop=99),
    "other weights to start from": other(
        lambda: write_start(2.0),
        write_start,
        ["start.safetensors: not what the run began with"],
        init_from="start.safetensors",
    ),
    "heads edited by hand": other(lambda: edit(heads=4), edit, ["made with heads 3, but the run has 4"]),
    "lr edited by hand": other(lambda: edit(lr=0.5), edit, ["made with lr 0.001, but the run has 0.5"]),
}


# ---------------------------------------------------------------- processes that start elsewhere, or not at all


def elsewhere(folder: Path) -> str:
    """Process 1 starts in another folder: all make the run of process 0."""
    with contextlib.chdir(folder):
        write_data()
        tiny.go_on(job.begin(Path("whole"), Config(**DATA), Solo()))
        Path("sub").mkdir()
    apart = "import os; os.chdir('sub' if os.environ['PMI_RANK'] == '1' else '.')\n" + jobs.PLAIN
    program = ("-c", apart, "--quiet")
    code = jobs.ended(jobs.start(folder, 2, "--out=run", *tiny.words(**DATA), program=program))
    if code != 0 or jobs.outcome(folder / "run") != jobs.outcome(folder / "whole"):
        return f"exit {code}, {jobs.last_words(folder)}"
    return "left something there" if list((folder / "sub").iterdir()) else ""


def other_data(folder: Path) -> str:
    """Process 1 finds other images under the same name: 76, before the first step."""
    for name, y in (("0", range(10)), ("1", range(9, -1, -1))):
        (folder / name).mkdir()
        with contextlib.chdir(folder / name):
            faults.images(y=faults.labels(*y))
    apart = (
        "import os; os.environ['MINILTE_DATA'] = os.path.abspath(os.environ['PMI_RANK'] + '/images')\n" + jobs.PLAIN
    )
    flags = tiny.words(data="fashion-mnist", widths=(4,), heads=2, rank=1, batch=4, steps=2)
    program = ("-c", apart, "--quiet")
    started = jobs.start(folder, 2, "--out=run", *flags, program=program)
    trouble = jobs.refused(folder, started, 76, ["process 1: has as SHA-256 of its data"])
    return trouble or "a step was taken" * (folder / "run/metrics.jsonl").exists()


def missing(folder: Path) -> str:
    """A process ends before it comes to MPI: 75 and a single line when the start has taken too long."""
    soon = "from minilte.comm import launch; launch.startup_limit.__wrapped__.__defaults__ = (1.0,)\n" + jobs.PLAIN
    python = [sys.executable, "-c", soon, "--out=run", *tiny.flags(), ":", "-n", "1", "true"]
    started = jobs.start(folder, 2, python=python, program=())
    trouble = jobs.refused(folder, started, 75, ["not all 3 processes of the job came within 1 s"])
    return trouble or "a folder was made" * (folder / "run").exists()


APART = {"another folder": elsewhere, "other data": other_data, "a process is missing": missing}
