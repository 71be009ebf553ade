"""A report says what the folder says, needs nothing beside itself, and runs nothing that stands in a folder."""

import functools
import re
import shutil
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest
import tiny

from minilte.comm.solo import Solo
from minilte.core.errors import BadInput
from minilte.show import facts, past
from minilte.show import page as report
from minilte.disk import folder
from minilte.job import job
from minilte.show import plots
from minilte.run.session import Record

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


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with finished runs, one of them with a baseline, and one that was stopped."""
    root = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "pictures", lambda *_: None)
        for name, changes in {
            "plain": {},
            "measured": dict(measure=True),
            "reset": dict(reset="b", batch=16),
            "versus": dict(versus="full"),
            "nothing": dict(steps=0),
        }.items():
            tiny.go_on(tiny.begin(root / name, **changes))
        tiny.go_on(tiny.begin(root / "half"), watch=tiny.stop_after(2))
    return root


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@functools.cache  # most tests look at the same few pages, and drawing takes its time
def made(*paths):
    return report.page(report.read_all(paths))


def copied(source, to):
    return Path(shutil.copytree(source, to))


# ---------------------------------------------------------------- a page of its own


def test_a_page_asks_for_nothing_and_runs_nothing(place):
    text = made(place / "measured", place / "reset")
    page = Page(text)
    names = {name for _, attributes in page.tags for name in attributes}
    assert not names & {"src", "srcset", "background", "xlink:href", "onload", "onclick"}
    assert not {"script", "link", "iframe", "object", "embed", "img", "base"} & {tag for tag, _ in page.tags}
    outside = {found.strip("\"'<") for found in re.findall(r"[\"']?https?://[^\s\"'<)]*", text)}
    assert outside == {PAPER} and [a for a in page.all("a") if a["href"] == PAPER]
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_ids_are_all_different_and_what_is_referred_to_is_there(place):
    text = made(place / "measured", place / "reset", place / "measured")
    ids = [attributes["id"] for _, attributes in Page(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 9
    wanted = re.findall(r'href="#([^"]*)"', text) + re.findall(r"url\(#([^)]*)\)", text)
    assert wanted and set(wanted) <= set(ids)


@pytest.mark.parametrize("names", [["measured"], ["plain", "reset"]], ids=str)
def test_headings_are_in_order_and_every_figure_and_table_has_words(place, names):
    page = Page(made(*(place / name for name in names)))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    figures = page.all("svg")
    assert figures and all(one["role"] == "img" and len(one["aria-label"]) > 20 for one in figures)
    assert all(one["aria-label"] for one in page.all("table"))
    assert page.tags[0] == ("html", {"lang": "en"}) and page.all("title")


def test_the_same_run_gives_the_same_bytes(place):
    assert made.__wrapped__(place / "measured") == made(place / "measured")


def test_a_page_is_small(place):
    assert len(made(place / "measured").encode()) < 1_000_000


# ---------------------------------------------------------------- what it says


def test_every_number_is_one_of_the_folder(place):
    summary, text = tiny.the_summary(place / "measured"), made(place / "measured")
    for words in (f"{summary['test_loss']:.4f}", f"{summary['train_loss']:.4f}", summary["weights_sha256"]):
        assert words in text
    layer = summary["measures"]["layers"]["layer1"]
    assert f'<td class="number">{layer["effective_rank"]:.3g}</td>' in text
    assert f'<td class="number">{layer["cosine"]:.3g}</td>'.replace("-", "−") in text
    env = folder.read_json(place / "measured" / "env.json")
    assert all(str(value) in text for value in env.values())


def test_what_was_not_measured_is_said_and_what_was_is_drawn(place):
    plain, measured = made(place / "plain"), made(place / "measured")
    assert plain.count("not measured; run with <code>--measure</code>") == 2
    assert "not measured" not in measured
    for words in (
        "Gradient noise scale",
        "effective rank of",
        "stable rank of",
        "cosine between",
        "Grassmann distance over",
    ):
        assert f'aria-label="{words}' in measured and f'aria-label="{words}' not in plain
    assert "Grassmann distance" in plain  # of the last merge, whose factors are in its checkpoint


def test_the_settings_that_differ_come_before_all_else(place):
    text = made(place / "plain", place / "reset")
    before = text[: text.index("What came of it")]
    assert "--reset" in before and "--batch" in before and "--heads" not in before
    assert text.count('class="run"') == 2


def test_runs_with_other_batches_are_drawn_over_steps_too(place):
    assert "over steps" in made(place / "plain", place / "reset")
    assert "over steps" not in made(place / "plain", place / "measured")


def test_a_baseline_stands_beside_its_run(place):
    assert "2 runs side by side" in made(place / "versus")
    assert len(report.read_all([place / "versus", place / "versus" / "versus-full"])) == 2


def test_an_unfinished_run_says_so_and_how_to_end_it(place):
    text = made(place / "half")
    assert "Unfinished: 4 of 6 steps" in text and f"--resume {place / 'half'}" in text
    assert "Singular values" in text and "told when the run has ended" in text


def test_a_run_of_no_steps_has_a_page(place):
    assert "no step was taken" in made(place / "nothing")


def test_a_bound_is_told_only_where_it_holds(place):
    assert "L2 allows" in made(place / "plain") and "L2 allows" not in made(place / "reset")


def test_a_run_that_changed_its_heads_says_what_no_longer_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "pictures", lambda *_: None)
    path, alone = tiny.begin(tmp_path / "run"), Solo()
    tiny.go_on(path, watch=tiny.stop_after(2))
    assert isinstance(job.run(path, job.opened(job.settings(path, alone, 3), alone), tiny.quiet()), dict)
    text = made(path)
    assert "the number of heads changed on the way: laws L1 and L2" in text and "L2 allows" not in text
    assert "The command alone gives other bits" in text and "could not be read" not in text


@pytest.mark.parametrize("kind", sorted(tiny.KINDS))
def test_every_kind_of_run_has_a_page(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(job, "pictures", lambda *_: None)
    monkeypatch.setattr(plots, "inline", lambda name, paint: "<svg ></svg>")
    tiny.go_on(tiny.begin(tmp_path / kind, **tiny.KINDS[kind]))
    text = made(tmp_path / kind)
    assert tiny.the_summary(tmp_path / kind)["weights_sha256"] in text and "could not be read" not in text


def test_heads_that_did_not_count_are_noted():
    records = [
        Record(2, 16, 0.1, [1.0, None], trust={"1": 0.0}),
        Record(4, 32, 0.2, [1.0, 1.0], trust={"1": 0.5}),
        Record(6, 48, 0.3, [1.0, 1.0], trust={"1": 0.25}),
    ]
    assert list(facts.trust(records)) == [
        "head 1: left out at the merge of step 2",
        "head 1: with a loss that is not finite at the merge of step 2",
        "head 1: clipped at 2 merges, of steps 4 to 6",
    ]


def test_bytes_of_ranks_are_beside_full_rank(place):
    run = report.read_all([place / "plain"])[0]
    sent = dict(run.summary["bytes_sent"], per_rank=[1000, 3000], total=4000, by_kind={"factors": 4000})
    sent |= dict(full_rank_ring=2_000_000, full_rank_all_to_all=6_000_000)
    text = report.page([run._replace(summary=run.summary | {"bytes_sent": sent})])
    for words in ("2.0 kB", "1.0 MB", "3.0 MB", "the mean of 2"):
        assert words in text


# ---------------------------------------------------------------- what a folder may hold


def test_what_a_folder_says_is_never_markup(place, tmp_path):
    path = copied(place / "half", tmp_path / EVIL.replace("/", "|"))
    config = folder.read_json(path / "config.json")
    folder.write_json(path / "config.json", config | {"data": EVIL, "init_from": f"\ud800\"'{EVIL}"})
    folder.write_json(path / "env.json", {EVIL: EVIL, "x": [EVIL], "y\ud800": 1})
    records = folder.read_lines(path / "metrics.jsonl")
    records[1]["trust"] = {EVIL: 0.5}
    folder.write_lines(path / "metrics.jsonl", records)
    text = made(path, path)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert text.encode().decode() == text and "script" not in {tag for tag, _ in Page(text).tags}


def test_weights_that_are_not_those_of_the_summary_are_refused(place, tmp_path):
    path = copied(place / "plain", tmp_path / "run")
    summary = tiny.the_summary(path)
    folder.write_json(path / "summary.json", summary | {"weights_sha256": "0" * 64})
    with pytest.raises(BadInput, match="final.safetensors: its weights have SHA-256 .* but summary.json says"):
        made(path)


def test_a_checkpoint_that_is_damaged_is_noted_and_the_rest_is_told(place, tmp_path):
    path = copied(place / "plain", tmp_path / "run")
    for state in path.glob("ckpt/*/state.safetensors"):
        state.write_bytes(state.read_bytes()[:-1])
    text = made(path)
    assert "a checkpoint could not be read" in text and "damaged" in text
    assert "at step 6: all that the folder keeps" in text  # final.safetensors
    assert "the factors of the heads are not at hand" in text


def test_the_data_of_a_finished_run_is_not_needed(place, tmp_path):
    path = copied(place / "plain", tmp_path / "run")
    for file in (path / "config.json", *path.glob("ckpt/*/manifest.json")):
        folder.write_json(file, folder.read_json(file) | ({"data": "gone.npz"} if file.parent == path else {}))
    text = made(path)
    assert "gone.npz" in text and "at step 6" in text


def test_what_cannot_be_built_is_left_out_with_the_reason(place, tmp_path):
    path = copied(place / "plain", tmp_path / "run")
    config = folder.read_json(path / "config.json")
    folder.write_json(path / "config.json", config | {"init_from": "gone.safetensors"})
    text = made(path)
    assert "W₀ cannot be drawn again here" in text and "gone.safetensors: cannot be read" in text


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


def test_many_heads_are_not_compared_pair_by_pair(monkeypatch, place):
    monkeypatch.setattr(past, "PAIRED", 1)
    assert "undefined: not measured: run with --measure" in made.__wrapped__(place / "plain")
