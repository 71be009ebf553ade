"""Signs of life: written over, read back, and told of when nobody took them away."""

import json
import os
import shutil
import time
from types import SimpleNamespace

import pytest

from minilte.comm.communicator import Eyes
from minilte.core.errors import BadInput
from minilte.job.pulse import WIDTH, Pulse, left_by_the_dead, signs, signs_of_life

SIGN = {"process": 0, "step": 1, "time": 2.0, "pid": 3, "host": "here"}
WRONG = [
    dict(host="a\nnote: all is well"),
    dict(host=7),
    dict(time=float("inf")),
    dict(time=1e300),
    dict(step=True),
    dict(process=-1),
    dict(pid="a\nb"),
]


def test_a_sign_that_is_right_counts(tmp_path):
    (tmp_path / "alive").mkdir()
    (tmp_path / "alive" / "process-0").write_text(json.dumps(SIGN))
    assert signs(tmp_path / "alive") == {0: SIGN}


def test_a_sign_says_who_where_and_when(tmp_path):
    pulse = Pulse(tmp_path, 3, 4, step=20)
    (process, sign), *_ = signs(tmp_path / "alive").items()
    assert process == 3 and sign["step"] == 20 and sign["pid"] == os.getpid() and time.time() - sign["time"] < 5
    pulse.step = 7
    pulse.beat()
    assert signs(tmp_path / "alive")[3]["step"] == 7
    assert (tmp_path / "alive" / "process-3").stat().st_size == WIDTH


def test_who_gave_no_sign_is_named_and_who_did_is_not(tmp_path):
    mine, other = Pulse(tmp_path, 0, 3, step=5), Pulse(tmp_path, 1, 3, step=4)
    old = json.loads((tmp_path / "alive" / "process-1").read_text()) | {"time": time.time() - 50}
    os.pwrite(other.file, json.dumps(old).ljust(WIDTH).encode(), 0)
    words = mine.silent(20.0)
    assert "process 1 (last seen 50." in words and "after step 4" in words and "process 2 (never seen)" in words
    assert "process 0 (" not in words and "more than 20 s" in words


def test_the_last_one_out_takes_the_folder_away(tmp_path):
    pulses = [Pulse(tmp_path, process, 2) for process in range(2)]
    for pulse in pulses:
        assert (tmp_path / "alive").exists()
        pulse.end()
    assert not (tmp_path / "alive").exists() and left_by_the_dead(tmp_path) == ""


def test_signs_that_somebody_takes_away_cost_nothing(tmp_path):
    pulse = Pulse(tmp_path, 0, 2)
    shutil.rmtree(tmp_path / "alive")
    pulse.beat()
    pulse.end()
    assert list(tmp_path.iterdir()) == []


def test_a_start_tells_of_the_dead_once(tmp_path):
    for process, ago in ((0, 10), (1, 30), (2, 20)):
        pulse = Pulse(tmp_path, process, 3, step=100 - ago)
        sign = json.loads((tmp_path / "alive" / f"process-{process}").read_text()) | {"time": time.time() - ago}
        os.pwrite(pulse.file, json.dumps(sign).ljust(WIDTH).encode(), 0)
    words = left_by_the_dead(tmp_path)
    assert "the first to go was process 1 (last seen 30." in words and "after step 70" in words
    assert left_by_the_dead(tmp_path) == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"process": 0}',
        b'{"process": "x", "step": 1, "time": 2}',
        b'{"a": ' * 5000,
        b"[" * 100_000,
        *(json.dumps(SIGN | change).encode() for change in WRONG),
    ],
    ids=lambda content: content[:60],
)
def test_a_sign_that_cannot_be_read_counts_for_none(tmp_path, content):
    (tmp_path / "alive").mkdir()
    (tmp_path / "alive" / "process-0").write_bytes(content)
    assert signs(tmp_path / "alive") == {} and left_by_the_dead(tmp_path) == ""


@pytest.mark.parametrize(
    ("trouble", "left"), [(BadInput("x"), []), (ValueError("x"), ["process-0"]), (KeyboardInterrupt(), ["process-0"])]
)
def test_what_all_processes_heard_of_is_no_death(tmp_path, trouble, left):
    transport = SimpleNamespace(eyes=Eyes(), process=0, size=2, objects=lambda mine: [mine])
    trouble.agreed = isinstance(trouble, BadInput)
    with pytest.raises(type(trouble)), signs_of_life(tmp_path, transport, 9.0, print):
        raise trouble
    assert sorted(path.name for path in tmp_path.glob("alive/*")) == left
    assert bool(left_by_the_dead(tmp_path)) == bool(left)
