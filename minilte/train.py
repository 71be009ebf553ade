"""Train a network: `python -m minilte.train`, or `mpirun -n 8 python -m minilte.train` for heads as MPI processes."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from minilte.core.errors import BadInput, MinilteError
from minilte.runs.config import Config, knob
from minilte.runs.flags import parse, parser, read_toml


@dataclass(frozen=True)
class Options:
    """Where a run lives and how it speaks; nothing here changes its numbers."""

    out: str = knob("", "run folder, new or empty; default a new one under runs/")
    resume: str = knob("", "go on with the run in this folder, with its own settings")
    config: str = knob("", "TOML file of settings; flags win")
    quiet: bool = knob(False, "only the final summary")
    debug: bool = knob(False, "show tracebacks")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 done, 2 bad input, 70 internal, 74 disk, 77 diverged, 128 + signal)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if "-h" in argv or "--help" in argv:
        return show_help()
    try:
        transport, spoken = connect()
    except MinilteError as error:
        return complain(error, argv)
    try:
        return train(argv, transport, spoken)
    except MinilteError as error:
        if transport.size > 1 and not getattr(error, "agreed", False):
            complain(error, argv)
            transport.abort(error.code)
        return complain(error, argv) if transport.rank == 0 else error.code
    except BaseException as error:  # whatever it is: no other rank may wait for this one
        code = internal(error, argv, transport.rank)
        if transport.size > 1:
            transport.abort(code)
        return code


def show_help() -> int:
    """All flags; from one rank only."""
    if os.environ.get("PMI_RANK", "0") == "0":
        say(made_parser().format_help().rstrip())
    return 0


def made_parser():
    """The parser of this command's flags."""
    return parser("python -m minilte.train", __doc__.splitlines()[0], Config, Options)


def connect():
    """(transport, what to say about it once)."""
    from minilte.comm import mpi
    from minilte.comm.solo import Solo

    if transport := mpi.connect():
        return (transport, "") if transport.size > 1 else (Solo(), "")
    return Solo(), "note: no MPI library found: all heads run in this process"


def complain(error: MinilteError, argv: Sequence[str]) -> int:
    """The one line of an error, and its exit code."""
    if "--debug" in argv:
        traceback.print_exception(error)
    print(f"minilte: error: {error}", file=sys.stderr, flush=True)
    return error.code


def internal(error: BaseException, argv: Sequence[str], rank: int) -> int:
    """The line for what nobody expected; 70, or 128 + SIGINT for an impatient user."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if "--debug" in argv:
        traceback.print_exception(error)
    what = f"left early with sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
    line = " ".join(what.split())
    print(f"minilte: error: rank {rank}: {line}; this is a bug, --debug shows where", file=sys.stderr, flush=True)
    return MinilteError.code


def train(argv: Sequence[str], transport, spoken: str) -> int:
    """The command on one rank."""
    from minilte.runs import job
    from minilte.runs.agree import agreed

    given = agreed(transport, lambda: read(argv))
    options, values = given
    if options.resume:
        path, config = Path(options.resume), job.settings(Path(options.resume), transport)
        agreed(transport, lambda: no_conflict(config, values, path))
    else:
        config = agreed(transport, lambda: Config(**values))
        path = job.begin(folder_for(options, config, transport), config, transport)
    watch = Watcher(options.quiet or transport.rank != 0)
    if spoken and transport.rank == 0:
        say(spoken)
    done = job.run(path, config, transport, job.Watch(watch.line, watch.record, catch_signals()))
    watch.close()
    if isinstance(done, job.Stopped):
        if transport.rank == 0:
            say(f"stopped at step {done.step} and saved; go on with --resume {path}")
        return 128 + done.signal
    if transport.rank == 0:
        for line in summary_lines(path, config, done):
            say(line)
    return 0


def read(argv: Sequence[str]) -> tuple[Options, dict]:
    """(options, settings given in the file and by flags, which win). Raises BadInput."""
    values = parse(made_parser(), argv)
    names = {knob.name for knob in fields(Options)}
    options = Options(**{name: value for name, value in values.items() if name in names})
    if options.resume and options.out:
        raise BadInput("--resume: goes on in the run's own folder, so --out has no place beside it")
    table = read_toml(options.config, Config) if options.config else {}
    return options, table | {name: value for name, value in values.items() if name not in names}


def no_conflict(config: Config, values: dict, path: Path) -> None:
    """A resumed run keeps its settings. Raises BadInput naming both values where a flag says otherwise."""
    for name, value in values.items():
        value = tuple(value) if isinstance(value, list) else value
        if value != (had := getattr(config, name)):
            raise BadInput(f"--{name.replace('_', '-')}: the run in {path} has {had!r}, got {value!r}; leave it out, or begin a new run")


def folder_for(options: Options, config: Config, transport) -> Path:
    """--out, or a new name under runs/, the same on every rank."""
    if options.out:
        return Path(options.out)
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.method}"
    free = (name for name in [stem, *(f"{stem}-{i}" for i in range(2, 1000))] if not (Path("runs") / name).exists())
    return Path("runs") / transport.objects(next(free))[0]


def catch_signals():
    """SIGINT and SIGTERM ask the run to save and stop; a second one stops at once. Returns a function: signal or 0."""
    asked = [0]

    def handler(number, _):
        if asked[0]:
            os._exit(128 + number)
        asked[0] = number

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
    return lambda: asked[0]


def say(line: str) -> None:
    """One line on stdout; a reader that has gone away is no reason to stop."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Watcher:
    """Shows a run: a progress bar on a terminal, a line at every evaluation elsewhere."""

    def __init__(self, quiet: bool):
        self.quiet, self.bar, self.session = quiet, None, None

    def line(self, text: str) -> None:
        """A line between the others."""
        if not self.quiet:
            say(text)

    def record(self, record, session) -> None:
        """After every merge."""
        from minilte.runs.build import describe

        if self.quiet:
            return
        if session is not self.session:
            self.close()
            self.session = session
            say(describe(session.config, session.parts))
            self.bar = progress_bar(session.config.steps, record.step)
        if self.bar:
            self.bar.update(record.step - self.bar.n)
        if record.test_loss is None:
            return
        accuracy = "" if record.test_accuracy is None else f"  accuracy {100 * record.test_accuracy:5.2f} %"
        if self.bar:
            self.bar.set_postfix_str(f"held-out loss {record.test_loss:.4f}{accuracy}")
        else:
            say(f"step {record.step:5d}  train {record.train_loss:.4f}  held out {record.test_loss:.4f}{accuracy}")

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


def summary_lines(path: Path, config: Config, summary: dict) -> list[str]:
    """What a person wants to know at the end."""
    from minilte.runs.account import human

    sent, memory, versus = summary["bytes_sent"], summary["memory"], summary["versus"]
    accuracy = summary["test_accuracy"]
    lines = [] if accuracy is None else [f"test accuracy   {100 * accuracy:.2f} %"]
    lines.append(f"loss            {summary['test_loss']:.4f} held out, {summary['train_loss']:.4f} training")
    if versus:
        against = versus["test_accuracy"]
        score = f"{100 * against:.2f} %, " if against is not None else ""
        lines.append(f"full rank       {score}loss {versus['test_loss']:.4f} held out, on the same samples")
    lines.append(f"samples         {summary['samples']:,} in {summary['seconds']:.1f} s, {summary['samples_per_second']:,.0f} a second")
    ranks = len(sent["per_rank"])
    if ranks > 1:
        lines.append(
            f"sent            {human(sent['total'] / ranks)} a rank, {human(sent['total'])} by {ranks} ranks; full-rank data "
            f"parallel: {human(sent['full_rank_ring'])} by ring, {human(sent['full_rank_all_to_all'])} all to all"
        )
    else:
        lines.append("sent            nothing: all heads are in one process")
    held = ", ".join(f"{human(memory[key])} {key.replace('_', ' ')}" for key in ("weights", "adapters", "merged_factors", "gradients", "optimizer") if memory[key])
    lines.append(f"memory          {human(memory['total'])} a worker ({held}); full rank {human(memory['full_rank_total'])}")
    lines.append(f"weights sha256  {summary['weights_sha256']}")
    lines.append(f"pictures        {path / 'plots'}: " + ", ".join(sorted(file.name for file in (path / "plots").glob("*.png"))))
    lines.append(f"run folder      {path}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
