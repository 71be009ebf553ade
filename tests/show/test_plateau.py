"""The picture of the method: its curves under their names, and the floors that the theory predicts."""

import seen

from minilte.show import plateau


def test_both_panels_are_drawn(tmp_path):
    falling = [(0, 1.0), (300, 0.9), (600, 0.875)]
    one = {"one LoRA": falling, "merged every 50 steps": falling}
    plateau.picture(tmp_path / "new", one, {1: falling, 2: falling}, {1: 0.875, 2: 0.75})
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["method.png", "method.svg"]


def test_curves_stand_under_their_names_and_beside_their_floors():
    single = {"one LoRA": [(0, 1.0), (600, 0.9)], "merged every 50 steps": [(0, 1.0), (300, 0.25)]}
    many = {1: [(0, 1.0), (600, 0.875)], 4: [(0, 1.0), (600, 0.5)]}
    with seen.pictures() as drawn:
        plateau.picture("nowhere", single, many, {1: 0.875, 4: 0.5})
    left, right = drawn["method"].axes
    assert {name: seen.points(line) for name, line in seen.lines(left).items()} == single
    assert seen.levels(left) == [0.875] and seen.legend(left) == list(single)
    dotted = [line for line in seen.unnamed(right) if line.dash == ":"]
    assert [(line.x, line.y) for line in dotted] == [([0, 600], [0.875] * 2), ([0, 600], [0.5] * 2)]
    assert [seen.points(line) for line in seen.unnamed(right) if line.dash == "-"] == list(many.values())
    assert {text.get_text(): text.get_position()[1] for text in right.texts} == {"N = 1": 0.875, "N = 4": 0.5}
    assert [axes.get_xlabel() for axes in (left, right)] == ["steps", "steps"]
    assert left.get_ylabel() == "left of a 32 x 32 matrix"
