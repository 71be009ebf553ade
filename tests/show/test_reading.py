"""What a report reads is what minilte wrote: all else is one line that names file and field."""

import json
import warnings

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.job import summary
from minilte.show import drawing, reading
from minilte.show import page as report

ODD = [None, True, -1, "x", [None], {"x": None}, 10**400]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run."""
    path = tmp_path_factory.mktemp("run") / "run"
    tiny.go_on(tiny.begin(path, measure=True))
    return path


def with_text(file, text):
    """Does a page on the folder come with another text in this file? True, or the one line why not."""
    before = file.read_bytes()
    file.write_text(text)
    try:
        return bool(report.page(report.read_all([file.parent])))
    except BadInput as trouble:
        return str(trouble)
    finally:
        file.write_bytes(before)


def places(value, path=()):
    """Where something could be changed in a JSON value, or added to it, also under a name that the report uses."""
    yield path
    if isinstance(value, dict):
        yield (*path, "sigma")
        for key, sub in value.items():
            yield from places(sub, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    return value | {path[0]: changed(value.get(path[0]), path[1:], new)}


def test_any_other_value_in_a_summary_or_a_record_is_told_or_one_line(run, monkeypatch):
    monkeypatch.setattr(drawing, "inline", lambda name, paint: "<svg ></svg>")
    told = tiny.the_summary(run)
    log = (run / "metrics.jsonl").read_text().splitlines()
    record = json.loads(log[-1])
    for odd in ODD:
        for path in places(told):
            got = with_text(run / "summary.json", json.dumps(changed(told, path, odd)))
            assert got is True or "\n" not in got, (path, odd)
        for path in places(record):
            lines = [*log[:-1], json.dumps(changed(record, path, odd))]
            got = with_text(run / "metrics.jsonl", "\n".join(lines) + "\n")
            assert got is True or "\n" not in got, (path, odd)


@pytest.mark.parametrize("name", sorted(summary.RECORD | reading.SUMMARY))
def test_a_summary_without_a_field_is_one_line_that_names_it(run, name):
    record = tiny.the_summary(run)
    del record[name]
    got = with_text(run / "summary.json", json.dumps(record))
    assert got is not True and "summary.json" in got and name in got


@pytest.mark.parametrize(
    "name", ["steps", "parameters", "test_loss", "train_loss", "test_accuracy", "seconds", "samples_per_second"]
)
def test_a_number_of_a_summary_beyond_what_a_figure_has_room_for_is_one_line_that_names_it(run, name):
    got = with_text(run / "summary.json", json.dumps(tiny.the_summary(run) | {name: 10**31}))
    assert got is not True and "summary.json" in got and f"{name} is" in got


def test_bytes_sent_without_headers_are_one_line(run):
    record = tiny.the_summary(run)
    del record["bytes_sent"]["headers"]
    got = with_text(run / "summary.json", json.dumps(record))
    assert got is not True and "summary.json" in got and "bytes_sent is" in got


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": NaN}', "\0", "[" * 100_000])
@pytest.mark.parametrize("file", ["config.json", "summary.json", "env.json", "metrics.jsonl"])
def test_a_file_that_is_not_json_is_one_line_that_names_it(run, file, text):
    got = with_text(run / file, text + "\n")
    assert got is not True and file in got and "\n" not in got


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(BadInput, match="no such folder|config.json"):
            report.read_all([path])


def test_a_run_that_has_told_nothing_yet_has_no_page(tmp_path):
    tiny.begin(tmp_path / "run")
    with pytest.raises(BadInput, match="no evaluation yet, so there is nothing to report"):
        report.read_all([tmp_path / "run"])


@pytest.mark.parametrize("value", [0, 1e-300, 1e30])
def test_whatever_passes_can_be_drawn(run, value):
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    log[-1] |= dict.fromkeys(("train_loss", "test_loss", "test_accuracy"), value) | {"losses": [value, None]}
    log[-1]["measures"]["layers"]["layer1"]["cosine"] = log[-1]["measures"]["noise_scale"] = -value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_text(run / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in log)) is True


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()))
def test_a_number_is_finite_and_no_bool(value):
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and -1e30 <= value <= 1e30
    assert reading.finite(value) == fits
    assert reading.positive(value) == (fits and value >= 0)


def test_an_evaluation_has_both_losses(run):
    log = (run / "metrics.jsonl").read_text().splitlines()
    record = json.loads(log[-1]) | {"train_loss": None}
    got = with_text(run / "metrics.jsonl", "\n".join([*log[:-1], json.dumps(record)]) + "\n")
    assert f"line {len(log)}: train_loss is None" in got
