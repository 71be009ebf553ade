"""The figures of a report: every one is lines over a common axis, drawn by `plots.inline` as SVG for a page."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.core.types import Array
from minilte.show import plots
from minilte.measure.measures import powers_of_two
from minilte.run.session import Record

INK, FAINT, COLOURS = 0, 7, 6  # tones: text and axes; what stays behind; 1 to 6 tell lines apart
DASHES = ("-", "--", "-.", ":")
POINTS = 256  # of a line; more would not be seen
PALE = 0.3  # how strong the earliest of many lines is at least
ALONE = 16  # heads that get a line each; more become the range they fill


class Line(NamedTuple):
    """One line of a figure."""

    x: Sequence[float]
    y: Sequence[float | None]
    label: str | None = None
    tone: int = 1
    dash: str = "-"
    width: float = 1.5
    alpha: float = 1.0


class Axes(NamedTuple):
    """What the axes of a figure say."""

    x: str
    y: str
    log: bool = False  # y, where its values spread enough
    batch: int = 0  # samples of a step: a second axis, of steps, above one of samples
    limits: Sequence[tuple[float, int]] = ()  # (x, tone) of dotted lines that stand upright


def of_run(number: int) -> tuple[int, str]:
    """(tone, dash) of one line among others: two lines on each other are told apart by their dashes."""
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
            axes.fill_between(*band, color=plots.tone(FAINT), lw=0, alpha=0.5, label="heads, from least to most")
        for line in lines:
            x, y = thinned(line.x), np.array(thinned(line.y), float)  # None becomes NaN: a gap
            style = dict(color=plots.tone(line.tone), ls=line.dash, lw=line.width, alpha=line.alpha)
            lone = np.isfinite(y).sum() == 1
            axes.plot(x, y, label=line.label, marker="o" if lone else None, ms=3, **style)
        for x, tone in axes_.limits:
            axes.axvline(x, color=plots.tone(tone), ls=":", lw=1.2)
        axes.set(xlabel=axes_.x, ylabel=axes_.y)
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

    return plots.inline(name, paint)


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


# --------------------------------------------------------------------------------------------- of one run


def losses(name: str, records: Sequence[Record], batch: int) -> str:
    """Loss of every head over its last round, and of the main weights in training and held out."""
    rounds = thinned([record for record in records if record.losses])
    samples, most = [one.samples for one in rounds], max((len(one.losses) for one in rounds), default=0)
    each = np.array([[*one.losses, *[None] * (most - len(one.losses))] for one in rounds], float).T  # (N, rounds)
    seen, band, heads = plots.evaluated(records), None, []
    if most > ALONE:
        some = np.isfinite(each).any(axis=0)  # of a round in which no head's loss was finite there is no range
        band = (np.array(samples)[some], np.nanmin(each[:, some], axis=0), np.nanmax(each[:, some], axis=0))
    else:
        heads = [Line(samples, one, None if n else "heads, each", FAINT, width=0.8) for n, one in enumerate(each)]
    main = [
        Line(*plots.curve(seen, "train_loss"), "main, training", 1, "--"),
        Line(*plots.curve(seen, "test_loss"), "main, held out", 2),
    ]
    return chart(name, [*heads, *main], Axes("samples", "loss", True, batch), band)


def accuracy(name: str, records: Sequence[Record], batch: int) -> str:
    """Held-out accuracy of the main weights."""
    seen = [record for record in records if record.test_accuracy is not None]
    line = Line(*plots.curve(seen, "test_accuracy", 100), tone=2)
    return chart(name, [line], Axes("samples", "held-out accuracy (%)", batch=batch))


def noise(name: str, seen: Sequence[tuple[int, float | dict]]) -> str:
    """The gradient noise scale, (samples, value) each; a gap where it is undefined."""
    values = [None if isinstance(value, dict) else value for _, value in seen]
    return chart(
        name, [Line([samples for samples, _ in seen], values)], Axes("samples", "noise scale (samples)", True)
    )


def growth(name: str, spectra: Sequence[tuple[str, Array]], bound: int | None) -> str:
    """Singular values of one layer's change, the earlier the fainter; dotted where law L2 says that they must end."""
    lines = [
        Line(np.arange(1, len(sigma) + 1), sigma, label, 1, alpha=PALE + (1 - PALE) * (i + 1) / len(spectra))
        for i, (label, sigma) in enumerate(spectra)
    ]
    limit = [] if bound is None else [(bound + 0.5, INK)]
    return chart(name, lines, Axes("index", "singular value of Wₜ − W₀", True, limits=limit))


def over_time(name: str, records: Sequence[Record], measure: str, label: str, layers: Sequence[str]) -> str:
    """A measure of every layer at every evaluation that has it; a gap where it is undefined."""
    seen = [record for record in records if record.measures]
    lines = []
    for number, layer in enumerate(layers):
        values = [record.measures["layers"].get(layer, {}).get(measure) for record in seen]
        known = [None if isinstance(value, dict) else value for value in values]
        lines.append(Line([record.samples for record in seen], known, layer, *of_run(number)))
    return chart(name, lines, Axes("samples", label))


def spectrum_over_time(name: str, records: Sequence[Record], layer: str) -> str:
    """Singular values 1, 2, 4, … of one layer's change at every evaluation; each begins where it stands out of rounding."""
    seen = [record for record in records if record.measures]
    values = [record.measures["layers"].get(layer, {}) for record in seen]
    most = max((int(key[6:]) for value in values for key in value if key.startswith("sigma_")), default=0)
    lines = [
        Line([record.samples for record in seen], [value.get(f"sigma_{i}") for value in values], f"{i}", *of_run(k))
        for k, i in enumerate(powers_of_two(most))
    ]
    return chart(name, lines, Axes("samples", "singular values of Wₜ − W₀", True))


# --------------------------------------------------------------------------------------------- of several runs


def together(name: str, runs: Sequence[tuple[str, Sequence[Record], int]], field: str, axes_: Axes, factor=1) -> str:
    """One field of the evaluations of every run, (letter, records, number) each, over samples or over steps."""
    lines = []
    for letter, records, number in runs:
        seen = [record for record in plots.evaluated(records) if getattr(record, field) is not None]
        x, y = plots.curve(seen, field, factor)
        lines.append(Line([one.step for one in seen] if axes_.x == "steps" else x, y, letter, *of_run(number)))
    return chart(name, lines, axes_)


def ends(name: str, spectra: Sequence[tuple[str, Array, int]]) -> str:
    """The last singular values of one layer's change in several runs: (letter, values, number) each."""
    lines = [Line(np.arange(1, len(sigma) + 1), sigma, letter, *of_run(number)) for letter, sigma, number in spectra]
    return chart(name, lines, Axes("index", "singular value of W − W₀", True))
