"""Drawing with matplotlib, which no other module imports: files of a run folder, and figures inside a page."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minilte.disk import folder


def draw(place: Path, name: str, paint: Callable, size=(6.4, 4.0), panels=(1, 1)) -> None:
    """Save what paint(axes) draws as name.svg and name.png; rows and columns of panels make it an array. Raises DiskTrouble."""
    from matplotlib.figure import Figure

    figure = Figure(size, layout="constrained")
    axes = figure.subplots(*panels)
    paint(axes)
    for panel in np.ravel(axes):
        panel.spines[["top", "right"]].set_visible(False)
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


def inline(name: str, paint: Callable, size=(4.4, 3.0)) -> str:
    """What paint(axes) draws as an <svg> element for a page, which gives it colours, font and width.

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
        for artist in figure.findobj(lambda artist: hasattr(artist, "patch")):  # every background
            artist.patch.set_visible(False)
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
