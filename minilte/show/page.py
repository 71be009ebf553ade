"""A report: a self-contained HTML page on a run, or on several side by side.

The page holds its own style and its figures as SVG, runs no script and asks for no other file. Whatever comes from a run
folder is escaped, and the page forbids itself to load anything. The same folders give the same bytes.
"""

from collections.abc import Iterator, Sequence
from os.path import realpath
from pathlib import Path

import minilte
from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.disk.files import encoded, shown
from minilte.disk.outputs import refuse_place
from minilte.run.machine import one_blas_thread
from minilte.show import change, curves, facts, settings
from minilte.show.markup import Html, element
from minilte.show.past import Named, Run, read_run

MOST = 26  # runs on a page: a letter each
SIGN = '<meta name="generator" content="minilte '  # that marks a report
HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
{SIGN}{minilte.__version__}">"""


def write(paths: Sequence[Path], out: Path) -> None:
    """Write the page on these run folders to `out`. Raises BadInput, DiskTrouble."""
    refuse_place(out, "report", SIGN.encode())
    with one_blas_thread():
        folder.write(out, page(read_all(paths)).encode())


def read_all(paths: Sequence[Path]) -> list[Run]:
    """The runs, and after a run the baseline that it trained with --versus. Raises BadInput."""
    runs, given = [], [realpath(encoded(path)) for path in paths]
    for path in paths:
        runs.append(read_run(path))
        inner = path / f"versus-{runs[-1].config.versus}"
        if (inner / "metrics.jsonl").exists() and realpath(encoded(inner)) not in given:
            runs.append(read_run(inner))
    if len(runs) > MOST:
        raise BadInput(f"runs: expected at most {MOST} on a page, got {len(runs)}")
    return runs


def page(runs: Sequence[Run]) -> str:
    """The whole page."""
    named = [Named(run, chr(ord("A") + number), number) for number, run in enumerate(runs)]
    title = named[0].name if len(named) == 1 else f"{len(named)} runs side by side"
    return whole_page(
        title, list(about_run(named[0], level=2) if len(named) == 1 else about_several(named)), footer()
    )


def whole_page(title: str, body: Sequence[Html], foot: Html) -> str:
    """A page that stands alone: its title, what it says, and its foot."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    head = [Html(HEAD), element("title", f"{title} · minilte"), element("style", Html(style))]
    pieces = [element("h1", title), *body, foot]
    main = element("main", Html("\n"), *([piece, Html("\n")] for piece in pieces))
    whole = [*head, Html("</head>\n<body>"), main, Html("</body>\n</html>\n")]
    return "\n".join(piece.text for piece in whole)


def about_several(named: Sequence[Named]) -> Iterator[Html]:
    """The body of a page on several runs: what differs, what came of it, and then the runs in turn."""
    links = [element("li", entry.mark, element("a", shown(entry.run.path), href=f"#{entry.key}")) for entry in named]
    yield element("nav", element("ul", links), aria_label="Runs on this page")
    yield element("h2", "What differs")
    yield from settings.differences(named)
    yield element("h2", "What came of it")
    yield facts.outcomes(named)
    yield element("h2", "Learning")
    yield curves.learning_together(named)
    yield from change.change_together(named)
    for entry in named:
        yield element("h2", entry.mark, entry.name, id=entry.key, class_="run")
        yield from about_run(entry, level=3)


def about_run(entry: Named, level: int) -> Iterator[Html]:
    """A run: its folder, how far it came, a sentence, a few numbers, and all that is known under headings of a level."""
    run = entry.run
    yield element("p", shown(run.path), class_="path")
    if run.summary is None:
        yield element("p", f"Unfinished: {facts.steps(run)} steps", class_="state")
    yield element("p", facts.sentence(run), class_="lead")
    yield facts.in_brief(run)
    chapters = {
        "Learning": curves.learning(entry),
        "The change of the weights": change.change(entry),
        "The heads": change.heads(entry),
        "What it cost": facts.costs(run),
        "Notes": facts.notes(run),
        "Settings": settings.settings(run.config),
        "To make it again": settings.again(run),
    }
    for title, chapter in chapters.items():
        if pieces := list(chapter):
            yield element(f"h{level}", title)
            yield from pieces


def footer() -> Html:
    """Where the page comes from."""
    paper = element("a", "arXiv 2402.16828", href="https://arxiv.org/abs/2402.16828")
    words = f"Written by minilte {minilte.__version__}. L1 to L20 are laws of its documentation."
    return element("footer", words, " The method is that of Huh et al. 2024, ", paper, ".")
