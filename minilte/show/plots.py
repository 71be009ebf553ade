"""The pictures of a run: the only module that imports matplotlib."""

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minilte.core.types import Array
from minilte.disk import folder
from minilte.run.session import Record

LIMIT = 2048  # largest min(m, n) whose singular values are computed for a picture


def draw(place: Path, name: str, paint, size=(6.4, 4.0), panels=(1, 1)) -> None:
    """Save what paint(axes) draws as name.svg and name.png; rows and columns of panels make it an array. Raises DiskTrouble."""
    from matplotlib.figure import Figure

    figure = Figure(size, layout="constrained")
    axes = figure.subplots(*panels)
    paint(axes)
    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
    with folder.writing(place):
        place.mkdir(parents=True, exist_ok=True)
    for kind in ("svg", "png"):
        picture = io.BytesIO()
        figure.savefig(picture, format=kind, dpi=120)
        folder.write(place / f"{name}.{kind}", picture.getvalue())


TONE = "#0a0b"  # how the colours of an `inline` figure begin; the two digits after it are the tone
INLINE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "minilte",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "legend.fontsize": 9,
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), f"{TONE}00")


def tone(number: int) -> str:
    """A colour of `inline`: var(--tone-NUMBER) of the page; 0 is that of text and axes."""
    return f"{TONE}{number:02x}"


def inline(name: str, paint, size=(4.4, 3.0)) -> str:
    """What paint(axes) draws as one <svg> element for a page, which gives it colours, font and width.

    Text stays text. Ids begin with `name`, so that figures share a page; nothing depends on the time.
    """
    import matplotlib
    from matplotlib.figure import Figure

    picture = io.StringIO()
    with matplotlib.rc_context(INLINE):
        figure = Figure(size, layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        paint(axes)
        for one in figure.findobj(lambda artist: hasattr(artist, "patch")):  # every background
            one.patch.set_visible(False)
        figure.savefig(picture, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return adopted(picture.getvalue(), name)


def adopted(svg: str, name: str) -> str:
    """A figure of matplotlib's as an element of a page: see `inline`."""
    body = svg[svg.index("<svg") :].strip()
    body = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", body, count=1)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)  # it would be the whole page's
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'(<(?:path|clipPath) id="|url\(#|(?<=xlink:)href="#)', rf"\g<1>{name}-", body)
    body = body.replace("xlink:href", "href").replace(" font-family: 'DejaVu Sans';", "")
    body = re.sub(rf"{TONE}([0-9a-f]{{2}})", lambda found: f"var(--tone-{int(found[1], 16)})", body)
    return re.sub(r"\s*\n\s*", "\n", body)


def loss(place: Path, records: Sequence[Record], versus: Sequence[Record] = ()) -> None:
    """Training loss of every head and of the main weights, and held-out loss, over samples."""

    def paint(axes):
        rounds = [record for record in records if record.losses]
        most = max((len(record.losses) for record in rounds), default=0)
        rows = [[*record.losses, *[None] * (most - len(record.losses))] for record in rounds]
        each = np.array(rows, float)  # (rounds, N); NaN where a head's was not finite, or it was not there
        samples = [record.samples for record in rounds]
        for n, one in enumerate(each.T):
            axes.plot(samples, one, color="0.75", lw=0.8, label="heads, local" if n == 0 else None)
        seen = evaluated(records)
        axes.plot(*curve(seen, "train_loss"), color="C0", label="main, training")
        axes.plot(*curve(seen, "test_loss"), color="C1", label="main, held out")
        if versus:
            axes.plot(*curve(evaluated(versus), "train_loss"), color="C0", ls="--", label="full rank, training")
            axes.plot(*curve(evaluated(versus), "test_loss"), color="C1", ls="--", label="full rank, held out")
        axes.set(xlabel="samples", ylabel="loss", yscale="log")
        axes.legend(frameon=False)

    draw(place, "loss", paint)


def accuracy(place: Path, records: Sequence[Record], versus: Sequence[Record] = ()) -> None:
    """Held-out accuracy over samples."""

    def paint(axes):
        axes.plot(*curve(evaluated(records), "test_accuracy", 100), color="C1", label="this run")
        if versus:
            axes.plot(*curve(evaluated(versus), "test_accuracy", 100), color="C1", ls="--", label="full rank")
            axes.legend(frameon=False)
        axes.set(xlabel="samples", ylabel="held-out accuracy (%)")

    draw(place, "accuracy", paint)


def spectrum(place: Path, moved: dict[str, Array], bounds: dict[str, int]) -> None:
    """Singular values of W_t - W_0, layer by layer; a dotted line where law L2 says that they must end."""

    sigmas = {
        name: np.linalg.svd(change.astype(np.float64), compute_uv=False)
        for name, change in moved.items()
        if min(change.shape) <= LIMIT
    }

    def paint(axes):
        for i, (name, sigma) in enumerate(sigmas.items()):
            m, n = moved[name].shape
            axes.plot(np.arange(1, len(sigma) + 1), sigma, color=f"C{i}", label=f"{name}, {m} x {n}")
            if bounds.get(name, math.inf) <= len(sigma):
                axes.axvline(bounds[name] + 0.5, color=f"C{i}", ls=":")
        axes.set(xlabel="index", ylabel="singular value of $W_t - W_0$")
        if any(sigma.any() for sigma in sigmas.values()):  # a logarithmic axis needs one number above 0
            axes.set_yscale("log")
        if sigmas:
            axes.legend(frameon=False, title="dotted: rank bound (L2)" if bounds else None)

    draw(place, "spectrum", paint)


def measures(place: Path, records: Sequence[Record]) -> None:
    """Effective rank of W_t - W_0 and alignment of the heads, layer by layer, over samples; gaps where undefined."""
    seen = [record for record in records if record.measures]
    names = seen[-1].measures["layers"] if seen else {}
    panels = {
        "effective_rank": "effective rank of $W_t - W_0$",
        "cosine": "cosine between heads",
        "grassmann": "Grassmann distance",
    }

    def paint(axes):
        for one, (measure, label) in zip(axes, panels.items()):
            for name in names:
                values = [record.measures["layers"][name][measure] for record in seen]
                one.plot(
                    [record.samples for record in seen],
                    [math.nan if isinstance(value, dict) else value for value in values],
                    label=name,
                )
            one.set(xlabel="samples", ylabel=label)
        if names:
            axes[0].legend(frameon=False)

    draw(place, "measures", paint, (12, 3.6), panels=(1, 3))


def evaluated(records: Sequence[Record]) -> list[Record]:
    """The records that hold an evaluation."""
    return [record for record in records if record.test_loss is not None]


def curve(records: Sequence[Record], field: str, factor: float = 1) -> tuple[list, list]:
    """Samples and the values of a field, for plotting."""
    return [record.samples for record in records], [factor * getattr(record, field) for record in records]
