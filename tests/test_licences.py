"""The page on licences names every direct dependency, with the extra that asks for it."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "licences.md").read_text()
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
PARTS = {"": SETUP["options"]["install_requires"]} | dict(SETUP["options.extras_require"])
ASKED = [(re.split("[<>=!~; ]", line)[0], extra) for extra, lines in PARTS.items() for line in lines.split()]
ROWS = {cells[0]: cells for cells in re.findall(r"^\| (\S+) \| (.+) \| (.+) \| (.+) \|$", PAGE, re.M)}


@pytest.mark.parametrize(("package", "extra"), ASKED, ids=" ".join)
def test_every_dependency_has_its_version_its_licence_and_its_use(package, extra):
    _, version, licence, use = ROWS[package]
    assert version and licence and use
    assert f"[{extra}]" in use if extra else "[" not in use


def test_the_page_lists_nothing_else():
    assert ROWS.keys() - {"package"} == {package for package, _ in ASKED}
