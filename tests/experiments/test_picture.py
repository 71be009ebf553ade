"""The picture shows what the laws say, and is drawn."""

import pytest

from minilte.commands import experiments as command
from minilte.experiments import picture


@pytest.mark.long
def test_the_curves_end_at_the_floors(tmp_path, monkeypatch):  # laws L2 and L6
    one, many = picture.curves()
    floors = picture.floors()
    for N, points in many.items():
        # 0.01: a constant rate hovers a little above the floor; float32 may go a hair below it
        assert floors[N] == 1 - N / 8 and floors[N] - 1e-3 < points[-1][1] < floors[N] + 0.01
    assert one["one LoRA"][-1][1] > 28 / 32 - 1e-3
    assert one["merged every 50 steps"][-1][1] < 0.01 > one["merged every 10 steps"][-1][1]
    monkeypatch.setattr(picture, "curves", lambda: (one, many))
    assert command.main(["--picture", str(tmp_path / "new")]) == 0
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["method.png", "method.svg"]
