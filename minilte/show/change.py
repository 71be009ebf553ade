"""The figures and tables of a report on W_t - W_0 and on the alignment of the heads, with captions."""

from collections.abc import Iterator, Sequence

from minilte.core.types import Array
from minilte.show import figures
from minilte.show.figures import Axes, Line, of_run
from minilte.show.markup import Html, element, figure, grid, table
from minilte.show.past import Named, Run
from minilte.show.pictures import by_index, measured

LAYERS = 6  # of a network that are drawn; the tables list all
ENDS = {  # where singular values must end, by the law that says so
    "L2": "Without resets they end at the sum of the heads' ranks at the latest",
    "L26": "Without decay they end at the rank of a basis times the number of bases at the latest",
}
ZERO = 1e-6  # a Grassmann distance below this is 0: an arc cosine near 1 keeps half the digits
RANKS = {"effective_rank": "effective rank of Wₜ − W₀", "stable_rank": "stable rank of Wₜ − W₀"}
ALIGNMENT = {"cosine": "cosine between heads", "grassmann": "Grassmann distance"}
CAPTIONS = {
    "effective_rank": "Effective rank: exp of the entropy of the singular values (Roy and Vetterli 2007).",
    "stable_rank": "Stable rank: the squared Frobenius norm over the squared spectral norm.",
    "cosine": "Cosine between the changes B A of two heads, the mean of all pairs; 0 where they are orthogonal.",
    "grassmann": "Grassmann distance of their column spaces, the mean of all pairs; 0 where r = m and there is one space.",
}


def change(entry: Named) -> Iterator[Html]:
    """How W_t - W_0 grew: its singular values at the checkpoints, and its ranks."""
    run = entry.run
    if not run.moments:
        lost = "W₀ cannot be drawn again here, or no checkpoint can be read (see the notes)"
        yield element("p", f"Not known: {lost if run.records[-1].step > 0 else 'no step was taken'}.")
        return
    newest, bounds = run.moments[-1], bounds_of(run)
    several = [name for name in newest.layers if any(len(sigma) > 1 for _, sigma in spectra(run, name))]
    drawn = several[:LAYERS]  # a single value is in the table
    yield element("p", steps_drawn(run) + first_of(len(several)))
    yield grid([growth(entry, name) for name in drawn])
    if measured(run.records):
        yield grid([spectrum_over_time(entry, name) for name in drawn])
    yield over_time(entry, RANKS, "The singular values and ranks at all other evaluations")
    rows = []
    for name, of in newest.layers.items():
        m, n = run.built.task.weights[name].W.shape
        bound = str(min(bounds[name], m, n)) if name in bounds else "none"
        ranks = [cell(of[key]) for key in ("rank", "stable_rank", "effective_rank")]
        rows.append([name, f"{m} × {n}", bound, *ranks])
    head = ["layer", "shape", f"bound ({law_of(run)})", "rank", "stable rank", "effective rank"]
    yield table(head, rows, f"Ranks of W − W₀ at step {newest.step}", wide=True)


def heads(entry: Named) -> Iterator[Html]:
    """The alignment of the heads' adapters, for a method that keeps the merged factors."""
    run = entry.run
    if not run.moments or run.built.method.facts.factors(run.built.method.begin()) is None:
        return
    newest = run.moments[-1]
    yield over_time(entry, ALIGNMENT, "How alike the heads were at other evaluations")
    rows = [[name, *(cell(of[measure]) for measure in ALIGNMENT)] for name, of in newest.layers.items()]
    yield element("p", f"At step {newest.step:,}, means of all pairs of heads:")
    yield table(["layer", "cosine", "Grassmann distance"], rows, f"Alignment of the heads at step {newest.step}")


def change_together(named: Sequence[Named]) -> Iterator[Html]:
    """The singular values at the newest step of every run, for the layers that several runs have."""
    newest = [(entry, entry.run.moments[-1].layers) for entry in named if entry.run.moments]
    common = {}
    for name in dict.fromkeys(name for _, layers in newest for name in layers):
        found = [(entry, layers[name]["sigma"]) for entry, layers in newest if name in layers]
        known = [(entry, sigma) for entry, sigma in found if not isinstance(sigma, dict)]
        if len(known) > 1:
            common[name] = known
    if common:
        yield element("h2", "The change of the weights")
        yield element("p", f"Singular values of W − W₀ at the newest step of each run.{first_of(len(common))}")
        yield grid([spectra_together(name, known) for name, known in list(common.items())[:LAYERS]])


def spectra_together(name: str, known: Sequence[tuple[Named, Array]]) -> Html:
    """The singular values of a layer's change, a line for each run."""
    lines = [Line(*by_index(sigma), entry.letter, *of_run(entry.number)) for entry, sigma in known]
    svg = figures.chart(f"all-{name}", lines, Axes("index", "singular value of W − W₀", True))
    counts = ", ".join(f"{entry.letter} {len(sigma)}" for entry, sigma in known)
    return figure(svg, f"Singular values of the change of {name}; how many: {counts}", f"{name}.")


def first_of(layers: int) -> str:
    """How many of so many layers are drawn, in words; nothing where all are."""
    return f" The first {LAYERS} of {layers} layers." if layers > LAYERS else ""


def growth(entry: Named, name: str) -> Html:
    """The singular values of a layer's change."""
    m, n = entry.run.built.task.weights[name].W.shape
    bound, full, known = bounds_of(entry.run).get(name), min(m, n), spectra(entry.run, name)
    most = f"the full rank, {full}" if bound is None or bound >= full else f"rank {bound}"
    law = "" if bound is None else f"; {law_of(entry.run)} allows {most}"
    svg = figures.growth(f"{entry.key}-{name}", known, None if bound is None or bound > full else bound)
    label, sigma = known[-1]
    words = f"{len(sigma)} singular values of the change of {name} at {label}, from {sigma[0]:.3g} to {sigma[-1]:.3g}"
    return figure(svg, words, f"{name}, {m} × {n}{law}.")


def spectrum_over_time(entry: Named, name: str) -> Html:
    """How the singular values of a layer's change grew."""
    svg = figures.spectrum_over_time(f"{entry.key}-{name}-grew", entry.run.records, name)
    words = f"Singular values 1, 2, 4, … of the change of {name} at every evaluation"
    return figure(svg, words, f"{name}: singular values 1, 2, 4, … at every evaluation.")


def over_time(entry: Named, labels: dict[str, str], lacking: str) -> Html:
    """Measures of every layer over samples; for a run without them, the flag that adds what is `lacking`."""
    records, layers = entry.run.records, entry.run.moments[-1].layers
    if not measured(records):
        return element("p", f"{lacking}: not measured; run with ", element("code", "--measure"), ".")
    names, drawn = list(layers)[:LAYERS], []
    for measure, label in labels.items():
        svg = figures.over_time(f"{entry.key}-{measure.replace('_', '-')}", records, measure, label, names)
        ends = ", ".join(f"{name} {short(layers[name].get(measure))}" for name in names)
        drawn.append(figure(svg, f"{label} over samples; at the end {ends}", CAPTIONS[measure]))
    return grid(drawn)


def steps_drawn(run: Run) -> str:
    """The steps whose singular values are drawn, in words."""
    *earlier, last = (f"{moment.step:,}" for moment in run.moments)
    when = f"steps {', '.join(earlier)} and {last}" if earlier else f"step {last}"
    words = (
        f"Singular values of Wₜ − W₀ that stand out of the rounding of W, at {when}: all that the folder keeps of W."
    )
    if bounds_of(run):
        words += f" {ENDS[law_of(run)]} ({law_of(run)}): the dotted line."
    return words


def law_of(run: Run) -> str:
    """The law that bounds the ranks of the run's change."""
    return run.built.method.facts.bound_law


def bounds_of(run: Run) -> dict[str, int]:
    """The rank bounds that hold for the whole run: none after a change of the number of heads."""
    return {} if run.resized or run.built is None else run.built.method.facts.bound


def spectra(run: Run, name: str) -> list[tuple[str, Array]]:
    """(label, singular values) of a layer's change at every known step."""
    values = [(f"step {moment.step:,}", moment.layers[name]["sigma"]) for moment in run.moments]
    return [(label, sigma) for label, sigma in values if not isinstance(sigma, dict)]


def short(value) -> str:
    """A measure in a few letters."""
    if value is None or isinstance(value, dict):
        return "undefined"
    if isinstance(value, int):
        return str(value)
    return "0" if abs(value) < ZERO else f"{value:.3g}".replace("-", "−")


def cell(value) -> Html | str:
    """A measure in a table, with the reason where it is undefined."""
    if isinstance(value, dict):
        return element("span", f"undefined: {value['undefined']}", class_="why")
    return short(value)
