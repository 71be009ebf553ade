"""Figures come with what they show in words; what cannot be drawn is said with the reason."""

import pytest
import tiny

from minilte.show import curves, drawing
from minilte.show.past import Named, read_run


@pytest.fixture
def undrawn(monkeypatch):
    """Figures without their lines, to be quick."""
    monkeypatch.setattr(drawing, "inline", lambda name, paint: "<svg ></svg>")


def finished(path, **changes) -> Named:
    """A tiny run that has ended, as a page names it."""
    tiny.go_on(tiny.begin(path, **changes))
    return Named(read_run(path), "A", 0)


def text_of(parts):
    return "".join(part.text for part in parts)


def test_what_was_not_measured_is_said_and_what_was_is_drawn(place, made):
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


def test_runs_with_other_batches_are_drawn_over_steps_too(place, made):
    assert "over steps" in made(place / "plain", place / "reset")
    assert "over steps" not in made(place / "plain", place / "measured")


def test_a_run_of_no_steps_has_a_page(place, made):
    assert "no step was taken" in made(place / "nothing")


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        ("lte", 4),
        ("unequal-ranks", 4),
        ("mhlora", 4),
        ("lora", 2),
        ("absorbed", 4),
        ("allreduce", 4),
        ("full", None),
        ("reset-b", None),
        ("in-place", None),
        ("outer", None),
    ],
)
def test_a_bound_is_shown_where_law_l2_holds(tmp_path, undrawn, kind, bound):
    run = finished(tmp_path / "run", **tiny.KINDS[kind])
    assert curves.bounds_of(run.run) == ({} if bound is None else {"layer1": bound})
    text = text_of(curves.change(run))
    assert ("L2 allows" in text) == ("(L2): the dotted line" in text) == (bound is not None)
    assert f'<td class="number">{bound or "none"}</td>' in text


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("lte", True),
        ("server", True),
        ("skip-bad-heads", True),
        ("half-wire", True),
        ("nf4", True),
        ("reset-ab", False),
        ("allreduce", False),
        ("full", False),
        ("lora", False),
        ("mhlora", False),
    ],
)
def test_heads_are_compared_where_the_method_keeps_what_it_merged(tmp_path, undrawn, kind, kept):
    text = text_of(curves.heads(finished(tmp_path / "run", **tiny.KINDS[kind])))
    assert ("Alignment of the heads at step 6" in text) == kept
    assert kept or not text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "undefined"),
        ({"undefined": "why"}, "undefined"),
        (4, "4"),
        (1e-9, "0"),
        (-0.25, "−0.25"),
        (1.23456, "1.23"),
    ],
    ids=str,
)
def test_a_measure_is_short(value, words):
    assert curves.short(value) == words
