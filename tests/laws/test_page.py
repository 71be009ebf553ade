"""The page of the laws says what the code says."""

from pathlib import Path

from minilte.laws import LAWS
from minilte.laws.page import page

PAGE = Path(__file__).parents[2] / "docs" / "laws.md"


def test_the_page_is_what_the_code_would_write():
    assert PAGE.read_text(encoding="utf-8") == page(PAGE), "run: python -m minilte.laws.page docs/laws.md"


def test_every_law_of_the_table_is_in_the_code():
    rows = [
        line.split("|")[1].strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| L")
    ]
    assert rows == [f"L{i}" for i in range(1, 29)] and set(rows) <= set(LAWS)
