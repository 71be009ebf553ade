"""A report says what the folder says, needs nothing beside itself, and runs nothing that stands in a folder."""

import functools
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import seen
import tiny

from minilte.core.errors import BadInput
from minilte.cost.units import human
from minilte.disk import folder
from minilte.show import drawing
from minilte.show import page as report
from minilte.show.past import read_run

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


@pytest.fixture(scope="module")
def read(place):
    """Run folders -> (their page as a tree, its pictures by name)."""

    def of(*names):
        with seen.pictures() as drawn:
            return seen.parsed(report.page(report.read_all([place / name for name in names]))), drawn

    return functools.cache(of)


def test_every_number_is_one_of_the_folder(place, read):
    (page, _), summary = read("measured"), tiny.the_summary(place / "measured")
    layer = summary["measures"]["layers"]["layer1"]
    ranks = seen.table(page, "Ranks of W − W₀ at step 6")
    for column, key in (("rank", "rank"), ("stable rank", "stable_rank"), ("effective rank", "effective_rank")):
        assert ranks.cell("layer1", column) == f"{layer[key]:.3g}", column
    heads = seen.table(page, "Alignment of the heads at step 6")
    assert heads.cell("layer1", "cosine") == f"{layer['cosine']:.3g}".replace("-", "−")
    assert heads.cell("layer1", "Grassmann distance") == f"{layer['grassmann']:.3g}"
    held = seen.table(page, "Bytes held by a worker").rows
    assert held["this run"][0] == human(summary["memory"]["total"])
    assert held["full rank"][0] == human(summary["memory"]["full_rank_total"])
    env = folder.read_json(place / "measured" / "env.json")
    assert len(seen.table(page, "The machine").rows) == len(env)
    losses = f"{summary['test_loss']:.4f}", f"{summary['train_loss']:.4f} in training"
    assert [seen.words(one) for one in page.iter("dd")][:2] == [*losses]
    assert seen.words(list(page.iter("pre"))[-1]) == summary["weights_sha256"]


def chapters(page):
    """(level, words) of the headings in their order."""
    return [(int(one.tag[1]), seen.words(one)) for one in page.iter() if re.fullmatch("h[1-6]", one.tag)]


def test_a_page_on_several_runs_begins_with_what_differs_and_names_each_by_its_letter(place, read):
    page, drawn = read("plain", "reset", "half")
    titles = ["What differs", "What came of it", "Learning", "The change of the weights"]
    names = ["Aplain", "Breset", "Chalf"]
    assert [words for level, words in chapters(page) if level == 2] == [*titles, *names]
    (links,) = page.iter("nav")
    assert [seen.words(one) for one in links.iter("li")] == [
        f"{letter}{place / name}" for letter, name in zip("ABC", ("plain", "reset", "half"))
    ]
    assert [one.get("href") for one in links.iter("a")] == ["#a", "#b", "#c"]
    assert [one.get("id") for one in page.iter("h2") if one.get("class") == "run"] == ["a", "b", "c"]
    assert seen.table(page, "Settings that differ").rows == {
        "--batch": ["8", "16", "8"],
        "--reset": ["none", "b", "none"],
    }
    for key, name in zip("abc", ("plain", "reset", "half")):
        records = [one for one in read_run(place / name).records if one.test_loss is not None]
        line = seen.lines(*drawn[f"{key}-loss"].axes)["main, held out"]
        assert seen.points(line) == [(one.samples, one.test_loss) for one in records]
    assert list(seen.figures(page)) == list(drawn)


def test_the_marks_of_runs_have_the_colours_of_their_lines(read):
    page, drawn = read("plain", "reset", "half")
    marks = {seen.words(one): one.get("style") for one in page.iter("span") if one.get("class") == "letter"}
    for letter, line in seen.lines(*drawn["all-held-loss-samples"].axes).items():
        assert marks[letter] == f"border-color:var(--tone-{seen.tone(line)})"
    assert list(marks) == ["A", "B", "C"]


def test_a_baseline_stands_beside_its_run(place, made):
    runs = report.read_all([place / "versus"])
    assert [run.path for run in runs] == [place / "versus", place / "versus" / "versus-full"]
    assert "2 runs side by side" in made(place / "versus")
    assert len(report.read_all([place / "versus", place / "versus" / "versus-full"])) == 2


def test_a_baseline_that_is_asked_for_too_is_shown_once_however_it_is_named(place, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(place)
    monkeypatch.chdir(place)
    for other in (Path("."), tmp_path / "link"):
        assert len(report.read_all([other / "versus", Path("versus") / "versus-full"])) == 2


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
    config = {name: value for name, value in config.items() if name not in (*of_the_data, "seal")}
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
    assert "<h1>plain</h1>" in out.read_text()
    report.write([place / "reset"], out)
    assert "<h1>reset</h1>" in out.read_text() and list(tmp_path.iterdir()) == [out]
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
