"""The learning curves of a report, with captions: loss, accuracy, and the noise of the gradients."""

import math
from collections.abc import Iterator, Sequence

from minilte.show import figures
from minilte.show.facts import percent
from minilte.show.figures import Axes, Line, of_run
from minilte.show.markup import Html, figure, grid
from minilte.show.past import Named
from minilte.show.pictures import curve, evaluations, measure_curve, taking_part

LOSS = (
    "Loss; the samples of all heads are counted together. That of a head is the mean over its own batches since the"
    " last merge; the main weights are evaluated after merges."
)
ACCURACY = "Fraction of the held-out samples that the main weights classify correctly."
NOISE = (
    "Gradient noise scale, in samples: a batch beyond it gains little (McCandlish et al. 2018). A gap where the estimate"
    " is not above 0."
)
FIELDS = {"held_loss": "held-out loss", "train_loss": "training loss", "held_accuracy": "held-out accuracy (%)"}


def learning(entry: Named) -> Iterator[Html]:
    """Loss and accuracy over samples and steps, and the noise scale of the gradients where it was measured."""
    records, batch = entry.run.records, entry.run.config.batch
    first, last = evaluations(records)[0], entry.run.last
    words = (
        f"Held-out loss from {first.held_loss:.4g} at {first.samples:,} samples to {last.held_loss:.4g} at"
        f" {last.samples:,}; training loss from {first.train_loss:.4g} to {last.train_loss:.4g}"
    )
    drawn = [figure(figures.losses(f"{entry.key}-loss", records, batch), words, LOSS)]
    if None not in (first.held_accuracy, last.held_accuracy):
        words = f"Held-out accuracy from {percent(first.held_accuracy)} to {percent(last.held_accuracy)}"
        drawn.append(figure(figures.accuracy(f"{entry.key}-accuracy", records, batch), words, ACCURACY))
    drawn += changing(entry)
    noise = Line(*measure_curve(records, "noise_scale"))
    if known := [value for value in noise.y if not math.isnan(value)]:
        words = f"Gradient noise scale, from {known[0]:.3g} to {known[-1]:.3g} samples"
        svg = figures.chart(f"{entry.key}-noise", [noise], Axes("samples", "noise scale (samples)", True))
        drawn.append(figure(svg, words, NOISE))
    yield grid(drawn)


def changing(entry: Named) -> Iterator[Html]:
    """The rows that live and the heads that took part, of a run in which they change."""
    if not (rounds := [record for record in entry.run.records if record.ranks]):
        return
    samples = [record.samples for record in rounds]
    names = list(rounds[0].ranks)
    lines = [
        Line(samples, [record.ranks[name] for record in rounds], name, *of_run(i), drawstyle="steps-post")
        for i, name in enumerate(names)
    ]
    ends = ", ".join(f"{name} {rounds[0].ranks[name]} to {rounds[-1].ranks[name]}" for name in names)
    svg = figures.chart(f"{entry.key}-ranks", lines, Axes("samples", "rank of the adapters", counts=True))
    yield figure(svg, f"Rank of the adapters, {ends}", "Rank of the adapters: the rows that live after each merge.")
    heads = [taking_part(record) for record in rounds]
    line = Line(samples, heads, drawstyle="steps-pre")
    svg = figures.chart(f"{entry.key}-heads", [line], Axes("samples", "heads that took part", counts=True))
    yield figure(svg, f"Heads that took part, {min(heads)} to {max(heads)}", "Heads that took part in each merge.")


def learning_together(named: Sequence[Named]) -> Html:
    """Losses and accuracy of all runs over samples, and over steps where batches differ."""
    batches = {entry.run.config.batch for entry in named}
    batch = batches.pop() if len(batches) == 1 else 0
    fields = [field for field in FIELDS if any(getattr(entry.run.last, field) is not None for entry in named)]
    return grid(
        [
            curve_together(named, field, x, batch)
            for x in ("samples", "steps")[: 1 if batch else 2]
            for field in fields
        ]
    )


def curve_together(named: Sequence[Named], field: str, x: str, batch: int) -> Html:
    """A field of all runs over samples or steps; with a `batch`, over both."""
    y, factor, over = FIELDS[field], 100 if field == "held_accuracy" else 1, {"steps": "step"}.get(x, x)
    lines = [
        Line(*curve(entry.run.records, field, factor, over), entry.letter, *of_run(entry.number)) for entry in named
    ]
    svg = figures.chart(f"all-{field.replace('_', '-')}-{x}", lines, Axes(x, y, factor == 1, batch))
    ends = [(entry.letter, getattr(entry.run.last, field)) for entry in named]
    words = ", ".join(f"{letter} {factor * value:.4g}" for letter, value in ends if value is not None)
    return figure(svg, f"{y} over {x}; at the end {words}", f"{y[0].upper()}{y[1:]} over {x}.")
