"""The numbers of a report are those of the folder, beside what they are compared with."""

import pytest
import tiny

from minilte.run.observe import Record
from minilte.show import facts
from minilte.show import page as report
from minilte.show.past import read_run


def test_heads_that_did_not_count_are_noted():
    records = [
        Record(2, 16, 0.1, [1.0, None], trust={"1": 0.0}),
        Record(4, 32, 0.2, [1.0, 1.0], trust={"1": 0.5}),
        Record(6, 48, 0.3, [1.0, 1.0], trust={"1": 0.25}),
    ]
    assert list(facts.trust(records)) == [
        "head 1: left out at the merge of step 2",
        "head 1: with a loss that is not finite at the merge of step 2",
        "head 1: clipped at 2 merges, of steps 4 to 6",
    ]


def test_bytes_of_processes_are_beside_full_rank(place):
    run = read_run(place / "plain")
    sent = dict(run.summary["bytes_sent"], per_process=[1000, 3000], total=4000, by_kind={"factors": 4000})
    sent |= dict(full_rank_ring=2_000_000, full_rank_all_to_all=6_000_000)
    text = report.page([run._replace(summary=run.summary | {"bytes_sent": sent})])
    for words in ("2.0 kB", "1.0 MB", "3.0 MB", "the mean of 2", "Sent, a process"):
        assert words in text


def test_a_run_in_one_process_sent_nothing(place):
    run = read_run(place / "plain")
    assert ("Sent, a process", "nothing", "all heads were in one process") in list(facts.brief(run))
    assert "All heads were in one process" in "".join(part.text for part in facts.costs(run))


def test_the_parts_of_memory_are_those_of_the_summary(place):
    run = read_run(place / "plain")
    text = "".join(part.text for part in facts.memory(run.summary["memory"]))
    for part, size in run.summary["memory"].items():
        if part not in ("total", "full_rank_total"):
            assert (f">{part.replace('_', ' ')}</span>" in text) == (size > 0)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("lte", "changed on the way, which ended L1 and L2 for the run as a whole"),
        ("reset-b", "changed on the way"),
        ("in-place", "changed on the way"),
    ],
)
def test_a_change_of_heads_ends_the_laws_that_had_held(tmp_path, kind, words):
    tiny.go_on(tiny.begin(tmp_path / "run", **tiny.KINDS[kind]))
    run = read_run(tmp_path / "run")
    assert list(facts.changed_heads(run)) == []
    (note,) = facts.changed_heads(run._replace(resized=True))
    assert note.endswith(words)


def test_a_run_that_cannot_be_built_has_a_sentence_too(place):
    run = read_run(place / "plain")._replace(built=None)
    assert facts.sentence(run) == "lte on least-squares, 2 heads, 6 steps of 8."
