"""The completion record, and how it reads: every number in a line is one of the record."""

import pytest
import tiny

from minilte.comm.solo import Solo
from minilte.cost import account
from minilte.disk.weights import sha256
from minilte.job import job, summary
from minilte.job.records import keep_until, write_record
from minilte.job.resume import best_saved
from minilte.run.observe import Record, dense_weights
from minilte.run.session import advance, first_state

KEYS = {  # DESIGN 5 names the first; the others are what it means by them
    "test_accuracy",
    "train_loss",
    "steps",
    "samples",
    "seconds",
    "samples_per_second",
    "bytes_sent",
    "memory",
    "weights_sha256",
    "test_loss",
    "parameters",
    "inputs",
    "outputs",
    "classes",
    "measures",
    "versus",
    "valid_loss",
    "valid_accuracy",
    "labels",
    "longer",
}


def made(**changes):
    session = tiny.session(**changes)
    *_, (record, state) = advance(session, first_state(session))
    sent = dict(per_process=[0], total=0, full_rank_ring=0, full_rank_all_to_all=0)
    return (
        session,
        state,
        record,
        summary.summary(session, state, dense_weights(session.built.method, state.main), record, sent, None, False),
    )


def test_the_record_holds_the_measures_of_the_last_evaluation_and_the_hash_of_the_weights():
    session, state, record, got = made()
    assert got.keys() == KEYS
    assert (got["train_loss"], got["test_loss"], got["test_accuracy"]) == record[4:7]
    assert (got["steps"], got["samples"], got["parameters"]) == (6, 48, 28)
    assert got["weights_sha256"] == sha256(state.main.weights)
    assert got["samples_per_second"] == 48 / got["seconds"]
    assert (got["inputs"], got["outputs"], got["classes"]) == (6, 4, None)


def test_a_run_of_no_steps_has_no_speed():
    assert made(steps=0)[3]["samples_per_second"] == 0


def test_a_validation_stands_beside_the_test_set_in_the_record_and_in_its_lines(tmp_path):
    _, _, record, got = made(validate=16)
    assert (got["test_loss"], got["valid_loss"]) == (record.test_loss, record.valid_loss)
    lines = summary.score_lines(got)
    assert lines == [
        f"loss            {record.test_loss:.4f} test, {record.valid_loss:.4f} validation, {record.train_loss:.4f} training"
    ]
    labelled = got | dict(test_accuracy=0.5, valid_accuracy=0.75)
    assert (
        summary.score_lines(labelled)[0] == "test accuracy   50.00 %, looked at once; 75.00 % of the validation rows"
    )
    again = summary.score_lines(labelled | dict(longer=True))[0]
    assert again == "test accuracy   50.00 %, looked at again after the run went on; 75.00 % of the validation rows"
    words = summary.record_words(record)
    assert words == f"train {record.train_loss:.4f}  validation {record.valid_loss:.4f}"


def test_a_run_that_goes_on_says_that_its_test_set_was_looked_at_before(tmp_path):
    tiny.go_on(tiny.begin(tmp_path / "run", validate=16))
    assert tiny.the_summary(tmp_path / "run")["longer"] is False
    config = job.settings(tmp_path / "run", Solo(), steps=12)
    job.run(tmp_path / "run", job.opened(config, Solo()), tiny.quiet())
    assert tiny.the_summary(tmp_path / "run")["longer"] is True


def test_the_best_checkpoint_is_the_best_of_the_rows_that_validate(tmp_path):
    path = tiny.begin(tmp_path / "run", validate=16)
    tiny.go_on(path)
    records = [Record(step, 8, 0.1, [1.0], 1.0, None, valid_loss=loss) for step, loss in ((2, 3.0), (4, 1.0))]
    keep_until(path / "metrics.jsonl", 0)
    for record in [*records, Record(6, 8, 0.1, [1.0], 1.0, 0.5, valid_loss=2.0)]:  # a good test loss chooses nothing
        write_record(path / "metrics.jsonl", record)
    assert set(tiny.steps_saved(path)) >= {4, 6} and best_saved(path, 6) == 4


def test_a_regression_has_no_accuracy_in_its_lines(tmp_path):
    text = "\n".join(summary.summary_lines(tmp_path, made()[3]))
    assert "accuracy" not in text and "held out" in text and "nothing: all heads are in one process" in text


def test_every_line_says_what_the_record_holds(tmp_path):
    (tmp_path / "plots").mkdir()
    for name in ("loss.png", "accuracy.png", "loss.svg"):
        (tmp_path / "plots" / name).touch()
    own = dict(
        test_accuracy=0.875, test_loss=2.5, train_loss=2.25, samples=1234, seconds=2.5, samples_per_second=493.6
    )
    held = dict.fromkeys(account.KINDS, 0) | dict(weights=1000, total=1000, full_rank_total=3000)
    versus = dict(test_accuracy=0.9, test_loss=1.5, train_loss=1.25)
    got = made()[3] | own | dict(memory=held, versus=versus)
    lines = summary.summary_lines(tmp_path, got)
    assert {name.strip(): words for line in lines for name, words in [(line[:16], line[16:])]} == {
        "test accuracy": "87.50 %",
        "loss": "2.5000 held out, 2.2500 training",
        "full rank": "90.00 %, 1.5000 held out, 1.2500 training",
        "samples": "1,234 in 2.5 s: 494 a second",
        "sent": "nothing: all heads are in one process",
        "memory": "1.0 kB a worker (weights 1.0 kB); full rank 3.0 kB",
        "weights sha256": got["weights_sha256"],
        "pictures": f"accuracy.png, loss.png in {tmp_path / 'plots'}",
        "run folder": str(tmp_path),
    }


def test_bytes_of_several_starts_are_those_of_all_processes():
    sent = dict(per_process=[1000, 3000], by_kind=dict(factors=9000), total=9000, before_resume=5000)
    assert summary.sent_words(sent) == (
        "9.0 kB by all processes (factors 9.0 kB), 5.0 kB of it before the last start"
    )


def test_bytes_are_a_process_and_beside_dense_gradients():
    sent = dict(
        per_process=[1000, 3000],
        by_kind=dict(factors=3600, replicas=400),
        total=4000,
        full_rank_ring=2_000_000,
        full_rank_all_to_all=6_000_000,
    )
    assert summary.sent_words(sent) == (
        "2.0 kB a process (2 processes: factors 1.8 kB, replicas 200 B); full-rank data parallel: 1.0 MB by ring, 3.0 MB all to all"
    )


def test_memory_leaves_out_what_a_worker_does_not_hold():
    memory = dict.fromkeys(account.KINDS, 0) | dict(weights=1000, gradients=2000)
    memory |= dict(total=3000, full_rank_total=1)
    assert summary.memory_words(memory) == "3.0 kB a worker (weights 1.0 kB, gradients 2.0 kB); full rank 1 B"


def test_an_evaluation_reads_the_same_with_and_without_accuracy():
    record = Record(5, 40, 1.0, [1.0], 1.5, 2.5)
    assert summary.record_words(record) == "train 1.5000  held out 2.5000"
    assert summary.record_words(record._replace(test_accuracy=0.5)).endswith("2.5000  accuracy 50.00 %")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "lte on least-squares: 28 weights, 2 heads, rank 2, alpha 2048, merge every 2, 6 steps of 8"),
        (dict(heads=1, head_ranks=(3,)), "1 head, rank 3, alpha 2048, merge every 2, 6 steps of 8"),
        (dict(method="lora"), "lora on least-squares: 28 weights, 2 heads, rank 2, alpha 2048, 6 steps of 8"),
        (dict(method="full"), "full on least-squares: 28 weights, 2 heads, 6 steps of 8"),
        (dict(method="fedavg"), "fedavg on least-squares: 28 weights, 2 heads, merge every 2, 6 steps of 8"),
        (dict(quant="nf4"), "rank 2, alpha 2048, merge every 2, nf4 copies of W, 6 steps of 8"),
    ],
    ids=str,
)
def test_a_run_is_described_by_what_its_method_uses(changes, words):
    session = tiny.session(**changes)
    assert summary.describe(session.config, session.built).endswith(words)


def test_the_record_in_the_folder_is_the_one_returned(tmp_path):
    assert tiny.go_on(tiny.begin(tmp_path / "run")) == tiny.the_summary(tmp_path / "run")
