"""Curves are those of their own run's records, with what they show in words; what was not measured is said."""

import math

import pytest
import seen

from minilte.run.observe import Record
from minilte.show import curves
from minilte.show.past import Named, read_run


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


RECORDS = [
    Record(0, 0, 0.0, [], 2.0, 2.5, 0.125),
    Record(2, 16, 0.1, [1.5, 1.75]),
    Record(4, 32, 0.2, [1.0, 1.25], 1.125, 1.625, 0.5),
    Record(6, 48, 0.3, [0.5, 0.25]),
]
NOISE = [{"undefined": "no"}, 10.0, 40.0, {"undefined": "no"}]


@pytest.fixture
def scored(place):
    """A run with accuracies and a noise scale, as a page names it."""
    records = [one._replace(measures={"layers": {}, "noise_scale": noise}) for one, noise in zip(RECORDS, NOISE)]
    return Named(read_run(place / "plain")._replace(records=records), "B", 1)


def test_the_curves_of_a_run_are_those_of_its_records_and_the_words_say_their_ends(scored):
    with seen.pictures() as drawn:
        page = seen.parsed(*curves.learning(scored))
    said = seen.figures(page)
    assert list(said) == list(drawn) == ["b-loss", "b-accuracy", "b-noise"]
    loss = seen.lines(*drawn["b-loss"].axes)
    assert seen.points(loss["main, training"]) == [(0, 2.0), (32, 1.125)]
    assert seen.points(loss["main, held out"]) == [(0, 2.5), (32, 1.625)]
    assert said["b-loss"] == (
        "Held-out loss from 2.5 at 0 samples to 1.625 at 32; training loss from 2 to 1.125",
        curves.LOSS,
    )
    (accuracy,) = seen.unnamed(*drawn["b-accuracy"].axes)
    assert seen.points(accuracy) == [(0, 12.5), (32, 50)]
    assert said["b-accuracy"] == ("Held-out accuracy from 12.50 % to 50.00 %", curves.ACCURACY)
    (noise,) = seen.unnamed(*drawn["b-noise"].axes)
    assert noise.x == [0, 16, 32, 48] and seen.points(noise) == [(16, 10), (32, 40)] and math.isnan(noise.y[-1])
    assert said["b-noise"] == ("Gradient noise scale, from 10 to 40 samples", curves.NOISE)
    assert seen.axes_of(drawn["b-noise"]) == ("samples", "noise scale (samples)", "log")


def test_curves_side_by_side_have_the_letter_and_the_records_of_their_own_run(place, scored):
    plain = read_run(place / "plain")
    named = [scored._replace(letter="A", number=0), Named(read_run(place / "reset"), "B", 1), Named(plain, "C", 2)]
    with seen.pictures() as drawn:
        said = seen.figures(seen.parsed(curves.learning_together(named)))
    for field, (y, factor, spread) in {
        "held_loss": ("held-out loss", 1, "log"),
        "train_loss": ("training loss", 1, "log"),
        "held_accuracy": ("held-out accuracy (%)", 100, "linear"),
    }.items():
        for x, over in (("samples", lambda one: one.samples), ("steps", lambda one: one.step)):
            name = f"all-{field.replace('_', '-')}-{x}"
            (axes,) = drawn[name].axes
            assert (axes.get_xlabel(), axes.get_ylabel()) == (x, y)
            assert axes.get_yscale() in (spread, "linear")  # of numbers that are near it is linear
            lines, ends = seen.lines(axes), []
            for entry in named:
                known = [
                    (over(one), getattr(one, field)) for one in entry.run.records if getattr(one, field) is not None
                ]
                assert seen.points(lines[entry.letter]) == [(at, factor * value) for at, value in known]
                assert seen.tone(lines[entry.letter]) == 1 + entry.number
                ends += [f"{entry.letter} {factor * known[-1][1]:.4g}"] if known else []
            assert said[name] == (f"{y} over {x}; at the end {', '.join(ends)}", f"{y[0].upper()}{y[1:]} over {x}.")
    assert len(drawn) == 6


def steps_above(figure):
    """The samples at the ends of the axis of a picture, and the steps above them; None where there is no such axis."""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    above = [one.get_xlim() for one in axes.child_axes if one.get_xlabel() == "steps"]
    return (axes.get_xlim(), *above) if above else None


def test_steps_stand_above_the_samples_of_a_run_and_of_several_with_one_batch(place, scored):
    plain, other = Named(read_run(place / "plain"), "A", 0), Named(read_run(place / "reset"), "C", 2)
    with seen.pictures() as drawn:
        list(curves.learning(scored))
        curves.learning_together([plain, scored])
    together = [f"all-{field}-samples" for field in ("held-loss", "train-loss", "held-accuracy")]
    for name in ("b-loss", "b-accuracy", *together):
        samples, steps = steps_above(drawn[name])
        assert steps == pytest.approx([at / 8 for at in samples]), name
    with seen.pictures() as drawn:
        curves.learning_together([plain, other])  # of other batches
    assert drawn and not any(map(steps_above, drawn.values()))


def test_ranks_and_heads_that_change_are_drawn_with_their_ends_in_words(place):
    records = [
        RECORDS[0],
        RECORDS[1]._replace(ranks={"layer1": 3, "layer2": 2}, trust={"1": 0.0}, losses=[1.5, None]),
        RECORDS[2]._replace(ranks={"layer1": 1, "layer2": 2}),
    ]
    entry = Named(read_run(place / "plain")._replace(records=records), "B", 1)
    with seen.pictures() as drawn:
        page = seen.parsed(*curves.changing(entry))
    said = seen.figures(page)
    assert list(said) == list(drawn) == ["b-ranks", "b-heads"]
    lines = seen.lines(*drawn["b-ranks"].axes)
    assert seen.points(lines["layer1"]) == [(16, 3), (32, 1)] and seen.points(lines["layer2"]) == [(16, 2), (32, 2)]
    assert said["b-ranks"][0] == "Rank of the adapters, layer1 3 to 1, layer2 2 to 2"
    assert said["b-heads"][0] == "Heads that took part, 1 to 2"
    (heads,) = seen.unnamed(*drawn["b-heads"].axes)
    assert seen.points(heads) == [(16, 1), (32, 2)]
    for name, style in (("b-ranks", "steps-post"), ("b-heads", "steps-pre")):  # as in the picture of the run
        (axes,) = drawn[name].axes
        assert {line.get_drawstyle() for line in axes.get_lines()} == {style}
        assert axes.get_ylim()[0] == 0 and all(tick == round(tick) for tick in axes.get_yticks())
    assert list(curves.changing(entry._replace(run=entry.run._replace(records=RECORDS)))) == []
