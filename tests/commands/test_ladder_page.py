"""The tables of docs/ladder.md are those of what was measured, and its pictures are drawn of it."""

import json
from pathlib import Path

import pytest
import seen
from show.test_standings import ladder, row

from minilte.commands import ladder_page
from minilte.disk import folder
from minilte.show import standings

PAGE = Path(__file__).parents[2] / "docs" / "ladder.md"
NAMES = ladder_page.names(PAGE)


def test_the_page_is_what_the_measurements_would_write():
    assert PAGE.read_text(encoding="utf-8") == ladder_page.page(PAGE), (
        "run: python -m minilte.commands.ladder_page docs/ladder.md"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_drawn_of_what_was_measured(name):
    svg = (PAGE.parent / "_static" / f"{name}.svg").read_text(encoding="utf-8")
    assert folder.seal(ladder_page.measured(PAGE, name)) in svg


@pytest.mark.parametrize("name", NAMES)
def test_a_ladder_of_the_docs_has_what_a_fair_one_needs(name):
    kept = ladder_page.measured(PAGE, name)
    few = {"ladder_mini": 5, "ladder_wires": 9}.get(name, 14)  # entries
    assert kept["rules"]["seeds"] >= 5 and len(kept["rows"]) >= few
    assert (kept["data"]["rows"] == 60_000) == (name != "ladder_mini")
    for of in kept["rows"]:
        assert len(of["scores"]["test_loss"]["values"]) == kept["rules"]["seeds"] and not of["edges"]
        if name == "ladder_wires":  # at the settings of an entry of the ladder
            assert of["grid"] == []
            continue
        tried = [score for _, score in of["grid"] if score is not None]
        assert [point for point, score in of["grid"] if score == min(tried)][0] == of["tuned"] and len(tried) >= 5
    assert {"numpy", "blas", "kernel", "machine"} <= kept["machine"].keys()


def test_a_table_stands_between_its_marks_and_all_else_stays(tmp_path):
    (tmp_path / "measured").mkdir()
    kept = ladder(row("a", frontier=True, edges=["lr 0.1 is the largest that was tried"]), row("b"))
    (tmp_path / "measured" / "mine.json").write_text(json.dumps(kept))
    (tmp_path / "page.md").write_text("before\n<!-- ladder mine -->\nold\n<!-- end -->\nafter\n")
    text = ladder_page.page(tmp_path / "page.md")
    assert (
        text.startswith("before\n<!-- ladder mine -->\n")
        and text.endswith("<!-- end -->\nafter\n")
        and "old" not in text
    )
    first, second = seen.markdown(text, "|  | entry")
    assert (first[1], second[1]) == ("a \\*", "b")
    assert "- a: lr 0.1 is the largest that was tried; its best may lie beyond." in text
    (tmp_path / "page.md").write_text(text)
    assert ladder_page.page(tmp_path / "page.md") == text
    assert [line[1] for line in standings.cells(kept)] == ["a *", "b"]
