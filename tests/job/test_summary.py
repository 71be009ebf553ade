"""The completion record, and how it reads: every number in a line is one of the record."""

import pytest
import tiny

from minilte.cost import account
from minilte.disk.weights import sha256
from minilte.job import summary
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
}


def made(**changes):
    session = tiny.session(**changes)
    *_, (record, state) = advance(session, first_state(session))
    sent = dict(per_process=[0], total=0, full_rank_ring=0, full_rank_all_to_all=0)
    return (
        session,
        state,
        record,
        summary.summary(session, state, dense_weights(session.built.method, state.main), record, sent, None),
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


def test_a_regression_has_no_accuracy_in_its_lines(tmp_path):
    text = "\n".join(summary.summary_lines(tmp_path, made()[3]))
    assert "accuracy" not in text and "held out" in text and "nothing: all heads are in one process" in text


def test_every_line_says_what_the_record_holds(tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "loss.png").touch()
    versus = dict(test_accuracy=0.9, test_loss=1.5, train_loss=1.25)
    got = made()[3] | dict(test_accuracy=0.875, versus=versus)
    text = "\n".join(summary.summary_lines(tmp_path, got))
    for words in (
        "87.50 %",
        f"{got['test_loss']:.4f} held out",
        "90.00 %, 1.5000 held out, 1.2500 training",
        got["weights_sha256"],
        "loss.png in",
        f"run folder      {tmp_path}",
    ):
        assert words in text


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
