"""The figures of a report, with captions: learning, W_t - W_0, and the alignment of the heads."""

from collections.abc import Iterator, Sequence

from minilte.core.types import Array
from minilte.show import figures
from minilte.show.facts import percent
from minilte.show.figures import Axes
from minilte.show.markup import Html, element, figure, table
from minilte.show.past import Named, Run
from minilte.show.pictures import evaluations, measured

NO_PAST = "W₀ cannot be drawn again here, or no checkpoint can be read (see the notes)"
LAYERS = 6  # of a network that are drawn; the tables list all
ZERO = 1e-6  # a Grassmann distance below this is 0: an arc cosine near 1 keeps half the digits
LOSS = (
    "Loss; the samples of all heads are counted together. That of a head is the mean over its own batches since the"
    " last merge; the main weights are evaluated after merges."
)
NOISE = (
    "Gradient noise scale, in samples: a batch beyond it gains little (McCandlish et al. 2018). A gap where the estimate"
    " is not above 0."
)
RANKS = {"effective_rank": "effective rank of Wₜ − W₀", "stable_rank": "stable rank of Wₜ − W₀"}
RANK_WORDS = {
    "effective_rank": "Effective rank: exp of the entropy of the singular values (Roy and Vetterli 2007).",
    "stable_rank": "Stable rank: the squared Frobenius norm over the squared spectral norm.",
}
ALIGNMENT = {"cosine": "cosine between heads", "grassmann": "Grassmann distance"}
ALIGNMENT_WORDS = {
    "cosine": "Cosine between the changes B A of two heads, the mean of all pairs; 0 where they are orthogonal.",
    "grassmann": "Grassmann distance of their column spaces, the mean of all pairs; 0 where r = m and there is one space.",
}


def grid(pictures: Sequence[Html]) -> Html:
    """Figures beside each other, as many as fit."""
    return element("div", pictures, class_="figures")


# --------------------------------------------------------------------------------------------- learning


def learning(entry: Named) -> Iterator[Html]:
    """Loss and accuracy over samples and steps, and the noise scale of the gradients where it was measured."""
    records, batch = entry.run.records, entry.run.config.batch
    evaluated = evaluations(records)
    first, last = evaluated[0], evaluated[-1]
    words = (
        f"Held-out loss from {first.test_loss:.4g} at {first.samples:,} samples to {last.test_loss:.4g} at"
        f" {last.samples:,}; training loss from {first.train_loss:.4g} to {last.train_loss:.4g}"
    )
    drawn = [figure(figures.losses(f"{entry.key}-loss", records, batch), words, LOSS)]
    if None not in (first.test_accuracy, last.test_accuracy):
        words = f"Held-out accuracy from {percent(first.test_accuracy)} to {percent(last.test_accuracy)}"
        svg = figures.accuracy(f"{entry.key}-accuracy", records, batch)
        drawn.append(figure(svg, words, "Fraction of the held-out samples that the main weights classify correctly."))
    noise = [(record.samples, record.measures.get("noise_scale")) for record in measured(records)]
    if known := [(samples, value) for samples, value in noise if isinstance(value, (int, float))]:
        words = f"Gradient noise scale, from {known[0][1]:.3g} to {known[-1][1]:.3g} samples"
        drawn.append(figure(figures.noise(f"{entry.key}-noise", noise), words, NOISE))
    yield grid(drawn)


def learning_together(named: Sequence[Named]) -> Html:
    """Losses and accuracy of all runs over samples, and over steps where batches differ."""
    batches = {entry.run.config.batch for entry in named}
    axes = (
        [Axes("samples", "", batch=batches.pop())] if len(batches) == 1 else [Axes("samples", ""), Axes("steps", "")]
    )
    fields = {"test_loss": "held-out loss", "train_loss": "training loss", "test_accuracy": "held-out accuracy (%)"}
    if all(entry.run.last.test_accuracy is None for entry in named):
        del fields["test_accuracy"]
    return grid(
        [curve_together(named, field, axis._replace(y=label)) for axis in axes for field, label in fields.items()]
    )


def curve_together(named: Sequence[Named], field: str, axes: Axes) -> Html:
    """A field of all runs."""
    factor = 100 if field == "test_accuracy" else 1
    runs = [(entry.letter, entry.run.records, entry.number) for entry in named]
    svg = figures.together(
        f"all-{field.replace('_', '-')}-{axes.x}", runs, field, axes._replace(log=factor == 1), factor
    )
    ends = [(entry.letter, getattr(entry.run.last, field)) for entry in named]
    words = ", ".join(f"{letter} {factor * value:.4g}" for letter, value in ends if value is not None)
    return figure(
        svg, f"{axes.y} over {axes.x}; at the end {words}", f"{axes.y[0].upper()}{axes.y[1:]} over {axes.x}."
    )


# --------------------------------------------------------------------------------------------- W - W_0


def change(entry: Named) -> Iterator[Html]:
    """How W_t - W_0 grew: its singular values at the checkpoints, and its ranks."""
    run = entry.run
    if not run.moments:
        moved = run.records[-1].step > 0
        yield element("p", f"Not known: {NO_PAST if moved else 'no step was taken'}.")
        return
    yield element("p", steps_drawn(run))
    several = [name for name in run.moments[-1].layers if any(len(sigma) > 1 for _, sigma in spectra(run, name))]
    drawn = several[:LAYERS]  # one value is in the table
    yield grid([growth(entry, name) for name in drawn])
    names = list(run.moments[-1].layers)[:LAYERS]
    if measured(run.records):
        yield grid([spectrum_over_time(entry, name) for name in drawn])
        yield grid([over_time(entry, measure, names, RANKS, RANK_WORDS) for measure in RANKS])
    else:
        yield not_measured("The singular values and ranks at all other evaluations")
    bounds = bounds_of(run)
    rows = [
        [
            name,
            shape(run, name),
            str(min(bounds[name], *run.built.task.weights[name].W.shape)) if name in bounds else "none",
            *(cell(of[key]) for key in ("rank", "stable_rank", "effective_rank")),
        ]
        for name, of in run.moments[-1].layers.items()
    ]
    head = ["layer", "shape", "bound (L2)", "rank", "stable rank", "effective rank"]
    yield table(head, rows, f"Ranks of W − W₀ at step {run.moments[-1].step}", wide=True)


def steps_drawn(run: Run) -> str:
    """The steps whose singular values are drawn, in words."""
    steps = [f"{moment.step:,}" for moment in run.moments]
    when = f"step {steps[0]}" if len(steps) == 1 else f"steps {', '.join(steps[:-1])} and {steps[-1]}"
    bound = (
        " Without resets they end at the sum of the heads' ranks at the latest (L2): the dotted line."
        if bounds_of(run)
        else ""
    )
    more = (
        f" The first {LAYERS} of {len(run.moments[-1].layers)} layers."
        if len(run.moments[-1].layers) > LAYERS
        else ""
    )
    return (
        f"Singular values of Wₜ − W₀ that stand out of the rounding of W, at {when}: all that the folder keeps of W."
        f"{bound}{more}"
    )


def not_measured(what: str) -> Html:
    """A measure that the run lacks, and the flag that adds it."""
    return element("p", f"{what}: not measured; run with ", element("code", "--measure"), ".")


def bounds_of(run: Run) -> dict[str, int]:
    """The rank bounds that hold for the whole run: none after a change of the number of heads."""
    return {} if run.resized or run.built is None else run.built.method.facts.bound


def spectra(run: Run, name: str) -> list[tuple[str, Array]]:
    """(label, singular values) of a layer's change at every known step."""
    values = [(f"step {moment.step:,}", moment.layers[name]["sigma"]) for moment in run.moments]
    return [(label, sigma) for label, sigma in values if not isinstance(sigma, dict)]


def shape(run: Run, name: str) -> str:
    """m × n of a layer."""
    m, n = run.built.task.weights[name].W.shape
    return f"{m} × {n}"


def growth(entry: Named, name: str) -> Html:
    """The singular values of a layer's change."""
    label, sigma = (known := spectra(entry.run, name))[-1]
    bound, most = bounds_of(entry.run).get(name), min(entry.run.built.task.weights[name].W.shape)
    words = f"{len(sigma)} singular values of the change of {name} at {label}, from {sigma[0]:.3g} to {sigma[-1]:.3g}"
    law = (
        "" if bound is None else f"; L2 allows rank {bound}" if bound < most else f"; L2 allows the full rank, {most}"
    )
    drawn = bound if bound is not None and bound <= most else None
    svg = figures.growth(f"{entry.key}-{name}", known, drawn)
    return figure(svg, words, f"{name}, {shape(entry.run, name)}{law}.")


def spectrum_over_time(entry: Named, name: str) -> Html:
    """How the singular values of a layer's change grew."""
    svg = figures.spectrum_over_time(f"{entry.key}-{name}-grew", entry.run.records, name)
    words = f"Singular values 1, 2, 4, … of the change of {name} at every evaluation"
    return figure(svg, words, f"{name}: singular values 1, 2, 4, … at every evaluation.")


def over_time(
    entry: Named, measure: str, names: Sequence[str], labels: dict[str, str], words: dict[str, str]
) -> Html:
    """A measure of every layer over samples."""
    ends = ", ".join(f"{name} {short(entry.run.moments[-1].layers[name].get(measure))}" for name in names)
    key = f"{entry.key}-{measure.replace('_', '-')}"
    svg = figures.over_time(key, entry.run.records, measure, labels[measure], names)
    return figure(svg, f"{labels[measure]} over samples; at the end {ends}", words[measure])


def change_together(named: Sequence[Named]) -> Iterator[Html]:
    """The singular values at the newest step of every run, for the layers that several runs have."""
    newest = [(entry, entry.run.moments[-1].layers) for entry in named if entry.run.moments]
    drawn = []
    for name in dict.fromkeys(name for _, layers in newest for name in layers):
        found = [(entry, layers[name]["sigma"]) for entry, layers in newest if name in layers]
        known = [(entry.letter, sigma, entry.number) for entry, sigma in found if not isinstance(sigma, dict)]
        if len(known) > 1:
            counts = ", ".join(f"{letter} {len(sigma)}" for letter, sigma, _ in known)
            words = f"Singular values of the change of {name}; how many: {counts}"
            drawn.append(figure(figures.ends(f"all-{name}", known), words, f"{name}."))
    if drawn:
        yield element("h2", "The change of the weights")
        yield element("p", "Singular values of W − W₀ at the newest step of each run.")
        yield grid(drawn[:LAYERS])


# --------------------------------------------------------------------------------------------- heads


def heads(entry: Named) -> Iterator[Html]:
    """The alignment of the heads' adapters, for a method that keeps the merged factors."""
    run = entry.run
    if not run.moments or run.built.method.facts.factors(run.built.method.begin()) is None:
        return
    newest = run.moments[-1]
    if measured(run.records):
        names = list(newest.layers)[:LAYERS]
        yield grid([over_time(entry, measure, names, ALIGNMENT, ALIGNMENT_WORDS) for measure in ALIGNMENT])
    else:
        yield not_measured("How alike the heads were at other evaluations")
    rows = [[name, cell(of["cosine"]), cell(of["grassmann"])] for name, of in newest.layers.items()]
    yield element("p", f"At step {newest.step:,}, means of all pairs of heads:")
    yield table(["layer", "cosine", "Grassmann distance"], rows, f"Alignment of the heads at step {newest.step}")


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
