"""What is built is whole: the wheel carries the data and trains in a place that never saw the repository."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = ("minilte", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "run")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist and the wheel of a clean copy of the sources."""
    source = tmp_path_factory.mktemp("source dir")
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    out = source / "dist"
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_sdist_and_wheel_carry_the_data_and_the_licences(built):
    wheel = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    sdist = tarfile.open(next(built.glob("*.tar.gz"))).getnames()
    data = [
        f"fashion_mini/{path.name}" for path in (ROOT / "minilte/data/fashion_mini").iterdir() if path.suffix == ".gz"
    ]
    assert len(data) == 4
    for name in [*data, "fashion_mini/LICENSE"]:
        assert any(entry.endswith(name) for entry in wheel), name
        assert any(entry.endswith(name) for entry in sdist), name
    assert any(entry.endswith("/LICENSE") and "dist-info" in entry for entry in wheel)


def test_the_wheel_trains_elsewhere(built, tmp_path):
    place, work = tmp_path / "site", tmp_path / "work dir"
    work.mkdir()
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(place)  # a pure wheel: to unpack it is to install it
    code = (
        "import minilte, sys; from minilte.train import main; print(minilte.__file__); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--steps", "2", "--merge-every", "1", "--batch", "64", "--out", "run"],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(place / "minilte" / "__init__.py")
    assert (work / "run" / "summary.json").exists()
