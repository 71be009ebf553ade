"""The script of the two commands, and the documentation that it builds."""

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
