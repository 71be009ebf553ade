"""The script of the two commands, and the documentation that it builds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*words, **kw):
    return subprocess.run(["sh", str(ROOT / "run"), *words], capture_output=True, text=True, **kw)


def test_without_a_command_it_says_what_there_is():
    for words in ((), ("fly",)):
        done = run(*words)
        assert done.returncode == 2
        assert all(f"./run {command}" in done.stdout for command in ("train", "test", "docs"))


def test_a_python_too_old_is_named(tmp_path):
    fake = tmp_path / "python3"
    fake.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.1"\n[ "$1" = -V ]\n')
    fake.chmod(0o755)
    done = run("train", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.returncode == 2 and "Python 3.9.1, expected 3.11" in done.stderr


# ---------------------------------------------------------------- whoever calls it

OUTER = """#!/bin/sh
case "$*" in
"-m venv "*) for last; do :; done; mkdir -p "$last/bin"; cp "$FAKES/inner" "$last/bin/python"; cp "$FAKES/inner" "$last/bin/python3" ;;
*"-m pip"*) echo "pip for $3" >&2 ;;
esac"""
INNER = """#!/bin/sh
case "$*" in *pip*) echo "No module named pip" >&2; exit 1 ;; -c*) exit ;; esac
echo "ran $* in $(pwd)"
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout in a path with a blank, with interpreters that only say what they are asked; a call of its script."""
    place, tools, home = (tmp_path / name for name in ("a b", "tools", "home"))
    for made in (place, tools, home):
        made.mkdir()
    for path, text in (
        (place / "run", (ROOT / "run").read_text()),
        (tools / "python3", OUTER),
        (tools / "inner", INNER),
    ):
        path.write_text(text)
        path.chmod(0o755)
    (tools / "mpirun").write_text('#!/bin/sh\nshift 2; exec "$@"\n')
    (tools / "mpirun").chmod(0o755)
    (place / "setup.cfg").touch()
    for name in (
        "sh",
        "cat",
        "cksum",
        "dirname",
        "mkdir",
        "cp",
        "touch",
        "rm",
        "sed",
    ):  # and no python3 of the system
        (tools / name).symlink_to(shutil.which(name))

    def call(*words, path=(), shell=("sh",), where=place, script=place / "run", **env):
        env = {"PATH": os.pathsep.join([*map(str, path), str(tools)]), "FAKES": str(tools)} | env
        return subprocess.run([*shell, str(script), *words], capture_output=True, text=True, cwd=where, env=env)

    call.place, call.home, call.tools = place, home, tools
    return call


RAN = {
    "docs": "ran -m sphinx -W --keep-going -b html docs docs/_build/html in {place}",
    "test": "ran -m pytest -q -n 2 --dist worksteal -m not long in {place}",
    "reliability": "ran -m reliability in {place}",
    "train": "ran -m minilte.train in {here}",
}


@pytest.mark.parametrize("command", RAN)
@pytest.mark.parametrize("how", ["plain", "activated", "elsewhere", "traced", "at home", "CDPATH"])
def test_the_commands_do_not_depend_on_who_calls_them(checkout, command, how):
    options = {
        "plain": {},
        "activated": dict(path=[checkout.place / ".venv" / "bin"]),
        "elsewhere": dict(where=checkout.home),
        "traced": dict(shell=("sh", "-x")),
        "at home": dict(HOME=str(checkout.home)),
        "CDPATH": dict(where=checkout.place.parent, script="a b/run", CDPATH="/"),
    }[how]
    here = options.get("where", checkout.place)
    for call in range(2):  # the first sets .venv up; an activated .venv of before has no pip
        done = checkout(command, **options)
        expected = RAN[command].format(place=checkout.place, here=here)
        assert (done.returncode, done.stdout.splitlines()) == (0, [expected]), done.stderr
        assert done.stderr.count("setting up .venv") - done.stderr.count("+ echo setting up") == (call == 0)


def test_an_activated_venv_that_is_not_ready_is_set_up_by_the_python_outside(checkout):
    inside = checkout.place / ".venv" / "bin"
    inside.mkdir(parents=True)
    for name in ("python", "python3"):
        (inside / name).write_text(INNER)
        (inside / name).chmod(0o755)
    (checkout.home / "link").symlink_to(inside)
    for path in ([inside], [f"{inside}/"], [checkout.home / "link", inside]):
        (checkout.place / ".venv/.ready-mpi,docs").unlink(missing_ok=True)
        done = checkout("docs", path=path)
        assert done.returncode == 0 and "pip for --python" in done.stderr and "No module" not in done.stderr, (
            done.stderr
        )


def test_without_a_python_outside_it_says_so(checkout):
    (checkout.tools / "python3").unlink()
    done = checkout("docs")
    assert (
        done.returncode == 2
        and done.stderr == "minilte: error: python3 is not on PATH; install Python 3.11 or newer\n"
    )


def test_a_python_without_pip_is_named_with_the_remedy(checkout):
    (checkout.tools / "python3").write_text('#!/bin/sh\ncase "$*" in *"import pip"*) exit 1 ;; esac')
    done = checkout("train")
    assert done.returncode == 2 and done.stderr.startswith(
        f"minilte: error: {checkout.tools}/python3 has no pip or no venv; "
    )


@pytest.mark.parametrize("command", ["train", "test", "reliability", "docs", "mutants"])
def test_where_the_set_up_fails_nothing_is_run_and_the_code_is_its_own(checkout, command):
    (checkout.tools / "python3").write_text(
        '#!/bin/sh\ncase "$*" in *" install "*) echo "no network" >&2; exit 7 ;; esac'
    )
    done = checkout(command)
    assert done.returncode == 7 and "ran " not in done.stdout and "no network" in done.stderr, done.stderr


@pytest.mark.parametrize("ready", [False, True])
def test_a_checkout_that_cannot_be_written_is_one_line_where_that_matters(checkout, ready):
    if ready:
        checkout("docs"), checkout("test")
    (checkout.tools / "touch").unlink()
    (checkout.tools / "touch").symlink_to(shutil.which("false"))  # as root may write anywhere
    done = checkout("docs")
    assert done.returncode == 2 and done.stderr == (
        f"minilte: error: {checkout.place} cannot be written, and 'docs' writes there; copy the checkout\n"
    )
    assert checkout("test").returncode == (0 if ready else 2)


def test_beside_a_folder_of_the_same_name_the_package_is_found(tmp_path):
    (tmp_path / "minilte").mkdir()  # as a clone is, seen from its parent folder
    code = "import minilte; print(minilte.Config().heads); print(minilte.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["8", str(ROOT / "minilte" / "__init__.py")], done.stderr[-300:]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_documentation_builds_without_a_warning():
    done = run("docs", timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    index = (ROOT / "docs/_build/html/index.html").read_text()
    assert "minilte" in index and 'src="https://' not in index
