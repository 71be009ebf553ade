"""A report says what the folder says, needs nothing beside itself, and runs nothing that stands in a folder."""

import re
import shutil
from html.parser import HTMLParser

import pytest
import tiny

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.show import drawing
from minilte.show import page as report

PAPER = "https://arxiv.org/abs/2402.16828"
EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """The tags of a page in order, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


# ---------------------------------------------------------------- a page of its own


def test_a_page_asks_for_nothing_and_runs_nothing(place, made):
    text = made(place / "measured", place / "reset")
    page = Page(text)
    names = {name for _, attributes in page.tags for name in attributes}
    assert not names & {"src", "srcset", "background", "xlink:href", "onload", "onclick"}
    assert not {"script", "link", "iframe", "object", "embed", "img", "base"} & {tag for tag, _ in page.tags}
    outside = {found.strip("\"'<") for found in re.findall(r"[\"']?https?://[^\s\"'<)]*", text)}
    assert outside == {PAPER} and [a for a in page.all("a") if a["href"] == PAPER]
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_ids_are_all_different_and_what_is_referred_to_is_there(place, made):
    text = made(place / "measured", place / "reset", place / "measured")
    ids = [attributes["id"] for _, attributes in Page(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 9
    wanted = re.findall(r'href="#([^"]*)"', text) + re.findall(r"url\(#([^)]*)\)", text)
    assert wanted and set(wanted) <= set(ids)


@pytest.mark.parametrize("names", [["measured"], ["plain", "reset"]], ids=str)
def test_headings_are_in_order_and_every_figure_and_table_has_words(place, made, names):
    page = Page(made(*(place / name for name in names)))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    figures = page.all("svg")
    assert figures and all(one["role"] == "img" and len(one["aria-label"]) > 20 for one in figures)
    assert all(one["aria-label"] for one in page.all("table"))
    assert page.tags[0] == ("html", {"lang": "en"}) and page.all("title")


def test_the_same_run_gives_the_same_bytes(place, made):
    assert report.page(report.read_all([place / "measured"])) == made(place / "measured")


def test_a_page_is_small(place, made):
    assert len(made(place / "measured").encode()) < 1_000_000


# ---------------------------------------------------------------- what it says


def test_every_number_is_one_of_the_folder(place, made):
    summary, text = tiny.the_summary(place / "measured"), made(place / "measured")
    for words in (f"{summary['test_loss']:.4f}", f"{summary['train_loss']:.4f}", summary["weights_sha256"]):
        assert words in text
    layer = summary["measures"]["layers"]["layer1"]
    assert f'<td class="number">{layer["effective_rank"]:.3g}</td>' in text
    assert f'<td class="number">{layer["cosine"]:.3g}</td>'.replace("-", "−") in text
    env = folder.read_json(place / "measured" / "env.json")
    assert all(str(value) in text for value in env.values())


def test_the_settings_that_differ_come_before_all_else(place, made):
    text = made(place / "plain", place / "reset")
    before = text[: text.index("What came of it")]
    assert "--reset" in before and "--batch" in before and "--heads" not in before
    assert text.count('class="run"') == 2


def test_a_baseline_stands_beside_its_run(place, made):
    assert "2 runs side by side" in made(place / "versus")
    assert len(report.read_all([place / "versus", place / "versus" / "versus-full"])) == 2


def test_an_unfinished_run_says_so_and_how_to_end_it(place, made):
    text = made(place / "half")
    assert "Unfinished: 4 of 6 steps" in text and f"--resume {place / 'half'}" in text
    assert "Singular values" in text and "shown when the run has ended" in text


@pytest.mark.parametrize("kind", sorted(tiny.KINDS))
def test_every_kind_of_run_has_a_page(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(drawing, "inline", lambda name, paint: "<svg ></svg>")
    tiny.go_on(tiny.begin(tmp_path / kind, **tiny.KINDS[kind]))
    text = report.page(report.read_all([tmp_path / kind]))
    assert tiny.the_summary(tmp_path / kind)["weights_sha256"] in text and "could not be read" not in text


# ---------------------------------------------------------------- what a folder may hold


def test_what_a_folder_says_is_never_markup(place, made, tmp_path):
    path = shutil.copytree(place / "half", tmp_path / EVIL.replace("/", "|"))
    config = folder.read_json(path / "config.json")
    of_the_data = ("inputs", "outputs", "samples", "spectrum", "target_rank", "noise")  # a file has none of these
    config = {name: value for name, value in config.items() if name not in of_the_data}
    folder.write_json(path / "config.json", config | {"data": EVIL, "init_from": f"\ud800\"'{EVIL}"})
    folder.write_json(path / "env.json", {EVIL: EVIL, "x": [EVIL], "y\ud800": 1})
    records = folder.read_lines(path / "metrics.jsonl")
    records[1]["trust"] = {EVIL: 0.5}
    folder.write_lines(path / "metrics.jsonl", records)
    text = made(path, path)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert text.encode().decode() == text and "script" not in {tag for tag, _ in Page(text).tags}


# ---------------------------------------------------------------- where it is written


def test_a_report_is_written_anew_and_nothing_else_is_written_over(place, tmp_path):
    out = tmp_path / "page.html"
    report.write([place / "plain"], out)
    first = out.read_bytes()
    report.write([place / "reset"], out)
    assert out.read_bytes() != first and list(tmp_path.iterdir()) == [out]
    (tmp_path / "letter.html").write_text("Dear Sir")
    with pytest.raises(BadInput, match="it exists already and is no report"):
        report.write([place / "plain"], tmp_path / "letter.html")
    with pytest.raises(BadInput, match="no report"):
        report.write([place / "plain"], tmp_path)
    with pytest.raises(BadInput, match="no folder"):
        report.write([place / "plain"], tmp_path / "no" / "page.html")
    with pytest.raises(BadInput, match="without a zero byte"):
        report.write([place / "plain"], tmp_path / "a\0b")


def test_no_page_has_more_runs_than_letters(monkeypatch, place):
    monkeypatch.setattr(report, "MOST", 1)
    with pytest.raises(BadInput, match="at most 1 on a page, got 2"):
        report.read_all([place / "plain", place / "reset"])
