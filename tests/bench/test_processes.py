"""Bytes and seconds of a round on several processes: of a round alone, and of all processes together."""

import threading

from minilte.bench import processes, step
from minilte.bench.step import Size
from minilte.comm import mpi, threads
from minilte.comm.meetings import EVERYONE
from minilte.cost.meetings import merge_bytes

SMALL = Size(widths=(6, 5, 3), batch=12, heads=3, rank=2, every=2)


def test_what_is_printed_are_the_bytes_of_one_merge_on_all_processes(monkeypatch, capsys):
    here = threading.local()
    monkeypatch.setattr(mpi, "connect", lambda: here.transport)

    def process(transport):
        here.transport = transport
        processes.main(SMALL)

    threads.run(3, process)
    seconds, sent = capsys.readouterr().out.split()
    made = step.method(SMALL, step.task(SMALL))
    assert int(sent) == sum(merge_bytes(made, EVERYONE, made.begin(), 3, 3).values()) and 0 < float(seconds) < 1


def test_a_job_is_asked_for_its_size_and_read_from_its_last_line(monkeypatch):
    asked = []

    def run(command, **_):
        asked.append(command)
        return type("Done", (), dict(stdout="a note\n0.25 128\n"))

    monkeypatch.setattr(processes.subprocess, "run", run)
    assert processes.measured_on(2, SMALL) == (0.25, 128)
    assert asked[0][-1] == "[[6, 5, 3], 12, 3, 2, 2]" and "minilte.bench.processes" in asked[0]
