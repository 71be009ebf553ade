"""The page of a ladder: its lines are the numbers of its rows, over the right axis, and it stands alone."""

import numpy as np
import pytest
import seen
from show.test_standings import ladder, row

from minilte.core.errors import BadInput
from minilte.show import ladder as page

TWO = ladder(
    row("a", frontier=True),
    row("b", bytes=4e6, memory=9e3, curve=[dict(samples=s, bytes=4e4 * s, link_bytes=1e5 * s, train_loss=3.0, test_loss=4.0 / (1 + s), test_accuracy=0.5) for s in (0, 50, 100)]),
    row("gone", scores={}, behind={}, curve=[], trouble="diverged"),
    mbit=10.0,
)  # fmt: skip


def drawn(of=TWO):
    with seen.pictures() as pictures:
        pieces = list(page.body(of))
    return pictures, pieces


@pytest.mark.parametrize("score, times", [("train_loss", 1), ("test_loss", 1), ("test_accuracy", 100)])
@pytest.mark.parametrize("over, unit", [("samples", 1.0), ("bytes", None), ("seconds", None)])
def test_a_curve_is_the_score_of_each_row_over_its_axis(score, times, over, unit):
    pictures, _ = drawn()
    lines = seen.lines(pictures[f"{score}-{over}".replace("_", "-")].axes[0])
    assert list(lines) == ["A", "B"]
    for name, of in zip("AB", TWO["rows"]):
        points = of["curve"][1:]
        x = {"samples": [p["samples"] for p in points], "bytes": [p["bytes"] for p in points],
             "seconds": [8 * p["link_bytes"] / 1e7 for p in points]}[over]  # fmt: skip
        assert lines[name].x == pytest.approx(x) and lines[name].y == pytest.approx(
            [times * p[score] for p in points]
        )


@pytest.mark.parametrize("price", ["bytes", "memory"])
def test_the_frontier_has_a_point_for_each_row_filled_where_it_is_on_it(price):
    pictures, _ = drawn()
    axes = pictures[f"frontier-{price}"].axes[0]
    points = {line.get_label(): line for line in axes.get_lines()}
    assert list(points) == ["A", "B"]
    for name, of in zip("AB", TWO["rows"]):
        assert points[name].get_xdata() == [of[price]] and points[name].get_ydata() == [
            of["scores"]["test_loss"]["mean"]
        ]
        assert (points[name].get_markerfacecolor() != "none") == of["frontier"]


def test_the_page_has_the_table_its_remarks_and_all_that_was_tried():
    _, pieces = drawn(TWO | dict(matches=[dict(name="b", opponent="full", score="train_loss", ratios=[2.0, 2.0], short=0, early=0, mean=2.0, low=1.5, high=2.5)]))  # fmt: skip
    text = "".join(piece.text for piece in pieces)
    for words in (
        "88.12 ± 0.14",
        "gone: diverged.",
        "Samples to match",
        "2.00 (1.50 to 2.50)",
        "lr 0.002: 0.5000; lr 0.004: diverged",
    ):
        assert words in text
    assert "Samples to match" not in "".join(piece.text for piece in drawn()[1])


def test_it_is_written_whole_and_again_the_same(tmp_path):
    page.write(TWO, tmp_path)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert (
        first.keys() == {"ladder.html", "ladder.svg", "ladder.png"}
        and b"<h1>A ladder of methods</h1>" in first["ladder.html"]
    )
    page.write(TWO, tmp_path)
    assert (tmp_path / "ladder.html").read_bytes() == first["ladder.html"]


def test_a_ladder_on_which_all_diverged_is_a_page_without_pictures_of_nothing(tmp_path):
    page.write(ladder(row("gone", scores={}, behind={}, curve=[], trouble="diverged")), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["ladder.html"]


@pytest.mark.parametrize("name", ["ladder.html", "ladder.svg", "ladder.png"])
def test_what_somebody_else_wrote_there_is_refused(tmp_path, name):
    (tmp_path / name).write_text("my own")
    with pytest.raises(BadInput, match="exists already"):
        page.refuse(tmp_path)


def test_the_picture_has_three_axes_and_the_frontier():
    with seen.pictures() as pictures:
        page.picture(TWO, None)
    samples, sent, seconds, frontier = pictures["ladder"].axes
    assert [axes.get_xlabel() for axes in (samples, sent, seconds, frontier)] == [
        "samples",
        "bytes sent",
        "seconds on the link",
        "bytes sent",
    ]
    assert np.allclose(seen.lines(seconds)["B"].x, [8 * 1e5 * s / 1e7 for s in (50, 100)])


@pytest.mark.parametrize("over, ends", [("bytes", 4e6), ("seconds", 8 * 1e7 / 1e7)])
def test_what_costs_nothing_stands_left_of_what_costs_the_least(over, ends):
    free = row(
        "free", bytes=0.0, curve=[point | dict(bytes=0.0, link_bytes=0.0) for point in TWO["rows"][1]["curve"]]
    )
    of = ladder(free, TWO["rows"][1], mbit=10.0)
    pictures, _ = drawn(of)
    axes = pictures[f"test-loss-{over}"].axes[0]
    lines = seen.lines(axes)
    assert set(lines["A"].x) == {0.0} and max(lines["B"].x) == pytest.approx(ends)
    place = lambda x: axes.transData.transform((x, 1.0))[0]  # noqa: E731
    least = min(lines["B"].x)
    assert axes.bbox.x0 <= place(0.0) < place(least) < place(max(lines["B"].x)) <= axes.bbox.x1
    assert place(2 * least) - place(least) == pytest.approx(place(8 * least) - place(4 * least))
    frontier = pictures["frontier-bytes"].axes[0]
    assert [line.get_xdata()[0] for line in frontier.get_lines()] == [0.0, 4e6]
