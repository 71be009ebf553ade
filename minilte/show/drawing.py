"""Drawing with matplotlib, which no other module imports: files of a run folder, and figures inside a page."""

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.disk.files import reason
from minilte.disk.outputs import make_folder, refuse_place


def painted(paint: Callable, size: tuple[float, float], panels=(1, 1)):
    """A figure of matplotlib's with what paint(axes) draws; rows and columns of panels make axes an array.

    Inside `own_style`.
    """
    from matplotlib.figure import Figure

    figure = Figure(size, layout="constrained")
    axes = figure.subplots(*panels)
    for panel in np.ravel(axes):
        panel.spines[["top", "right"]].set_visible(False)
    paint(axes)
    return figure


MARK = b"atplotlib"  # near the beginning of every picture of matplotlib's


def draw(place: Path, name: str, paint: Callable, size=(6.4, 4.0), panels=(1, 1), of: str = "") -> None:
    """Save what paint(axes) draws as name.svg and name.png: see `painted`. Raises BadInput, DiskTrouble.

    `of` says in the files what was drawn, as the SHA-256 of numbers that stand elsewhere.
    """
    make_folder(place)
    files = files_of(place, name)
    with own_style():
        figure = painted(paint, size, panels)
        for kind, file in files.items():
            picture = io.BytesIO()
            figure.savefig(picture, format=kind, dpi=120, metadata={"Description": of} if of else None)
            folder.write(file, picture.getvalue())


def files_of(place: Path, name: str) -> dict[str, Path]:
    """kind -> file of a picture in a folder. Raises BadInput where something else is in its place."""
    files = {kind: place / f"{name}.{kind}" for kind in ("svg", "png")}
    for file in files.values():
        refuse_place(file, "picture", MARK)
    return files


@contextlib.contextmanager
def own_style(changes: dict | None = None) -> Iterator[None]:
    """Matplotlib as it is shipped, with these changes, whatever a matplotlibrc asks for; afterwards as it was.

    Raises BadInput where it cannot be loaded.
    """
    try:
        import matplotlib
    except (ImportError, ValueError, OSError) as trouble:
        words = f"matplotlib cannot be loaded: {reason(trouble):.120}"
        raise BadInput(
            f"{words}; see the variable MPLBACKEND, and the matplotlibrc in this folder or at home"
        ) from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(changes or {})
        yield


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
    picture = io.StringIO()
    with own_style(INLINE):
        figure = painted(paint, size)
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
