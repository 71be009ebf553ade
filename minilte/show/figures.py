"""The figures of a report: lines over a common axis, drawn as SVG for a page."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.core.types import Array
from minilte.run.observe import Record
from minilte.show import drawing
from minilte.show.pictures import by_index, curve, head_losses, measure_curve, measured

INK, FAINT, COLOURS = 0, 7, 6  # tones: text and axes; background; 1 to 6 are those of lines
DASHES = ("-", "--", "-.", ":")
POINTS = 256  # of a line; more would not be visible
PALE = 0.3  # the least opacity of a line; the earliest of many has it
ALONE = 16  # heads that get a line each; of more heads the range is drawn


class Line(NamedTuple):
    """A line of a figure."""

    x: Sequence[float]
    y: Sequence[float | None]
    label: str | None = None
    tone: int = 1
    dash: str = "-"
    width: float = 1.5
    alpha: float = 1.0
    drawstyle: str = "default"  # "steps-post": a value holds from its place on, "steps-pre": up to it


class Axes(NamedTuple):
    """The labels and scales of a figure."""

    x: str
    y: str
    log: bool = False  # y, where its values spread enough
    batch: int = 0  # samples a step: a second axis, of steps, above that of samples
    limits: Sequence[tuple[float, int]] = ()  # (x, tone) of dotted vertical lines
    counts: bool = False  # y counts something: whole numbers from 0


def of_run(number: int) -> tuple[int, str]:
    """(tone, dash) of a line: dashes distinguish lines that coincide."""
    return 1 + number % COLOURS, DASHES[number % len(DASHES)]


def thinned(values: Sequence) -> Sequence:
    """At most `POINTS` of the values, the first and the last among them."""
    if len(values) <= POINTS:
        return values
    return [values[i] for i in np.linspace(0, len(values) - 1, POINTS).round().astype(int)]


def chart(name: str, lines: Sequence[Line], axes_: Axes, band: tuple[Sequence, Array, Array] | None = None) -> str:
    """The figure as an <svg> element; `band` is (x, low, high) of a shaded range behind the lines."""

    def paint(axes):
        if band:
            axes.fill_between(*band, color=drawing.tone(FAINT), lw=0, alpha=0.5, label="heads, from least to most")
        for line in lines:
            x, y = thinned(line.x), np.array(thinned(line.y), float)  # None becomes NaN: a gap
            style = dict(color=drawing.tone(line.tone), ls=line.dash, lw=line.width, alpha=line.alpha)
            style |= dict(drawstyle=line.drawstyle)
            lone = np.isfinite(y).sum() == 1
            axes.plot(x, y, label=line.label, marker="o" if lone else None, ms=3, **style)
        for x, tone in axes_.limits:
            axes.axvline(x, color=drawing.tone(tone), ls=":", lw=1.2)
        axes.set(xlabel=axes_.x, ylabel=axes_.y)
        if axes_.counts:
            counting(axes)
        scale(axes, axes_.log, [value for line in lines for value in line.y if value is not None])
        axes.xaxis.get_major_locator().set_params(nbins=4, integer=True)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        if axes_.batch:
            axes.spines["top"].set_visible(True)
            above = axes.secondary_xaxis("top", functions=(lambda x: x / axes_.batch, lambda x: x * axes_.batch))
            above.set_xlabel("steps")
            above.xaxis.get_major_locator().set_params(nbins=4, integer=True)
            above.xaxis.set_major_formatter("{x:,.0f}")
        if any(line.label for line in lines):
            axes.legend(frameon=False)

    return drawing.inline(name, paint)


def counting(axes) -> None:
    """Whole numbers from 0 on the axis of y."""
    axes.set_ylim(bottom=0)
    axes.yaxis.get_major_locator().set_params(integer=True)


def scale(axes, log: bool, values: Sequence[float]) -> None:
    """A logarithmic axis where positive values spread by half and more, with plain numbers on it."""
    positive = [value for value in values if value > 0]
    if not log or not positive or max(positive) < 1.5 * min(positive):
        axes.yaxis.set_major_formatter("{x:g}")
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    digits = "23456789" if high < 4 * low else "235" if high < 20 * low else "25" if high < 200 * low else ""
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in digits else "")


def losses(name: str, records: Sequence[Record], batch: int) -> str:
    """Loss of every head over its last round, and of the main weights in training and held out."""
    rounds = thinned([record for record in records if record.losses])
    samples, each, band, heads = [record.samples for record in rounds], head_losses(rounds), None, []
    if len(each) > ALONE:
        some = np.isfinite(each).any(axis=0)  # a round without a finite loss has no range
        band = (np.array(samples)[some], np.nanmin(each[:, some], axis=0), np.nanmax(each[:, some], axis=0))
    else:
        heads = [Line(samples, of, None if n else "heads, each", FAINT, width=0.8) for n, of in enumerate(each)]
    main = [
        Line(*curve(records, "train_loss"), "main, training", 1, "--"),
        Line(*curve(records, "held_loss"), "main, held out", 2),
    ]
    return chart(name, [*heads, *main], Axes("samples", "loss", True, batch), band)


def accuracy(name: str, records: Sequence[Record], batch: int) -> str:
    """Held-out accuracy of the main weights."""
    line = Line(*curve(records, "held_accuracy", 100), tone=2)
    return chart(name, [line], Axes("samples", "held-out accuracy (%)", batch=batch))


def growth(name: str, spectra: Sequence[tuple[str, Array]], bound: int | None) -> str:
    """Singular values of a layer's change, the earlier the fainter; dotted where they must end by a law."""
    lines = [
        Line(*by_index(sigma), label, alpha=PALE + (1 - PALE) * i / len(spectra))
        for i, (label, sigma) in enumerate(spectra, 1)
    ]
    limits = [] if bound is None else [(bound + 0.5, INK)]
    return chart(name, lines, Axes("index", "singular value of Wₜ − W₀", True, limits=limits))


def over_time(name: str, records: Sequence[Record], measure: str, label: str, layers: Sequence[str]) -> str:
    """A measure of every layer at every evaluation that has it; a gap where it is undefined."""
    lines = [Line(*measure_curve(records, measure, layer), layer, *of_run(k)) for k, layer in enumerate(layers)]
    return chart(name, lines, Axes("samples", label))


def spectrum_over_time(name: str, records: Sequence[Record], layer: str) -> str:
    """Singular values 1, 2, 4, … of a layer's change at every evaluation, each from where it exceeds rounding on."""
    found = [key for record in measured(records) for key in record.measures["layers"].get(layer, {})]
    keys = dict.fromkeys(key for key in found if key.startswith("sigma_"))
    lines = [
        Line(*measure_curve(records, key, layer), key.removeprefix("sigma_"), *of_run(k))
        for k, key in enumerate(keys)
    ]
    return chart(name, lines, Axes("samples", "singular values of Wₜ − W₀", True))
