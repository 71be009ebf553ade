"""The numbers of a report are those of the folder, beside what they are compared with."""

import pytest
import seen
import tiny

from minilte.cost.account import KINDS
from minilte.methods.facts import Facts
from minilte.run.observe import Record
from minilte.show import facts
from minilte.show.past import Named, read_run


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


SENT = dict(
    per_process=[1_000, 3_000],
    total=4_000,
    by_kind={"factors": 3_000, "merged_factors": 1_000},
    headers=16,
    full_rank_ring=20_000,
    full_rank_all_to_all=60_000,
)
HELD = dict(zip(KINDS, (500, 250, 125, 0, 100, 25))) | dict(total=1_000, full_rank_total=4_000)


@pytest.fixture(scope="module")
def told(place):
    """A run whose numbers are known."""
    run = read_run(place / "plain")
    last = dict(train_loss=1.25, test_loss=1.5, test_accuracy=0.875)
    summary = dict(
        run.summary, seconds=2.0, samples_per_second=1234.0, parameters=5_678, weights_sha256="0123456789abcdef"
    )
    records = [*run.records[:-1], run.records[-1]._replace(**last)]
    return run._replace(records=records, summary=summary | dict(bytes_sent=SENT, memory=HELD))


def test_the_brief_numbers_are_those_of_the_last_evaluation_and_the_summary(told):
    assert list(facts.brief(told)) == [
        ("Held-out accuracy", "87.50 %", "at step 6, 48 samples"),
        ("Held-out loss", "1.5000", "1.2500 in training"),
        ("Training took", "2.0 s", "1,234 samples a second"),
        ("Sent, a process", "2.0 kB", "10.0 kB by full-rank data parallel, ring"),
        ("Held by a worker", "1.0 kB", "4.0 kB at full rank"),
        ("Weights", "5,678", "SHA-256 0123456789ab…"),
    ]
    names = [seen.words(one) for one in seen.parsed(facts.in_brief(told)).iter("dt")]
    values = [seen.words(one) for one in seen.parsed(facts.in_brief(told)).iter("dd")]
    assert [(name, *values[2 * i : 2 * i + 2]) for i, name in enumerate(names)] == list(facts.brief(told))


def bars(parts, label):
    """name -> (bytes, width of its bar) of a table with bars."""
    page = seen.parsed(*parts)
    widths = [one.get("style") for one in page.iter("span") if (one.get("class") or "").startswith("bar")]
    rows = seen.table(page, label).rows
    return {name: (size, width) for (name, (size, _)), width in zip(rows.items(), widths, strict=True)}


@pytest.mark.parametrize(
    ("longer", "words"), [(False, "looked at once, at the end"), (True, "looked at again after")]
)
def test_with_a_validation_the_test_score_stands_beside_the_held_out_one(told, longer, words):
    last = told.records[-1]._replace(valid_loss=1.25, valid_accuracy=0.75)
    named = {name: rest for name, *rest in facts.brief(told._replace(records=[last], longer=longer))}
    assert named["Held-out accuracy"][0] == "75.00 %" and named["Held-out loss"][0] == "1.2500"
    assert named["Test accuracy"][0] == "87.50 %" and named["Test accuracy"][1].startswith(words)
    real = told._replace(records=[last._replace(valid_accuracy=None, test_accuracy=None)])
    assert ("Test loss", "1.5000", "looked at once, at the end") in list(facts.brief(real))


def test_bytes_sent_are_a_process_and_beside_full_rank(told):
    assert bars(facts.traffic(SENT), "Bytes sent by a process") == {
        "this run": ("2.0 kB", "width:6.67%"),
        "factors": ("1.5 kB", "width:5.00%"),
        "merged factors": ("500 B", "width:1.67%"),
        "full-rank data parallel, ring": ("10.0 kB", "width:33.33%"),
        "full-rank data parallel, all to all": ("30.0 kB", "width:100.00%"),
    }
    assert "the mean of 2" in seen.words(seen.parsed(*facts.costs(told)))


def test_bytes_held_are_those_of_their_kinds_and_beside_full_rank():
    assert bars(facts.memory(HELD), "Bytes held by a worker") == {
        "this run": ("1.0 kB", "width:25.00%"),
        "weights": ("500 B", "width:12.50%"),
        "adapters": ("250 B", "width:6.25%"),
        "merged factors": ("125 B", "width:3.12%"),
        "gradients": ("100 B", "width:2.50%"),
        "optimizer": ("25 B", "width:0.62%"),
        "full rank": ("4.0 kB", "width:100.00%"),
    }


def test_the_widest_bar_is_that_of_the_most_bytes_also_where_full_rank_takes_fewer():
    sent = bars(facts.traffic(SENT | dict(total=120_000)), "Bytes sent by a process")
    held = bars(facts.memory(HELD | dict(total=8_000)), "Bytes held by a worker")
    assert sent["this run"] == ("60.0 kB", "width:100.00%") and held["this run"] == ("8.0 kB", "width:100.00%")
    assert sent["full-rank data parallel, all to all"] == ("30.0 kB", "width:50.00%")
    assert held["full rank"] == ("4.0 kB", "width:50.00%")


def test_outcomes_stand_under_the_letter_of_their_own_run(place, told):
    half = read_run(place / "half")
    page = seen.parsed(facts.outcomes([Named(half, "A", 0), Named(told, "B", 1)]))
    table = seen.table(page, "What came of the runs")
    assert table.head == ["", "A", "B"]
    assert table.rows == {
        "Steps": ["4 of 6", "6"],
        "Held-out accuracy": ["—", "87.50 %"],
        "Held-out loss": [f"{half.last.test_loss:.4f}", "1.5000"],
        "Training took": ["—", "2.0 s"],
        "Sent, a process": ["—", "2.0 kB"],
        "Held by a worker": ["—", "1.0 kB"],
        "Weights": ["—", "5,678"],
    }


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


@pytest.mark.parametrize(("kept", "ended"), [("bound", "L2"), ("one_lora", "L1")])
def test_a_change_of_heads_names_the_law_that_the_method_had(place, kept, ended):
    run = read_run(place / "plain")
    had = run.built.method.facts
    method = run.built.method._replace(facts=Facts(**{kept: getattr(had, kept)}))
    run = run._replace(resized=True, built=run.built._replace(method=method))
    assert list(facts.changed_heads(run)) == [
        f"the number of heads changed on the way, which ended {ended} for the run as a whole"
    ]


def test_a_run_that_cannot_be_built_has_a_sentence_too(place):
    run = read_run(place / "plain")._replace(built=None)
    assert facts.sentence(run) == "lte on least-squares, 2 heads, 6 steps of 8."


def test_a_training_loss_that_has_not_fallen_since_is_noted(place):
    run, start = read_run(place / "plain"), Record(0, 0, 0.0, [], 2.0, 2.0)
    steps = range(100, 1001, 100)
    words = "the training loss has not been below that of step 100 since"
    for losses, told in (([1.0] * 10, True), ([1.0 / step for step in steps], False)):
        records = [start, *(Record(step, 8 * step, 0.0, [], loss, 2.0) for step, loss in zip(steps, losses))]
        long = run._replace(records=records, config=run.config.replace(steps=1000))
        assert (words in seen.words(seen.parsed(*facts.notes(long)))) == told


def test_a_head_that_sat_out_has_no_loss_and_is_not_told_for_it():
    sat_out = [Record(2, 16, 0.1, [1.0, None], trust={"1": 0.0}, ranks={"layer1": 2})]
    assert list(facts.trust(sat_out)) == ["head 1: left out at the merge of step 2"]
    lost = [sat_out[0]._replace(losses=[None, None])]
    assert list(facts.trust(lost))[1] == "head 0: with a loss that is not finite at the merge of step 2"
