"""The metrics of a run folder: what was written comes back, and what minilte never writes is named."""

import json

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.job.records import keep_until, read_records, write_record
from minilte.run.observe import Record
from minilte.run.session import advance, first_state


@pytest.mark.parametrize("settings", [{}, dict(measure=True, eval_every=2), dict(bad_heads="skip")], ids=str)
def test_records_are_read_as_they_were_written(tmp_path, settings):
    session = tiny.session(**settings)
    records = [record for record, _ in advance(session, first_state(session))]
    for record in records:
        write_record(tmp_path / "metrics.jsonl", record._replace(state="is in no file"))
    assert read_records(tmp_path / "metrics.jsonl") == records
    assert isinstance(records[0], Record)


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1}',
        '{"zzz": 1}',
        "{}",
        '{"step": 1, "samples": 8, "seconds": 0.5, "losses": [1.0], "state": 3}',
        '{"step": true, "samples": 8, "seconds": 0.5, "losses": [1.0]}',
        '{"step": 1, "samples": 8, "seconds": 0.5, "losses": ["1"]}',
        '{"step": 1, "samples": 8, "seconds": 0.5, "losses": [1e400]}',
        '{"step": 1, "samples": 8, "seconds": 1e400, "losses": [1.0]}',
        '{"step": 1%s, "samples": 8, "seconds": 0.5, "losses": [1.0]}' % (400 * "0"),
        *(
            '{"step": 1, "samples": 8, "seconds": 0.5, "losses": [1.0], "%s": %s}' % (name, value)
            for name in ("train_loss", "test_loss", "test_accuracy", "valid_loss", "valid_accuracy", "update_norm")
            for value in ('"x"', "1e400", "-1", "true", "[1]")
        ),
        *(
            '{"step": 1, "samples": 8, "seconds": 0.5, "losses": [1.0], "trust": %s}' % value
            for value in ("1", "[]", '{"0": "x"}', '{"0": 1e400}')
        ),
        *(
            '{"step": 1, "samples": 8, "seconds": 0.5, "losses": [1.0], "measures": %s}' % value
            for value in ("1", "{}", '{"layers": 1}', '{"layers": {"layer1": 1}}')
        ),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(BadInput, match="metrics.jsonl line 1: not a record"):
        read_records(tmp_path / "metrics.jsonl")


@given(st.integers(0, 9))
def test_a_log_is_cut_back_to_the_step_that_a_run_goes_on_from(tmp_path_factory, step):
    log = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    for at in range(0, 8, 2):
        write_record(log, Record(at, 8 * at, 0.0, []))
    with open(log, "a") as file:
        file.write('{"step": 99')  # cut short by a crash
    keep_until(log, step)
    kept = (
        [at for at in range(0, 8, 2) if at <= step] if step else []
    )  # at step 0 the run writes its first record anew
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == kept


def test_a_folder_without_records_has_none(tmp_path):
    assert read_records(tmp_path / "metrics.jsonl") == [] == folder.read_lines(tmp_path / "metrics.jsonl")
