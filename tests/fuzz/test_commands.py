"""Whatever is asked of a command, and wherever its output is to go: it ends with a code that it knows, in a line, and soon.

What was there is what it was, and nothing is left but what was asked for.
"""

import contextlib
import importlib
import io
import os
import shutil
import time
from pathlib import Path

import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minilte.bench import figures
from minilte.commands import COMMANDS, bench
from minilte.commands import report as report_command
from minilte.compare import runner
from minilte.compare.trial import Outcome
from minilte.experiments import picture as method_picture
from minilte.show import drawing, pictures, plateau, scale

FAST, LONG, SECONDS = 140, 4_000, 20  # of CPU time: the first call loads all libraries

ASKED = {  # of each command: what is cheap and right, the flag for its output, and the codes that it may end with
    "train": (tiny.flags(), "out", {0, 2, 77}),
    "report": (["run"], "out", {0, 2, 74}),
    "export": (["run", "--to=npz"], "out", {0, 2, 74}),
    "cost": ([], "plot", {0, 2}),
    "bench": (["--runs=1", "--only=nothing"], "scale", {0, 2}),
    "compare": (["full", "--seeds=2", "--tune-seeds=1", "--rates=0.1", "--decays=0.1"], "out", {0, 2}),
    "experiments": ([], "picture", {0, 2}),
    "verify": (["L4", "--examples=1"], "", {0, 1, 2}),
}
THERE = ["file", "file/new", "full", "pipe", "nowhere", "to-file", "to-full", "mine", "to-null", "to-no-room"]
PLACES = [
    *THERE,
    "new",
    "no/new",
    "empty",
    "report.html",
    "/proc/minilte",
    "\udcff",
    "é",
    "x" * 300,
    "a\nb",
    "a\0b",
    ".",
    "..",
    "",
]
VALUES = [
    "",
    "0",
    "1",
    "2",
    "-1",
    "1.5",
    "nan",
    "1e400",
    "9" * 40,
    "x",
    "é",
    "\udcff",
    "a\nb",
    "\0",
    "run",
    "peft",
    "lte",
]
WORDS = st.sampled_from(["--debug", "--help", "--json", "--", "-x", "--zzz=1", "--resume=run", "--to=peft", *VALUES])
NEVER = {"processes"}  # starts jobs of MPI


@st.composite
def asked(draw, name: str) -> tuple[list[str], str]:
    """A command line, and the place for its output."""
    right, flag, _ = ASKED[name]
    command = importlib.import_module(f"minilte.commands.{name}").main
    flags = [option for action in command.flags()._actions for option in action.option_strings]
    known = st.sampled_from([option for option in flags if option.strip("-") not in NEVER])
    odd = draw(st.lists(st.builds("{}={}".format, known, st.sampled_from(VALUES)) | known | WORDS, max_size=2))
    argv = [word for word in right if draw(st.integers(0, 9))] if name != "verify" else right
    place = draw(st.sampled_from(PLACES))
    return draw(st.permutations([*argv, *odd, *[f"--{flag}={place}"] * bool(flag)])), place


class Figure:
    """A picture that is drawn in no time."""

    def savefig(self, file, **_):
        svg = '<svg viewBox="0 0 1 1"><!-- matplotlib --></svg>'
        file.write(svg if isinstance(file, io.StringIO) else svg.encode())

    def findobj(self, _):
        return []


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a run, and with all that may stand in the place of an output."""
    root = tmp_path_factory.mktemp("commands")
    (work := root / "work").mkdir()
    with contextlib.chdir(work):
        tiny.go_on(tiny.begin(Path("run")))
        Path("file").write_text("mine")
        Path("empty").mkdir()
        for name in ("full", "mine"):
            Path(name).mkdir()
            Path(name, "notes").write_text("mine")
        for name in ("cost", "method", "scale", "ladder"):
            Path("mine", f"{name}.svg").write_text("mine")
            os.mkfifo(Path("mine", f"{name}.png"))
        os.mkfifo("pipe")
        Path("nowhere").symlink_to("deep/nothing")
        Path("to-file").symlink_to("file")
        Path("to-full").symlink_to("full")
        for name, device in (("to-null", "null"), ("to-no-room", "full")):  # never the device: root could replace it
            Path(name).symlink_to(f"/dev/{device}")
        assert report_command.main(["run"]) == 0
    return root


@pytest.fixture(autouse=True)
def quick(world, monkeypatch):
    """Nothing is measured and nothing is painted; no waiting for the disk."""
    monkeypatch.chdir(world / "work")
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(drawing, "painted", lambda *_: Figure())
    monkeypatch.setattr(pictures, "run_pictures", lambda *_: None)
    monkeypatch.setattr(figures, "FIGURES", ())
    monkeypatch.setattr(runner, "measured", lambda trial: Outcome([], 0, 0.0, "", "made up"))
    monkeypatch.setattr(bench, "growth", lambda _: {"made": "up"})
    monkeypatch.setattr("minilte.bench.scale.lines", lambda _: [])
    monkeypatch.setattr("minilte.bench.profile.profile", lambda _: [])
    monkeypatch.setattr(scale, "picture", lambda place, _: drawing.draw(place, "scale", lambda _: None))
    for name in ("curves", "floors"):
        monkeypatch.setattr(method_picture, name, lambda: ({}, {}))
    monkeypatch.setattr(plateau, "picture", lambda place, *_: drawing.draw(place, "method", lambda _: None))


def contents(root: Path) -> dict[Path, tuple]:
    """All that is below a folder: what it is, when it was changed, and where a link leads."""
    found = {path: path.lstat() for path in root.rglob("*")}
    return {
        path: (stat.st_ino, stat.st_mode, stat.st_mtime_ns * path.is_file(), path.is_symlink() and os.readlink(path))
        for path, stat in found.items()
    }


def check(name: str, root: Path, argv: list[str], place: str) -> None:
    """A call."""
    main, codes, before, begun = (
        importlib.import_module(f"minilte.commands.{name}").main,
        ASKED[name][2],
        contents(root),
        time.process_time(),
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(argv)
    assert time.process_time() - begun < SECONDS
    assert code in codes, said.getvalue()
    if "--debug" not in argv:
        assert said.getvalue().count("\n") == (code > 1) and said.getvalue().startswith(
            "minilte: error: " * (code > 1)
        )
    after = contents(root)
    if (name, place, code) == ("report", "report.html", 0):  # a report over a report
        mine = root / "work" / place
        before[mine] = after[mine]
    new = sorted(after.keys() - before.keys(), reverse=True)
    changed = [path for path in before if after.get(path) != before[path]]
    try:
        assert changed == []
        assert new == [] or code in (0, 77)
        if new:
            asked_for = Path(os.path.realpath(place))
            assert all(path.is_relative_to(asked_for) or asked_for.is_relative_to(path) for path in new)
        assert not [path for path in new if path.suffix == ".tmp"]
    finally:
        for path in new:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("name", COMMANDS)
@settings(max_examples=FAST // len(COMMANDS), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_command_line_and_place_ends_well(world, name, data):
    check(name, world, *data.draw(asked(name)))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", COMMANDS)
@settings(max_examples=LONG // len(COMMANDS), suppress_health_check=list(HealthCheck), derandomize=False)
@given(data=st.data())
def test_any_of_very_many_command_lines_and_places_ends_well(world, name, data):
    check(name, world, *data.draw(asked(name)))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", [name for name, (_, flag, _) in ASKED.items() if flag])
def test_every_command_with_every_place_ends_well(world, name, place):
    right, flag, _ = ASKED[name]
    check(name, world, [*right, f"--{flag}={place}"], place)


def test_every_command_is_asked():
    assert ASKED.keys() == COMMANDS.keys()
