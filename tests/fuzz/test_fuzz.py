"""Whatever a file or a command line holds, it is read, or refused in one line; soon, and in bounded memory."""

import os
import time
import warnings
from pathlib import Path

import pytest
from fuzz.readers import READERS, prepare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minilte.core.errors import MinilteError

FAST, LONG = 900, 20_000  # inputs over all readers
SECONDS, MEMORY = 5, 300e6  # of the processor for one input; bytes, for all of them

pytestmark = pytest.mark.parametrize("name", READERS)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder of good files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path := tmp_path_factory.mktemp("fuzz"))
        prepare()
    return path


@pytest.fixture
def place(good, monkeypatch):
    """That folder as the working directory; no more than `MEMORY` is used in it."""
    monkeypatch.chdir(good)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory is now
    before = peak()
    yield good
    assert peak() - before < MEMORY
    assert not Path("sprung").exists()  # by a pickle


def peak() -> int:
    """Bytes of memory that this process has held at most."""
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(told["VmHWM"].split()[0])


def check(name: str, data) -> None:
    """One input."""
    given_ = data.draw(READERS[name].inputs)
    begun = time.process_time()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            READERS[name].read(given_)
        except MinilteError as error:
            assert len(str(error).splitlines()) == 1 and "allow_pickle" not in str(error)
    assert [str(one.message) for one in said] == []
    assert time.process_time() - begun < SECONDS


quick = settings(max_examples=FAST // len(READERS), suppress_health_check=list(HealthCheck))


@quick
@given(data=st.data())
def test_any_input_is_read_or_refused_in_one_line(place, name, data):
    check(name, data)


@pytest.mark.long
@pytest.mark.timeout(900)
@settings(quick, max_examples=-(-LONG // len(READERS)), derandomize=False)
@given(data=st.data())
def test_any_of_very_many_inputs_is_read_or_refused_in_one_line(place, name, data):
    check(name, data)
