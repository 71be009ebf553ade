"""The picture of the method is drawn from any curves."""

from minilte.show import plateau


def test_both_panels_are_drawn(tmp_path):
    falling = [(0, 1.0), (300, 0.9), (600, 0.875)]
    one = {"one LoRA": falling, "merged every 50 steps": falling}
    plateau.picture(tmp_path / "new", one, {1: falling, 2: falling}, {1: 0.875, 2: 0.75})
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["method.png", "method.svg"]
