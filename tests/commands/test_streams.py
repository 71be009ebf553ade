"""How commands speak: whatever happens to a stream, the outcome is the same."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from minilte.commands import streams

FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
SAY = "import sys; from minilte.commands.streams import say, settle, hold; "


def shell(words, code, *argv, **env):
    """A program behind a redirection of sh: (exit code, stdout, stderr)."""
    line = ["sh", "-c", f'exec "$0" "$@" {words}', sys.executable, *code, *argv]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | env, errors="surrogateescape")
    return done.returncode, done.stdout, done.stderr


def talk(words, program, **env):
    return shell(words, ["-c", SAY + program], **env)


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize("to", ["stdout", "stderr"])
@pytest.mark.parametrize("where", ["&-", pytest.param("/dev/full", marks=FULL)])
def test_a_stream_that_is_closed_or_full_takes_nothing_from_the_other(to, where):
    number, other = {"stdout": (1, "stderr"), "stderr": (2, "stdout")}[to]
    program = f"say('one', {to!r}); say('two', {to!r}); say('alive', {other!r}); sys.exit(7)"
    code, *told = talk(f"{number}>{where}", program)
    assert code == 7 and "".join(told) == "alive\n"


@FULL
def test_what_other_code_left_in_a_full_stream_does_not_change_the_exit_code():
    assert talk(">/dev/full 2>/dev/full", "sys.stdout.write('x'); settle(); sys.exit(7)", PYTHONUNBUFFERED="")[0] == 7


def test_a_reader_that_has_gone_away_is_no_reason_to_stop():
    program = "say('x' * 9); sys.stdin.read(); say('y'); say('z'); say('alive', 'stderr')"
    process = subprocess.Popen(
        [sys.executable, "-c", SAY + program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    assert (process.communicate()[1], process.returncode) == (b"alive\n", 0)


def test_what_failed_once_is_tried_again(tmp_path):
    """A log on a disk that was full has the lines after that."""
    program = "import resource as r; size = r.getrlimit(r.RLIMIT_FSIZE); r.setrlimit(r.RLIMIT_FSIZE, (0, size[1])); "
    program += "say('lost'); r.setrlimit(r.RLIMIT_FSIZE, size); say('kept')"
    assert talk(f">{tmp_path / 'log'}", program)[0] == 0
    assert (tmp_path / "log").read_text() == "kept\n"


@pytest.mark.parametrize(
    ("encoding", "word", "shown"),
    [("ascii", "é", r"\xe9"), ("latin-1", "→", r"\u2192"), ("utf-8", "\\udcff", r"\udcff"), ("utf-8", "é", "é")],
)
def test_a_letter_that_an_encoding_lacks_is_shown_by_its_number(encoding, word, shown):
    code, out, _ = talk("", f"say('<{word}>')", PYTHONIOENCODING=f"{encoding}:strict")
    assert (code, out) == (0, f"<{shown}>\n")


def test_a_stream_of_the_caller_without_a_file_behind_it_may_fail_too(monkeypatch):
    class Broken(io.StringIO):
        def write(self, text):
            raise OSError("no")

    monkeypatch.setattr(sys, "stdout", Broken())
    streams.say("x")
    monkeypatch.setattr(sys, "stdout", closed := io.StringIO())
    closed.close()
    streams.say("x")
    monkeypatch.setattr(sys, "stderr", closed)
    assert not streams.terminal()


def test_the_numbers_of_closed_streams_are_taken(tmp_path):
    program = f"hold(); file = open({str(tmp_path / 'mine')!r}, 'w'); sys.exit(file.fileno())"
    assert talk("<&- >&- 2>&-", program)[0] > 2


# ---------------------------------------------------------------- commands

COST = ["-m", "minilte.cost"]
TRAIN = [
    "-c",
    "from minilte.show import pictures; pictures.run_pictures = lambda *_: None; "  # they take longer than all the rest
    "from minilte.commands import train; train.main.exit()",
]
BODY = """import sys
from minilte.commands.shared import Command
from minilte.settings.knob import of_knobs

@of_knobs
class Options:
    pass

def body(*_):
    sys.stdout.write("x")  # as code that does not know of all this
    return 7 if open("/dev/null").fileno() > 2 else 8

Command("prog", "words", Options, body).exit()"""


@FULL
def test_a_command_holds_closed_streams_and_settles_full_ones():
    assert shell(">/dev/full 2>&-", ["-c", BODY], PYTHONUNBUFFERED="")[0] == 7


EVERY = ["2>&-", ">&-", "<&- >&- 2>&-", *(pytest.param(f"{n}>/dev/full", marks=FULL) for n in ("", "2"))]


@pytest.mark.parametrize("words", EVERY)
def test_bad_input_is_2_on_any_stream(words):
    assert shell(words, COST, "--heads=0")[0] == 2
    assert shell(words, COST, "--heads=2")[0] == 0


@pytest.mark.parametrize("words", ["<&- >&- 2>&-", pytest.param(">/dev/full 2>/dev/full", marks=FULL)])
def test_a_run_ends_as_it_would_without_streams(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert shell(words, TRAIN, *tiny.flags(), "--out=run")[0] == 0
    assert tiny.the_summary(Path("run"))["steps"] == 6
    assert [json.loads(line)["step"] for line in Path("run", "metrics.jsonl").read_text().splitlines()] == [
        0,
        2,
        4,
        6,
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_folder_with_a_name_that_no_stream_can_show_is_trained_in(tmp_path, monkeypatch, encoding):
    monkeypatch.chdir(tmp_path)
    code, out, err = shell("", TRAIN, *tiny.flags(), "--out=o/\udcff", PYTHONIOENCODING=f"{encoding}:strict")
    assert (code, err) == (0, "") and out.endswith("run folder      o/\\udcff\n")


# ---------------------------------------------------------------- bars


def test_a_line_between_stands_above_the_bar(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    for number in streams.bar(range(2), "law", quiet=False):
        streams.say(f"line {number}")
    shown = [part.split("\r")[-1] for part in screen.getvalue().split("\n")]
    assert shown[:2] == ["line 0", "line 1"]
