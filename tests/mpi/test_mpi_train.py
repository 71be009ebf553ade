"""The training command under a real mpirun: the bits of one process on any number of processes, and no hang."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny

from minilte.comm.blocks import block
from minilte.core.errors import BadInput

BIN = Path(sys.executable).parent
MISSING = f"no mpirun in {BIN}; pip install 'minilte[mpi]'"
pytestmark = pytest.mark.skipif(not (BIN / "mpirun").exists(), reason=MISSING)

ENV = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
THREE = dict(heads=3, versus="full")  # lte and full in one run
IMAGES = dict(data="fashion-mini", model="mlp", widths=(32,), batch=64, rank=4)  # products of some length
TRAIN = ("-m", "minilte.train")
PLAIN = """import sys
from minilte.commands import train
from minilte.show import pictures
pictures.run_pictures = lambda *_: None  # they take longer than all the rest
train.main.exit()"""
FAILING = """import os, signal, sys
from minilte.commands import train
from minilte.core import networks

real, calls = networks.loss_and_grads, []

def failing(*args):
    calls.append(args)
    if os.environ["PMI_RANK"] == {process!r} and len(calls) == 5:  # in the third round
        {how}
    return real(*args)

networks.loss_and_grads = failing
sys.exit(train.main(sys.argv[1:]))"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own, in which no process is left at the end; quick runs in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    yield tmp_path
    deadline = time.monotonic() + 5
    while left := [link for link in Path("/proc").glob("[0-9]*/cwd") if within(link, tmp_path)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.02)


def within(link, folder):
    """Does the process behind /proc/N/cwd work in the folder? (This one does too.)"""
    try:
        return link.parent.name != str(os.getpid()) and Path(os.readlink(link)) == folder
    except OSError:
        return False


def start(size, *argv, program=("-c", PLAIN), **changes):
    """The command on `size` processes; None for plain python."""
    launcher = [] if size is None else [BIN / "mpirun", "-n", str(size)]
    command = [*launcher, sys.executable, *program, *argv, *tiny.flags(**changes)]
    return subprocess.Popen(command, text=True, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(size, *argv, program=("-c", PLAIN), **changes):
    """(code, stdout, lines of the errors that are ours)."""
    process = start(size, *argv, program=program, **changes)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in err
    return process.returncode, out, re.findall(r"^minilte: error: .*$", err, re.M)


def summary_of(size, **changes):
    """The summary of a run that must succeed; `changes` may name another program."""
    code, _, errors = run(size, "--out=run", "--quiet", **changes)
    assert (code, errors) == (0, [])
    return tiny.the_summary(Path("run"))


def unbroken(**changes):
    """The summary of the same run in this process."""
    return tiny.go_on(tiny.begin(Path("whole"), **changes))


def hashes(summary):
    return summary["weights_sha256"], summary["versus"]["weights_sha256"]


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize("kind", ["nf4", "allreduce", "server-reset", "brain-wire"])
@pytest.mark.parametrize("size", [2, 5])
def test_other_topologies_give_the_bits_of_one_process_too(kind, size):
    settings = tiny.KINDS[kind] | dict(heads=3)
    assert summary_of(size, **settings)["weights_sha256"] == unbroken(**settings)["weights_sha256"]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_any_number_of_processes_gives_the_bits_of_one_process_and_sends_what_the_formula_says(size):
    got, M = summary_of(size, **THREE), 4 * 6 + 4
    assert hashes(got) == hashes(unbroken(**THREE))
    factors = 3 * (2 * (6 + 4) + 4)  # of three heads, with their biases
    assert got["bytes_sent"]["total"] == (size - 1) * factors * 4 * 3  # float32, three merges
    pieces = [len(block(M, size, process)) for process in range(size)]
    to_adders = sum(len(block(3, size, process)) * (M - pieces[process]) for process in range(size))
    assert got["versus"]["bytes_sent"]["total"] == (to_adders + (size - 1) * M) * 4 * 6  # at every step
    assert got["bytes_sent"]["full_rank_ring"] == 2 * (size - 1) * M * 4 * 6
    assert len(got["bytes_sent"]["per_process"]) == size


@pytest.mark.parametrize("size", [None, 3])
def test_the_command_itself_gives_these_bits_with_its_pictures(size):
    summary = summary_of(size, program=TRAIN, **THREE)
    assert hashes(summary) == hashes(unbroken(**THREE))
    assert {path.name for path in Path("run", "plots").iterdir()} == {
        "loss.svg",
        "loss.png",
        "spectrum.svg",
        "spectrum.png",
    }


@pytest.mark.parametrize("size", [9, 16])
def test_more_processes_than_heads_give_the_same_bits(size):
    assert summary_of(size, heads=8)["weights_sha256"] == unbroken(heads=8)["weights_sha256"]


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("heads", [1, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 12])
def test_any_number_of_processes_gives_the_bits_of_one_process_on_images(size, heads, dtype):
    settings = IMAGES | dict(heads=heads, dtype=dtype, versus="full")
    assert hashes(summary_of(size, **settings)) == hashes(unbroken(**settings))


# ---------------------------------------------------------------- stop and resume


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_stopped_by_a_signal_goes_on_with_another_number_of_processes_to_the_same_bits(number):
    settings = dict(heads=3, steps=200, save_every=20, reset="ab")
    process = start(2, "--out=cut", "--quiet", **settings)
    while not list(Path("cut").glob("ckpt/step-*")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 128 + number and "minilte: error" not in err
    assert re.fullmatch(r"stopped at step \d+ and saved; go on with --resume cut", out.splitlines()[-1])
    assert not Path("cut", "summary.json").exists()
    assert run(3, "--resume=cut", "--quiet", **dict.fromkeys(tiny.TINY))[0] == 0
    assert tiny.the_summary(Path("cut"))["weights_sha256"] == unbroken(**settings)["weights_sha256"]


# ---------------------------------------------------------------- a process fails


@pytest.mark.parametrize(
    ("process", "how", "line"),
    [
        (1, "raise ValueError('boom\\nboom')", "process 1: ValueError: boom boom; --debug shows where"),
        (0, "raise ValueError('boom')", "process 0: ValueError: boom; --debug shows where"),
        (1, "sys.exit(0)", "process 1: left early by sys.exit(0); "),
        (1, "sys.exit(3)", "process 1: left early by sys.exit(3); "),
        (0, "sys.exit(0)", "process 0: left early by sys.exit(0); "),
        (1, "os.kill(os.getpid(), signal.SIGKILL)", None),
        (0, "os.kill(os.getpid(), signal.SIGKILL)", None),
    ],
    ids=str,
)
def test_a_process_that_fails_in_training_ends_the_job_at_once_and_the_run_goes_on(process, how, line):
    program = "-c", FAILING.format(process=str(process), how=how)
    begun = time.monotonic()
    code, _, errors = run(2, "--out=cut", "--quiet", program=program)
    assert time.monotonic() - begun < 5  # seconds
    assert code not in (0, 2)
    if line is None:  # who is killed cannot speak
        assert errors == []
    else:
        assert code == 70 and len(errors) == 1 and errors[0].startswith(f"minilte: error: {line}")
    assert tiny.steps_saved(Path("cut")) in ([2], [2, 4])  # the other process may have been saving
    assert tiny.go_on(Path("cut"))["weights_sha256"] == unbroken()["weights_sha256"]


@pytest.mark.parametrize("how", ["raise ValueError('boom')", "sys.exit(3)"])
def test_what_goes_wrong_on_all_processes_together_is_told_once(how):
    program = "-c", FAILING.replace('os.environ["PMI_RANK"] == {process!r} and ', "").format(how=how)
    code, _, errors = run(4, "--out=cut", "--quiet", program=program, heads=4)
    assert code == 70 and len(errors) == 1, errors


def test_a_run_that_diverges_is_told_once():
    code, _, errors = run(3, "--optimizer=sgd", "--lr=1e30", "--quiet", heads=3)
    assert code == 77 and len(errors) == 1 and "head 0: " in errors[0]


@pytest.mark.parametrize(
    "changes", [dict(heads=0), dict(rank=5), dict(data="nowhere"), dict(out="/proc/minilte")], ids=str
)
def test_bad_input_is_told_once_and_leaves_nothing_behind(changes, place):
    code, _, errors = run(4, **changes)
    assert code == 2 and len(errors) == 1 and list(place.iterdir()) == []


def test_help_is_told_once():
    code, out, errors = run(3, "--help")
    assert code == 0 and out.count("usage: ") == 1 and errors == []


@pytest.mark.parametrize(("process", "lines"), [("0", 1), ("2", 0)])
def test_processes_that_a_launcher_started_apart_say_so_once(monkeypatch, process, lines):
    monkeypatch.setitem(ENV, "SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setitem(ENV, "SLURM_PROCID", process)
    code, _, errors = run(None)
    assert code == BadInput.code and len(errors) == lines
    assert all("srun started 4 processes, but each sees a job of 1" in line for line in errors)


# ---------------------------------------------------------------- silence and disagreement


@pytest.mark.parametrize("process", [0, 2])
def test_a_process_that_hangs_is_named_with_its_last_step_and_the_run_goes_on(process):
    program = "-c", FAILING.format(process=str(process), how="os.kill(os.getpid(), signal.SIGSTOP)")
    begun = time.monotonic()
    code, _, errors = run(3, "--out=cut", "--quiet", "--patience=1", program=program, heads=3)
    assert time.monotonic() - begun < 1 + 2 + 2  # the limit, two seconds, and the start
    assert code == 75 and len(errors) == 1
    assert re.match(
        rf"minilte: error: process {process} \(last seen .* after step 4, pid \d+ on .*\): silent", errors[0]
    )
    code, out, errors = run(2, "--resume=cut", heads=3)
    assert (code, errors) == (0, []) and f"the first to go was process {process}" in out
    assert tiny.the_summary(Path("cut"))["weights_sha256"] == unbroken(heads=3)["weights_sha256"]
    assert not Path("cut/alive").exists()


def test_a_process_that_stalls_for_less_than_the_limit_is_waited_for():
    program = "-c", FAILING.format(process="1", how="import time; time.sleep(1)")
    code, _, errors = run(2, "--out=run", "--quiet", "--patience=3", program=program)
    assert (code, errors) == (0, [])
    assert tiny.the_summary(Path("run"))["weights_sha256"] == unbroken()["weights_sha256"]


def test_processes_started_with_other_settings_are_told_apart():
    command = [sys.executable, "-c", PLAIN, "--out=run", *tiny.flags()]
    launch = [BIN / "mpirun", "-n", "1", *command, ":", "-n", "1", *command, "--seed=7"]
    done = subprocess.run(launch, capture_output=True, text=True, env=ENV, timeout=60)
    errors = re.findall(r"^minilte: error: .*$", done.stderr, re.M)
    assert done.returncode == 76 and len(errors) == 1 and "process 1: has the command line" in errors[0]
    assert not Path("run").exists()


def test_a_process_that_is_a_merge_ahead_is_found_at_once():
    ahead = FAILING.replace(
        "{how}", "sys.modules['minilte.comm.communicator'].Communicator._mark = lambda comm: comm.met + 1"
    )
    code, _, errors = run(2, "--out=cut", "--quiet", program=("-c", ahead.format(process="1")))
    assert code == 76 and len(errors) == 1 and "process 1: is at " in errors[0]


@pytest.mark.parametrize("other", ["exec sleep 8", "exit 0"], ids=["late", "gone"])
def test_a_job_whose_processes_do_not_all_come_ends_with_one_line(tmp_path, other):
    late = "from minilte.comm import launch; launch.startup_limit.__wrapped__.__defaults__ = (1.0,)\n" + PLAIN
    other = ["sh", "-c", other]
    launch = [BIN / "mpirun", "-n", "2", sys.executable, "-c", late, *tiny.flags(), ":", "-n", "1", *other]
    begun = time.monotonic()
    done = subprocess.run(launch, capture_output=True, text=True, env=ENV, timeout=60)
    assert done.returncode == 75 and time.monotonic() - begun < 6
    assert done.stderr.count("minilte: error: MPI: not all 3 processes of the job came within 1 s") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_before_the_first_step_is_no_bad_input_and_leaves_nothing(number, place):
    slow = "import time\nfrom minilte.job import job\njob.opened = lambda *_: time.sleep(20)\n" + PLAIN
    process = start(2, "--out=run", program=("-c", slow))
    time.sleep(1.5)  # seconds; past MPI's own start
    process.send_signal(number)
    begun = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert process.returncode in (128 + number, number) and time.monotonic() - begun < 2
    assert err.count("minilte: error: interrupted before the first step") == 1 and "Traceback" not in err
    assert list(place.iterdir()) == []


def test_a_signal_while_mpi_starts_ends_the_job_at_once(place):
    command = [sys.executable, "-c", PLAIN, *tiny.flags(), "--out=run"]
    launch = [
        BIN / "mpirun",
        "-n",
        "1",
        *command,
        ":",
        "-n",
        "1",
        "sh",
        "-c",
        "trap 'exit 143' TERM; sleep 20 & wait",
    ]
    process = subprocess.Popen(launch, text=True, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1.5)  # seconds; process 0 waits in MPI_Init for a process that never comes there
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143 and time.monotonic() - begun < 4
    assert err.count("minilte: error: interrupted before the first step") == 1 and list(place.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("words", [">/dev/full 2>/dev/full", ">&- 2>&-"])
@pytest.mark.parametrize(("heads", "code"), [(0, 2), (2, 0)])
def test_streams_that_fail_change_no_outcome_of_a_job(words, heads, code):
    program = [
        "sh",
        "-c",
        f'exec "$0" "$@" {words}',
        sys.executable,
        "-c",
        PLAIN,
        "--out=run",
        *tiny.flags(heads=heads),
    ]
    done = subprocess.run([BIN / "mpirun", "-n", "2", *program], capture_output=True, env=ENV, timeout=30)
    assert done.returncode == code and Path("run", "summary.json").exists() == (code == 0)


def test_an_export_of_several_processes_is_written_once(place):
    tiny.go_on(tiny.begin(place / "mine"))
    for name, more in (("adapter", ["--to=peft"]), ("mine.npz", [])):
        argv = [sys.executable, "-m", "minilte.export", "mine", f"--out={name}", *more]
        done = subprocess.run([BIN / "mpirun", "-n", "3", *argv], capture_output=True, text=True, env=ENV, timeout=60)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.count(f" of mine in {name}") == 1
    assert sorted(found.name for found in place.iterdir()) == ["adapter", "mine", "mine.npz"]
    assert len(list((place / "adapter").iterdir())) == 3


def test_a_process_that_no_launcher_started_leaves_mpi_alone(monkeypatch):
    for name in [name for name in ENV if name.startswith(("PMI", "SLURM", "OMPI", "MPI", "HYD"))]:
        monkeypatch.delitem(ENV, name)
    program = (
        "-c",
        PLAIN.replace("train.main.exit()", "train.main(sys.argv[1:]); sys.exit('mpi4py.MPI' in sys.modules)"),
    )
    code, _, errors = run(None, "--out=run", "--quiet", program=program)
    assert (code, errors) == (0, [])


APART = """import os
os.chdir("sub" if os.environ["PMI_RANK"] == "1" else ".")
"""


def test_processes_that_start_in_other_folders_make_the_run_of_process_0_in_its_folder(place):
    Path("sub").mkdir()
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.standard_normal((40, 3)), y=np.arange(40) % 2)
    argv = [
        "--data=data.npz",
        "--widths=4",
        "--heads=3",
        "--rank=2",
        "--alpha=4",
        "--batch=6",
        "--steps=4",
        "--quiet",
    ]
    for out in ("--out=run", "--resume=run"):
        flags = [*argv, out] if out == "--out=run" else [out]
        done = subprocess.run(
            [BIN / "mpirun", "-n", "3", sys.executable, "-c", APART + PLAIN, *flags],
            capture_output=True,
            text=True,
            env=ENV,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert tiny.the_summary(Path("run"))["steps"] == 4 and not list(Path("sub").iterdir())
