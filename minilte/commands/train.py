"""Train a network: python -m minilte.train, or mpirun -n 8 python -m minilte.train for heads as MPI processes."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minilte.commands import shared as command
from minilte.commands.shared import say
from minilte.core.errors import BadInput
from minilte.settings.config import Config
from minilte.settings.flags import parse, parser
from minilte.settings.knob import flag_name, knob
from minilte.settings.stored import read_toml


@dataclass(frozen=True)
class Options:
    """Where a run lives and how it speaks; nothing here changes its numbers."""

    out: str = knob("", "run folder, new or empty; default a new one under runs/")
    resume: str = knob("", "go on with the run in this folder, with its own settings")
    resume_latest_good: bool = knob(False, "where the newest checkpoint is damaged, take the one before")
    patience: float = knob(600.0, "seconds to wait for a process that gives no sign of life", least=1.0, most=1e6)
    config: str = knob("", "TOML file of settings; flags win")
    quiet: bool = knob(False, "only the final summary")
    debug: bool = knob(False, "show tracebacks")


OPTIONS = {option.name for option in dataclasses.fields(Options)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return command.main(train, flags, argv)


def flags():
    """The parser of this command's flags."""
    return parser("python -m minilte.train", __doc__, Options, settings=True)


def train(argv: Sequence[str], transport) -> int:
    """The command on one process; returns the exit code."""
    from minilte.comm.agree import agreed, alike
    from minilte.job import job
    from minilte.job.summary import summary_lines
    from minilte.show.pictures import run_pictures

    options, values = agreed(transport, lambda: read(argv))
    alike(transport, {"command line": argv}, "the")
    if options.resume:
        path = Path(options.resume)
        config = job.settings(path, transport, values.get("heads"), values.get("steps"))
        agreed(transport, lambda: no_conflict(config, values, path))
    else:
        config = agreed(transport, lambda: Config(**values))
    agreed(transport, lambda: no_impatience(config, options))
    session = job.opened(config, transport)
    if not options.resume:  # only now: what cannot run leaves no folder
        path = job.begin(folder_for(options, config, transport), config, transport)
    watcher = Watcher(options.quiet)
    done = job.run(
        path,
        session,
        job.Watch(
            watcher.line,
            watcher.record,
            command.catch_signals(),
            options.patience,
            options.resume_latest_good,
            run_pictures,
        ),
    )
    watcher.close()
    stopped = isinstance(done, job.Stopped)
    if transport.process == 0:
        stop_line = f"stopped at step {done.step} and saved; go on with --resume {path}" if stopped else ""
        say(stop_line or "\n".join(summary_lines(path, done)))
    return 128 + done.signal if stopped else 0


def read(argv: Sequence[str]) -> tuple[Options, dict]:
    """(options, settings given in the file and by flags, which win). Raises BadInput."""
    values = parse(flags(), argv)
    options = Options(**{name: value for name, value in values.items() if name in OPTIONS})
    for name in ("out", "resume", "config"):
        if values.get(name) == "":  # as from a shell variable that is not set
            raise BadInput(f"--{name}: expected a path, got nothing; leave it out, or name one")
    if options.resume and options.out:
        raise BadInput("--out: a resumed run goes on in its own folder; leave it out")
    table = read_toml(options.config) if options.config else {}
    return options, table | {name: value for name, value in values.items() if name not in OPTIONS}


def no_conflict(config: Config, values: dict, path: Path) -> None:
    """A resumed run keeps its settings. Raises BadInput naming both values where something given says otherwise."""
    had, asked = config.flat(), config.replace(**values).flat()
    for name in values:
        if (value := asked[name]) != had.get(name):
            raise BadInput(
                f"{flag_name(name)}: the run in {path} has {had.get(name)!r}, got {value!r}; leave it out, or begin anew"
            )


def no_impatience(config: Config, options: Options) -> None:
    """Raises BadInput where the wait for late heads is as long as that for a process that hangs."""
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
            self.session, self.bar = session, progress_bar(session.config.steps, record.step)
            say(describe(session.config, session.built))
        if self.bar:
            self.bar.update(record.step - self.bar.n)
        if record.test_loss is not None:
            show = self.bar.set_postfix_str if self.bar else lambda words: say(f"step {record.step:5d}  {words}")
            show(record_words(record))

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self.bar:
            self.bar.close()
            self.bar = None


def progress_bar(steps: int, done: int):
    """A tqdm bar on a terminal, else None."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    return tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True)


if __name__ == "__main__":
    sys.exit(main())
