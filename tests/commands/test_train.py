"""The training command as a person uses it."""

import hashlib
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from faults import FAULTS
from safetensors.numpy import load_file

from minilte.commands import train
from minilte.run.observe import Record
from minilte.show import pictures

HANDLED = (signal.SIGINT, signal.SIGTERM)
PICTURES = pictures.run_pictures


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own, pictures only if asked for, no waiting for the disk; signals end as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pictures, "run_pictures", lambda *_: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def drawn(place, monkeypatch):
    """With pictures, which take longer than all the rest."""
    monkeypatch.setattr(pictures, "run_pictures", PICTURES)


@pytest.fixture
def run(capsys):
    """The command in this process: arguments -> (code, stdout, stderr)."""

    def command(*argv, **changes):
        code = train.main([*tiny.flags(*argv, **changes), *argv])
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def done(run):
    """The same for a run that must succeed: its summary and what it said."""

    def command(*argv, **changes):
        code, out, err = run(*argv, **changes)
        assert (code, err) == (0, "")
        return tiny.the_summary(Path(re.search(r"^run folder +(.*)$", out, re.M)[1])), out

    return command


def resume(run, path, *argv):
    """The same for a run that goes on with the settings of its folder."""
    return run(f"--resume={path}", *argv, **dict.fromkeys(tiny.TINY))


def start(*argv, program=("-m", "minilte.train")):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, *program, *argv], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_bad_input_is_one_line_with_what_is_wrong_and_leaves_nothing_behind(run, place, fault):
    fault.disk()
    before = sorted(place.rglob("*"))
    code, _, err = run(*fault.argv)
    assert code == 2
    assert err.startswith("minilte: error: ") and err.count("\n") == 1 and err.endswith("\n")
    for words in fault.words:
        assert words in err
    assert sorted(place.rglob("*")) == before  # no folder of a run that never was


def test_debug_shows_the_traceback_before_the_line(run):
    code, _, err = run("--lr=0", "--debug")
    assert code == 2 and "Traceback" in err and err.splitlines()[-1].startswith("minilte: error: lr: ")


# ---------------------------------------------------------------- settings and folders


def test_flags_win_over_the_file_and_the_file_over_the_defaults(done):
    Path("run.toml").write_text("lr = 0.005\nweight-decay = 0.25\nhead_ranks = [1, 2]\n")
    done("--config=run.toml", "--lr=0.00125", "--out=out")
    got = json.loads(Path("out", "config.json").read_text())
    assert (got["lr"], got["weight_decay"], got["head_ranks"], got["beta1"]) == (0.00125, 0.25, [1, 2], 0.9)


def test_a_run_goes_to_a_new_folder_under_runs_named_by_time_and_method(done, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda _: "20240102-030405")
    for _ in range(3):
        done(steps=0)
    stem = "20240102-030405-lte"
    assert sorted(path.name for path in Path("runs").iterdir()) == [stem, f"{stem}-2", f"{stem}-3"]


@pytest.mark.parametrize("path", ["absent", "empty", "a/b"])
def test_out_names_the_folder(done, path):
    Path("empty").mkdir()
    done(f"--out={path}")
    assert not Path("runs").exists() and Path(path, "summary.json").exists()


def test_the_folder_holds_what_the_design_says(done, drawn):
    _, out = done("--out=a")
    assert {found.name for found in Path("a").iterdir()} == {
        "config.json",
        "env.json",
        "metrics.jsonl",
        "ckpt",
        "final.safetensors",
        "plots",
        "summary.json",
    }
    assert re.search(r"^pictures +loss.png, spectrum.png in a/plots$", out, re.M)


def test_a_folder_is_used_once(run, done):
    done("--out=a")
    before = {path: path.read_bytes() for path in Path("a").rglob("*") if path.is_file()}
    assert run("--out=a")[0] == 2
    assert {path: path.read_bytes() for path in Path("a").rglob("*") if path.is_file()} == before


# ---------------------------------------------------------------- stop and resume


@pytest.mark.parametrize("number", HANDLED, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("method", ["lte", "full"])
def test_a_run_stopped_by_a_signal_and_resumed_ends_in_the_same_bits(run, done, monkeypatch, number, method):
    def record(watcher, record, session):
        listen(watcher, record, session)
        if record.step == 2:
            os.kill(os.getpid(), number)

    expected, listen = done("--out=whole", method=method)[0], train.Watcher.record
    with monkeypatch.context() as patch:
        patch.setattr(train.Watcher, "record", record)
        code, out, err = run("--out=cut", method=method)
    step = 4 if method == "lte" else 3
    assert (code, err) == (128 + number, "")
    assert out.splitlines()[-1] == f"stopped at step {step} and saved; go on with --resume cut"
    assert not Path("cut", "summary.json").exists()
    code, out, err = resume(run, "cut")
    assert (code, err) == (0, "") and "step     6" in out and "step     2" not in out
    assert tiny.the_summary(Path("cut"))["weights_sha256"] == expected["weights_sha256"]


def test_a_run_killed_at_once_and_resumed_is_the_run_that_never_stopped(run, done):
    settings = dict(steps=60, save_every=2)
    expected, _ = done("--out=whole", **settings)
    killed = start(*tiny.flags(**settings), "--out=cut", "--quiet")
    while not (list(Path("cut").glob("ckpt/step-*")) or killed.poll() is not None):
        time.sleep(0.002)
    killed.kill()
    finish(killed)
    assert not Path("cut", "summary.json").exists()
    assert resume(run, "cut")[0] == 0
    assert tiny.the_summary(Path("cut"))["weights_sha256"] == expected["weights_sha256"]


def test_two_processes_never_run_in_one_folder(run):
    first = start(*tiny.flags(steps=10_000), "--out=a", "--quiet")
    while not Path("a", "metrics.jsonl").exists():
        assert first.poll() is None
        time.sleep(0.005)
    code, _, err = resume(run, "a")
    assert code == 2 and err == (
        "minilte: error: a: another process is running it; stop that process first, or name another folder\n"
    )
    first.terminate()
    assert finish(first)[0] == 143


def test_a_run_goes_on_from_another_folder_with_the_files_that_it_was_given(run, place, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.standard_normal((40, 3)), y=np.arange(40) % 2)
    own = ["--data=data.npz", "--model=linear", "--rank=2", "--alpha=4", "--batch=8", "--steps=6", "--out=run"]
    code, _, err = run(*own, **dict.fromkeys(tiny.TINY))
    assert (code, err) == (0, "")
    assert json.loads(Path("run", "config.json").read_text())["data"] == str(place / "data.npz")
    assert resume(run, "run", "--data=data.npz", "--steps=8")[0] == 0  # the same file in other words
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    assert resume(run, "../run", "--steps=10")[0] == 0
    code, _, err = resume(run, "../run", "--data=data.npz")
    assert code == 2 and "data: the run in ../run has" in err


def test_a_run_without_a_checkpoint_starts_at_step_0(run, done):
    expected, _ = done("--out=whole")
    tiny.begin(Path("cut"))
    code, out, _ = resume(run, "cut")
    assert code == 0 and "step     0" in out
    assert tiny.the_summary(Path("cut"))["weights_sha256"] == expected["weights_sha256"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--lr=0.5"], "lr: the run in cut has 0.001, got 0.5"),
        (["--widths=3"], "widths: belongs to --model mlp, deep-linear, residual-mlp; leave it out, or choose that"),
        (["--merge-rule=ties"], "merge-rule: the run in cut has 'mean', got 'ties'"),
        (["--method=full"], "method: the run in cut has 'lte', got 'full'"),
        (["--head-ranks=1,2"], "head-ranks: the run in cut has (), got (1, 2)"),
        (["--no-bias"], "bias: the run in cut has True, got False"),
        (["--config=run.toml"], "seed: the run in cut has 0, got 1"),
        (["--heads=0"], "heads: expected a whole number of at least 1, got 0"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_resumed_run_keeps_its_settings_and_names_both_values(run, argv, words):
    tiny.begin(Path("cut"))
    Path("run.toml").write_text("seed = 1\nsteps = 6\n")
    code, _, err = resume(run, "cut", *argv)
    assert code == 2 and err.startswith(f"minilte: error: {words}") and err.count("\n") == 1


def test_a_finished_run_goes_on_for_more_steps_and_says_what_its_schedule_makes_of_them(run, done):
    done("--out=a", "--schedule=constant", "--warmup=0")
    code, out, err = resume(run, "a", "--steps=10")
    assert (code, err) == (0, "") and tiny.the_summary(Path("a"))["steps"] == 10
    assert (
        "note: the run had ended at step 6 and goes on to 10; the rate was 0.001 at the end of 6 steps, "
        "and 0.001 from step 6 on" in out
    )
    expected, _ = done("--out=b", "--schedule=constant", "--warmup=0", steps=10)
    assert tiny.the_summary(Path("a"))["weights_sha256"] == expected["weights_sha256"]
    code, out, err = resume(run, "a", "--steps=9")
    assert (code, out) == (2, "")
    assert err == "minilte: error: steps: the run has 10, got 9; a run goes on for more, not for fewer\n"


def test_a_run_folder_of_another_format_is_one_line(run):
    tiny.begin(Path("old"))
    settings = json.loads(Path("old", "config.json").read_text())
    del settings["format"]
    Path("old", "config.json").write_text(json.dumps(settings))
    assert resume(run, "old") == (
        2,
        "",
        "minilte: error: old/config.json: a run folder of format 1, expected 2; read it with the minilte that wrote it\n",
    )


def test_settings_that_say_the_same_may_be_repeated(run):
    tiny.begin(Path("cut"), head_ranks=(1, 2))
    Path("run.toml").write_text("lr = 1e-3\nhead_ranks = [1, 2]\n")
    assert resume(run, "cut", "--config=run.toml", "--heads=2", "--alpha=2048")[0] == 0


def test_weights_of_one_run_are_where_another_starts(done):
    first, _ = done("--out=a")
    done("--out=b", "--init-from=a/final.safetensors")
    start = json.loads(Path("b", "metrics.jsonl").read_text().splitlines()[0])
    assert start["step"] == 0
    assert (start["test_loss"], start["train_loss"]) == (first["test_loss"], first["train_loss"])


# ---------------------------------------------------------------- trouble on the way


LIMITED = """import resource, sys
from minilte.commands import shared as command
from minilte.commands import train
command.connect()  # an MPI library asks for more than the limit
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # no file grows beyond: like a full disk
sys.exit(train.main(sys.argv[2:]))"""


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(run, done):
    expected, _ = done("--out=whole")
    code, _, err = finish(start("2000", *tiny.flags(), "--out=cut", program=("-c", LIMITED)))
    assert code == 74 and err.startswith("minilte: error: cannot write cut/") and err.count("\n") == 1
    assert "state.safetensors" in err and "File too large; free space, then --resume" in err
    assert not Path("cut", "summary.json").exists()
    assert resume(run, "cut")[0] == 0
    assert tiny.the_summary(Path("cut"))["weights_sha256"] == expected["weights_sha256"]
    assert not list(Path("cut").rglob("*.tmp"))


@pytest.mark.parametrize(
    ("room", "variables", "words"),
    [
        ("12000", {}, "plots/loss.svg: File too large"),
        ("1000000", {"MPLBACKEND": "nonsense"}, "nonsense"),
    ],
    ids=["full-disk", "no-such-backend"],
)
def test_a_picture_that_fails_is_a_note_and_the_run_is_done(monkeypatch, room, variables, words):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, out, err = finish(start(room, *tiny.flags(), "--out=a", program=("-c", LIMITED)))
    (note,) = re.findall("^note: not all pictures are drawn .*$", out, re.M)
    assert (code, err) == (0, "") and words in note and re.search("^pictures +none$", out, re.M)
    assert tiny.the_summary(Path("a"))["steps"] == 6 and not list(Path("a").rglob("*.tmp"))


@pytest.mark.parametrize(("steps", "words"), [(6, "head 0: "), (1, "main weights, training: ")])
def test_a_run_that_diverges_is_one_line_that_names_whose_loss(steps, words):
    code, _, err = finish(start(*tiny.flags(steps=steps), "--optimizer=sgd", "--lr=1e30", "--out=a"))
    assert code == 77 and err.startswith(f"minilte: error: {words}") and err.count("\n") == 1
    assert not Path("a", "summary.json").exists()


def test_a_reader_that_leaves_after_one_line_does_not_stop_the_run():
    process = start(*tiny.flags(steps=30, eval_every=2), "--out=a")
    assert process.stdout.readline().startswith("lte on least-squares")
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(60) == 0
    assert tiny.the_summary(Path("a"))["steps"] == 30


# ---------------------------------------------------------------- what it tells


def test_the_summary_has_the_keys_of_the_design_and_the_hash_of_the_file(done):
    got, _ = done("--out=a")
    assert got.keys() >= {
        "test_accuracy",
        "train_loss",
        "steps",
        "samples",
        "seconds",
        "samples_per_second",
        "bytes_sent",
        "measures",
        "memory",
        "weights_sha256",
    }
    zero = dict(total=0, before_resume=0, headers=0, full_rank_ring=0, full_rank_all_to_all=0)
    assert got["bytes_sent"] == zero | dict(per_process=[0], by_kind={})
    tensors = load_file("a/final.safetensors")
    content = b"".join(tensors[f"layer1.{part}"].astype("<f4").tobytes() for part in ("weight", "bias"))
    assert hashlib.sha256(content).hexdigest() == got["weights_sha256"]
    assert (got["steps"], got["samples"], got["parameters"]) == (6, 48, 28)


def test_a_regression_has_no_accuracy_anywhere(done, drawn):
    got, out = done("--out=a")
    assert got["test_accuracy"] is None and "accuracy" not in out
    assert not Path("a", "plots", "accuracy.png").exists()


def test_a_classification_has_one(done, drawn):
    got, out = done("--out=a", data="fashion-mini", steps=2)
    assert 0 <= got["test_accuracy"] <= 1 and f"test accuracy   {100 * got['test_accuracy']:.2f} %" in out
    assert Path("a", "plots", "accuracy.png").exists()


def test_a_baseline_is_told_beside_the_run(done, drawn):
    got, out = done("--out=a", "--versus=full")
    alone, _ = done("--out=b", method="full")
    assert got["versus"]["weights_sha256"] == alone["weights_sha256"]
    assert f"full rank       {alone['test_loss']:.4f} held out" in out
    assert "now the baseline, full, on the same samples" in out
    assert Path("a", "versus-full", "summary.json").exists()


def test_quiet_tells_only_the_end(done):
    _, out = done("--quiet")
    assert out.startswith("loss ") and "step" not in out


def test_every_line_but_the_end_is_an_evaluation(done):
    _, out = done("--eval-every=4")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("step")] == ["0", "4", "6"]


def a_screen(monkeypatch):
    """From now on all goes to a terminal; the lines that it shows, where what stood before in the same line is gone."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    return lambda: [line.split("\r")[-1] for line in terminal.getvalue().split("\n")]


def test_lines_stand_whole_above_the_bar(monkeypatch):
    def draw(*_):
        raise ValueError("x")

    screen = a_screen(monkeypatch)
    monkeypatch.setattr(pictures, "run_pictures", draw)
    assert train.main([*tiny.flags(), "--out=a"]) == 0
    assert [line[:6] for line in screen()[:4]] == ["lte on", "note: ", "100%|#", "loss  "]


def test_an_error_stands_whole_below_the_bar(monkeypatch):
    screen = a_screen(monkeypatch)
    assert train.main([*tiny.flags(), "--out=a", "--optimizer=sgd", "--lr=1e30"]) == 77
    assert screen()[-2].startswith("minilte: error: ") and screen()[-1] == ""


def test_a_terminal_gets_a_bar_in_place_of_lines(run, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = run()
    assert code == 0 and "\nstep" not in out and "100%" in err and "6/6" in err and "held out" in err


# ---------------------------------------------------------------- quick to start


def cpu_seconds(code):
    """CPU time of a fresh process that runs this: the median of five, so that other work does not count."""
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", f"{code}\nimport sys, time\nprint(time.process_time(), file=sys.stderr)"],
                check=True,
                capture_output=True,
                text=True,
            ).stderr
        )
        for _ in range(5)
    ]
    return statistics.median(times)


HEAVY = {"mpi4py", "scipy", "matplotlib", "tqdm", "safetensors", "threadpoolctl"}
HELP = "import minilte.train; minilte.train.main(['--help'])"


def test_help_takes_less_than_a_second():
    assert cpu_seconds(HELP) < 1


def test_importing_the_package_costs_no_more_than_importing_numpy():
    assert cpu_seconds("import minilte") < 1.5 * cpu_seconds("import numpy")


@pytest.mark.parametrize("code", [HELP, "import minilte", "import minilte; minilte.Config()"])
def test_neither_help_nor_import_touches_mpi_scipy_or_matplotlib(code):
    told = "import sys; print(*sys.modules, file=sys.stderr)"
    program = [sys.executable, "-c", f"{code}\n{told}"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stderr.split())


def test_help_lists_every_option_with_its_default(run, capsys):
    assert train.main(["-h"]) == 0
    text = capsys.readouterr().out
    assert "usage: python -m minilte.train [options]" in text and "[2048.0]" in text and "quantization:" in text
    for option in {*train.Options.__dataclass_fields__, *tiny.TINY}:
        assert f"--{option.replace('_', '-')}" in text


def test_help_is_told_once_by_a_job_of_many(capsys, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "3")
    assert train.main(["--help"]) == 0 and capsys.readouterr().out == ""


# ---------------------------------------------------------------- what is seen on the way


class Bar:
    """A progress bar that keeps what it was told."""

    def __init__(self, steps, done):
        self.total, self.n, self.words = steps, done, []

    def update(self, by):
        self.n += by

    def set_postfix_str(self, words):
        self.words.append(words)

    def close(self):
        self.closed = True


SEEN = [Record(0, 0, 0.0, [], 2.0, 2.5, 0.125), Record(2, 16, 0.1, [1.0]), Record(4, 32, 0.2, [1.0], 1.5, 1.75, 0.5)]
WORDS = ["train 2.0000  held out 2.5000  accuracy 12.50 %", "train 1.5000  held out 1.7500  accuracy 50.00 %"]


def test_every_evaluation_is_a_line_with_its_step(capsys):
    watcher, session = train.Watcher(quiet=False), tiny.session()
    for record in SEEN:
        watcher.record(record, session)
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines == [f"step     0  {WORDS[0]}", f"step     4  {WORDS[1]}"]


def test_a_bar_stands_at_the_step_of_the_newest_record(monkeypatch):
    monkeypatch.setattr(train, "progress_bar", Bar)
    watcher, session, stood = train.Watcher(quiet=False), tiny.session(), []
    for record in SEEN[1:]:
        watcher.record(record, session)
        stood.append((watcher.bar.n, watcher.bar.total))
    bar = watcher.bar
    watcher.close()
    assert stood == [(2, 6), (4, 6)] and bar.words == WORDS[1:] and bar.closed
