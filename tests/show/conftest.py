"""Runs and pages that the tests of this folder share."""

import functools
import warnings

import pytest
import tiny

from minilte.show import page as report

RUNS = {
    "plain": {},
    "measured": dict(measure=True),
    "reset": dict(reset="b", batch=16),
    "versus": dict(versus="full"),
    "nothing": dict(steps=0),
}


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with finished runs, one of them with a baseline, and a run that was stopped; its pages are only read."""
    root = tmp_path_factory.mktemp("place")
    for name, changes in RUNS.items():
        tiny.go_on(tiny.begin(root / name, **changes))
    tiny.go_on(tiny.begin(root / "half"), watch=tiny.stop_after(2))
    return root


@pytest.fixture(scope="session")
def made():
    """Run folders -> their page. Most tests look at the same few pages, and drawing takes its time."""
    return functools.cache(lambda *paths: report.page(report.read_all(paths)))


@pytest.fixture(autouse=True)
def no_warnings():
    """A warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
