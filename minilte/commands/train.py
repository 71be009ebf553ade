"""Train a network: python -m minilte.train, or mpirun -n 8 python -m minilte.train for heads as MPI processes."""

import os
import time
from pathlib import Path

from minilte.comm.agree import agreed
from minilte.commands import shared as command
from minilte.commands.streams import say, terminal
from minilte.core.errors import BadInput
from minilte.settings.config import Config, all_settings
from minilte.settings.knob import flag_name, knob, of_knobs
from minilte.settings.stored import absolute, read_toml


@of_knobs
class Options:
    """Where a run lives and how it speaks; nothing here changes its numbers."""

    out: str = knob("", "run folder, new or empty; default a new one under runs/")
    resume: str = knob("", "go on with the run in this folder, with its own settings")
    resume_latest_good: bool = knob(False, "where the newest checkpoint is damaged, take the one before")
    patience: float = knob(600.0, "seconds to wait for a process that gives no sign of life", least=1.0, most=1e6)
    config: str = knob("", "TOML file of settings; flags win")
    quiet: bool = knob(False, "only the final summary")


def train(options: Options, given: dict, transport) -> int:
    """The command on one process; returns the exit code."""
    from minilte.job import job
    from minilte.job.summary import summary_lines
    from minilte.show.pictures import run_pictures

    values = agreed(transport, lambda: settings(options, given))
    start, apart = started_in(transport)
    path = Path(start if apart else "", options.resume)
    if options.resume:
        config = job.settings(path, transport, values.get("heads"), values.get("steps"))
    else:
        config = agreed(transport, lambda: Config(**values))
        config = absolute(config, start) if apart else config
    agreed(transport, lambda: no_conflict(config, values, options, start))
    session = job.opened(config, transport)
    if not options.resume:  # only now: what cannot run leaves no folder
        session = session._replace(config=absolute(session.config, start))
        path = job.begin(
            Path(start if apart else "", folder_for(options, config, transport)), session.config, transport
        )
    watcher = Watcher(options.quiet)
    how = (options.patience, options.resume_latest_good, run_pictures)
    try:
        done = job.run(path, session, job.Watch(watcher.line, watcher.record, command.catch_signals(), *how))
    finally:
        watcher.close()
    stopped = isinstance(done, job.Stopped)
    if transport.process == 0:
        stop_line = f"stopped at step {done.step} and saved; go on with --resume {path}" if stopped else ""
        say(stop_line or "\n".join(summary_lines(path, done)))
    return 128 + done.signal if stopped else 0


def settings(options: Options, given: dict) -> dict:
    """The settings given in the file and by flags, which win. Raises BadInput."""
    if options.resume and options.out:
        raise BadInput("--out: a resumed run goes on in its own folder; leave it out")
    if options.resume_latest_good and not options.resume:
        raise BadInput("--resume-latest-good: expected --resume RUN beside it, which names the run that goes on")
    table = read_toml(options.config) if options.config else {}
    return table | {name: given[name] for name in all_settings() if name in given}


def started_in(transport) -> tuple[str, bool]:
    """(the working directory of process 0, in which all relative paths are meant; has any process another?)"""
    try:
        here = os.getcwd()
    except OSError:  # it was deleted meanwhile
        here = ""
    folders = transport.objects(here)
    return folders[0], len(set(folders)) > 1


def no_conflict(config: Config, values: dict, options: Options, start: str) -> None:
    """A resumed run keeps its settings, and waits longer for a process than for late heads. Raises BadInput."""
    had, asked = (absolute(of, start).flat() for of in (config, config.replace(**values)))
    for name in values if options.resume else ():
        if (value := asked[name]) != had.get(name):
            raise BadInput(
                f"{flag_name(name)}: the run in {Path(options.resume)} has {had.get(name)!r}, got {value!r};"
                " leave it out, or begin anew"
            )
    if config.topology.quorum and config.grace >= options.patience:
        raise BadInput(f"patience: expected more than the --grace of {config.grace:g} s, got {options.patience:g}")


def folder_for(options: Options, config: Config, transport) -> Path:
    """--out, or a new name under runs/, the same on every process."""
    if options.out:
        return Path(options.out)
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.method.name}"
    names = [stem, *(f"{stem}-{i}" for i in range(2, 1000))]
    free = next(name for name in names if not (Path("runs") / name).exists())
    return Path("runs") / transport.objects(free)[0]


class Watcher:
    """Shows a run: a progress bar on a terminal, elsewhere a line at every evaluation."""

    def __init__(self, quiet: bool):
        self.quiet, self.bar, self.session = quiet, None, None

    def line(self, text: str) -> None:
        """A line between the others."""
        if not self.quiet:
            say(text)

    def record(self, record, session) -> None:
        """After every merge."""
        from minilte.job.summary import describe, record_words

        if self.quiet:
            return
        if session is not self.session:
            self.close()
            say(describe(session.config, session.built))
            self.session, self.bar = session, progress_bar(session.config.steps, record.step)
        if self.bar:
            self.bar.update(record.step - self.bar.n)
        if record.held_loss is not None:
            show = self.bar.set_postfix_str if self.bar else lambda words: say(f"step {record.step:5d}  {words}")
            show(record_words(record))

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self.bar:
            self.bar.close()
            self.bar = None


def progress_bar(steps: int, done: int):
    """A tqdm bar on a terminal, else None."""
    if not terminal():
        return None
    from tqdm import tqdm

    return tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True)


main = command.Command("python -m minilte.train", __doc__, Options, train, trains=True)
