"""What is kept comes back as it was, and a file that was touched is refused by its name."""

import json

import pytest

from minilte.compare.store import Store
from minilte.compare.trial import Outcome
from minilte.core.errors import BadInput, DiskTrouble
from minilte.disk import folder

GOOD = Outcome([{"step": 0, "test_loss": 0.1 + 0.2, "bytes": 10**15, "valid_loss": None}], 12, 3.25, "ab" * 32)
GONE = Outcome([], 0, 0.0, "", "diverged at step 3")


@pytest.mark.parametrize("outcome", [GOOD, GONE])
def test_what_is_kept_comes_back_in_another_store(outcome, tmp_path):
    Store(tmp_path).put("k", {"lr": 0.1}, outcome)
    assert Store(tmp_path).get("k") == outcome and Store(tmp_path).get("other") is None
    assert json.loads((tmp_path / "runs" / "k.json").read_text())["settings"] == {"lr": 0.1}


def test_without_a_folder_it_is_kept_in_memory():
    store = Store(None)
    store.put("k", {}, GOOD)
    assert store.get("k") == GOOD and Store(None).get("k") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("12", "13"),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: "",
        lambda text: json.dumps({"seal": folder.seal({}), "format": 1}),
    ],
)
def test_a_file_that_was_changed_is_refused_by_its_name(change, tmp_path):
    Store(tmp_path).put("k", {}, GOOD)
    (tmp_path / "runs" / "k.json").write_text(change((tmp_path / "runs" / "k.json").read_text()))
    with pytest.raises(BadInput, match="k.json"):
        Store(tmp_path).get("k")


def test_a_disk_that_fills_is_disk_trouble_and_what_was_kept_stays(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.put("k", {}, GOOD)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.os, "fsync", full)
    with pytest.raises(DiskTrouble, match="No space left on device"):
        store.put("l", {}, GOOD)
    monkeypatch.undo()
    assert Store(tmp_path).get("k") == GOOD and Store(tmp_path).get("l") is None
    assert [file.name for file in (tmp_path / "runs").iterdir()] == ["k.json"]
