"""Compare methods on one fair ladder, each tuned alike: python -m minilte.compare METHOD…"""

import os
import time
from pathlib import Path

from minilte.commands.shared import JSON, Command, catch_signals
from minilte.commands.streams import say, terminal, write
from minilte.compare.rules import Rules
from minilte.core.errors import BadInput
from minilte.disk.files import shown
from minilte.disk.outputs import make_folder
from minilte.settings.config import all_settings
from minilte.settings.knob import knob, of_knobs

USUAL = ("full", "full+muon", "fedavg", "diloco", "lte")  # where no method is named
QUICK = dict(widths=(64,), batch=128, heads=4, rank=8, alpha=128.0, steps=60, seeds=3, tune_seeds=1)


@of_knobs
class Options(Rules):
    """What is compared, how, and where it is kept."""

    methods: tuple[str, ...] = knob(
        (),
        "a method, and other parts after a + each, as lte+outer+ties or full+muon; default " + " ".join(USUAL),
        word="METHOD",
        count="*",
    )
    ladder: str = knob("", "TOML file of a ladder: its rules, the settings of all, and [entries]; flags win")
    out: str = knob("compared", "folder that keeps every run, so that none is made twice, and gets the page")
    quick: bool = knob(False, "a small network on fashion-mini, 60 steps, 3 seeds: under 2 minutes")
    json: bool = JSON


def compare(options: Options, given: dict, _) -> int:
    """Tune, measure, and write the table and the page; returns the exit code."""
    from minilte.compare.entrants import entry, read_by
    from minilte.compare.file import read_ladder
    from minilte.compare.ladder import planned
    from minilte.compare.runner import Runner
    from minilte.compare.side_by_side import Interrupted
    from minilte.compare.store import Store
    from minilte.disk.folder import alone, write_json
    from minilte.show import ladder as page

    entries, settings = read_ladder(options.ladder) if options.ladder else ({}, {})
    if options.methods:
        entries = {words: entry(words) for words in options.methods}
        if len(entries) < len(options.methods):
            raise BadInput("method: a name is given twice; give it once")
    names = {*Rules.__dataclass_fields__, *all_settings()}
    made = entries or dict.fromkeys(USUAL)
    made = {name: of or entry(name) for name, of in made.items()}
    read = read_by(made.values()) | set(Rules.__dataclass_fields__)
    quick = {name: value for name, value in QUICK.items() if options.quick and name in read}
    settings = quick | settings | {name: given[name] for name in given if name in names}
    ready, place, watcher = planned(made, **settings), Path(options.out), Watcher(options.json)
    if os.path.isdir(place):
        page.refuse(place)
    make_folder(place)
    with alone(place):
        try:
            found = ready.ladder(Runner(Store(place), watcher.watch())).plain()
        except Interrupted as asked:
            say(f"stopped; {watcher.made} runs were made and are kept in {shown(place)}: the same command goes on")
            return 128 + asked.args[0]
        finally:
            watcher.close()
        write_json(place / "ladder.json", found)
        page.write(found, place)
    write(found, lines(found, place), options.json)
    return 0


def lines(found: dict, place: Path):
    """The table, what must be known of it, and where the page is."""
    from minilte.show import standings

    yield from standings.text(standings.head(found), standings.cells(found))
    yield ""
    yield standings.conditions(found)
    yield from standings.remarks(found)
    head, rows = standings.matches(found)
    if rows:
        yield from ["", *standings.text(head, rows)]
    yield ""
    yield f"page in {place / 'ladder.html'}, table in {place / 'ladder.json'}"


EVERY = 10.0  # seconds between two lines on how far it is


class Watcher:
    """Shows how far a ladder is: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, quiet: bool):
        self.quiet, self.bar, self.made, self.said = quiet, None, 0, time.monotonic()

    def watch(self):
        """How the ladder speaks to it."""
        from minilte.compare.runner import Watch

        return Watch(self.progress, catch_signals())

    def progress(self, made: int, known: int, left: float) -> None:
        """After every run that was made."""
        self.made = made
        words = f"about {left / 60:.0f} min left of those" if left >= 90 else f"about {left:.0f} s left of those"
        if self.quiet:
            return
        if terminal():
            from tqdm import tqdm

            self.bar = self.bar or tqdm(unit="run", dynamic_ncols=True)
            self.bar.total, self.bar.n = known, made
            self.bar.set_postfix_str(words)
        elif time.monotonic() >= self.said + EVERY:
            self.said = time.monotonic()
            say(f"{made} runs of {known} that are known to be needed by now; {words}")

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self.bar:
            self.bar.close()


main = Command("python -m minilte.compare", __doc__, Options, compare, settings=True)
