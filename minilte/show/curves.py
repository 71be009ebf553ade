"""The figures of a report, with what they show: learning, W_t - W_0, and how alike the heads are."""

from collections.abc import Iterator, Sequence

from minilte.core.types import Array
from minilte.show import figures
from minilte.show.facts import percent
from minilte.show.figures import Axes
from minilte.show.markup import Html, element, figure, table
from minilte.show.past import Named, Run
from minilte.show import plots

NO_PAST = "W₀ cannot be drawn again here, or no checkpoint can be read (see the notes)"
LAYERS = 6  # of a network that are drawn; the tables have all
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


def grid(parts: Sequence[Html]) -> Html:
    """Figures beside each other, as many as there is room for."""
    return element("div", parts, class_="figures")


# --------------------------------------------------------------------------------------------- learning


def learning(one: Named) -> Iterator[Html]:
    """Loss and accuracy over samples and steps, and the noise of the gradients where it was measured."""
    records, batch = one.run.records, one.run.config.batch
    seen = plots.evaluated(records)
    first, last = seen[0], seen[-1]
    words = (
        f"Held-out loss from {first.test_loss:.4g} at {first.samples:,} samples to {last.test_loss:.4g} at"
        f" {last.samples:,}; training loss from {first.train_loss:.4g} to {last.train_loss:.4g}"
    )
    parts = [figure(figures.losses(f"{one.key}-loss", records, batch), words, LOSS)]
    if None not in (first.test_accuracy, last.test_accuracy):
        words = f"Held-out accuracy from {percent(first.test_accuracy)} to {percent(last.test_accuracy)}"
        svg = figures.accuracy(f"{one.key}-accuracy", records, batch)
        parts.append(figure(svg, words, "Share of the held-out samples that the main weights classify correctly."))
    noise = [(record.samples, record.measures.get("noise_scale")) for record in records if record.measures]
    if known := [(samples, value) for samples, value in noise if isinstance(value, (int, float))]:
        words = f"Gradient noise scale, from {known[0][1]:.3g} to {known[-1][1]:.3g} samples"
        parts.append(figure(figures.noise(f"{one.key}-noise", noise), words, NOISE))
    yield grid(parts)


def learning_together(named: Sequence[Named]) -> Html:
    """Losses and accuracy of all runs over samples, and over steps where these are not as many samples in all."""
    batches = {one.run.config.batch for one in named}
    axes = (
        [Axes("samples", "", batch=batches.pop())] if len(batches) == 1 else [Axes("samples", ""), Axes("steps", "")]
    )
    fields = {"test_loss": "held-out loss", "train_loss": "training loss", "test_accuracy": "held-out accuracy (%)"}
    if all(one.run.last.test_accuracy is None for one in named):
        del fields["test_accuracy"]
    return grid(
        [curve_together(named, field, axis._replace(y=label)) for axis in axes for field, label in fields.items()]
    )


def curve_together(named: Sequence[Named], field: str, axes: Axes) -> Html:
    """One field of all runs."""
    factor = 100 if field == "test_accuracy" else 1
    runs = [(one.letter, one.run.records, one.number) for one in named]
    svg = figures.together(
        f"all-{field.replace('_', '-')}-{axes.x}", runs, field, axes._replace(log=factor == 1), factor
    )
    ends = [(one.letter, getattr(one.run.last, field)) for one in named]
    words = ", ".join(f"{letter} {factor * value:.4g}" for letter, value in ends if value is not None)
    return figure(
        svg, f"{axes.y} over {axes.x}; at the end {words}", f"{axes.y[0].upper()}{axes.y[1:]} over {axes.x}."
    )


# --------------------------------------------------------------------------------------------- W - W_0


def change(one: Named) -> Iterator[Html]:
    """How W_t - W_0 grew: its singular values at the steps that were kept, and its ranks."""
    run = one.run
    if not run.moments:
        moved = run.records[-1].step > 0
        yield element("p", f"Not known: {NO_PAST if moved else 'no step was taken'}.")
        return
    yield element("p", steps_told(run))
    several = [name for name in run.moments[-1].layers if any(len(sigma) > 1 for _, sigma in spectra(run, name))]
    drawn = several[:LAYERS]  # one value is in the table
    yield grid([growth(one, name) for name in drawn])
    names = list(run.moments[-1].layers)[:LAYERS]
    if any(record.measures for record in run.records):
        yield grid([spectrum_over_time(one, name) for name in drawn])
        yield grid([over_time(one, measure, names, RANKS, RANK_WORDS) for measure in RANKS])
    else:
        yield not_measured("The singular values and ranks at all other evaluations")
    bounds = bounds_of(run)
    rows = [
        [
            name,
            shape(run, name),
            str(min(bounds[name], *run.parts.task.weights[name].W.shape)) if name in bounds else "none",
            *(cell(of[key]) for key in ("rank", "stable_rank", "effective_rank")),
        ]
        for name, of in run.moments[-1].layers.items()
    ]
    head = ["layer", "shape", "bound (L2)", "rank", "stable rank", "effective rank"]
    yield table(head, rows, f"Ranks of W − W₀ at step {run.moments[-1].step}", wide=True)


def steps_told(run: Run) -> str:
    """What is drawn of the singular values."""
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
    """What the page does not have, and how to have it."""
    return element("p", f"{what}: not measured; run with ", element("code", "--measure"), ".")


def bounds_of(run: Run) -> dict[str, int]:
    """The rank bounds that hold for the run as it was."""
    return {} if run.resized or run.parts is None else run.parts.rank_bounds


def spectra(run: Run, name: str) -> list[tuple[str, Array]]:
    """(label, singular values) of a layer's change at every step that is known."""
    values = [(f"step {moment.step:,}", moment.layers[name]["sigma"]) for moment in run.moments]
    return [(label, sigma) for label, sigma in values if not isinstance(sigma, dict)]


def shape(run: Run, name: str) -> str:
    """m × n of a layer."""
    m, n = run.parts.task.weights[name].W.shape
    return f"{m} × {n}"


def growth(one: Named, name: str) -> Html:
    """The singular values of one layer."""
    label, sigma = (known := spectra(one.run, name))[-1]
    bound, most = bounds_of(one.run).get(name), min(one.run.parts.task.weights[name].W.shape)
    words = f"{len(sigma)} singular values of the change of {name} at {label}, from {sigma[0]:.3g} to {sigma[-1]:.3g}"
    law = (
        "" if bound is None else f"; L2 allows rank {bound}" if bound < most else f"; L2 allows the full rank, {most}"
    )
    drawn = bound if bound is not None and bound <= most else None
    svg = figures.growth(f"{one.key}-{name}", known, drawn)
    return figure(svg, words, f"{name}, {shape(one.run, name)}{law}.")


def spectrum_over_time(one: Named, name: str) -> Html:
    """How the singular values of one layer's change grew."""
    svg = figures.spectrum_over_time(f"{one.key}-{name}-grew", one.run.records, name)
    words = f"Singular values 1, 2, 4, … of the change of {name} at every evaluation"
    return figure(svg, words, f"{name}: singular values 1, 2, 4, … at every evaluation.")


def over_time(one: Named, measure: str, names: Sequence[str], labels: dict[str, str], words: dict[str, str]) -> Html:
    """A measure of every layer over samples."""
    ends = ", ".join(f"{name} {short(one.run.moments[-1].layers[name].get(measure))}" for name in names)
    key = f"{one.key}-{measure.replace('_', '-')}"
    svg = figures.over_time(key, one.run.records, measure, labels[measure], names)
    return figure(svg, f"{labels[measure]} over samples; at the end {ends}", words[measure])


def change_together(named: Sequence[Named]) -> Iterator[Html]:
    """The singular values at the newest step of every run, for the layers that several have."""
    newest = [(one, one.run.moments[-1].layers) for one in named if one.run.moments]
    parts = []
    for name in dict.fromkeys(name for _, layers in newest for name in layers):
        found = [(one, layers[name]["sigma"]) for one, layers in newest if name in layers]
        known = [(one.letter, sigma, one.number) for one, sigma in found if not isinstance(sigma, dict)]
        if len(known) > 1:
            counts = ", ".join(f"{letter} {len(sigma)}" for letter, sigma, _ in known)
            words = f"Singular values of the change of {name}; how many: {counts}"
            parts.append(figure(figures.ends(f"all-{name}", known), words, f"{name}."))
    if parts:
        yield element("h2", "The change of the weights")
        yield element("p", "Singular values of W − W₀ at the newest step of each run.")
        yield grid(parts[:LAYERS])


# --------------------------------------------------------------------------------------------- heads


def heads(one: Named) -> Iterator[Html]:
    """How alike the heads' adapters are; of a method without merges there is nothing to say."""
    run = one.run
    if run.config.method != "lte" or not run.moments:
        return
    newest = run.moments[-1]
    if any(record.measures for record in run.records):
        names = list(newest.layers)[:LAYERS]
        yield grid([over_time(one, measure, names, ALIGNMENT, ALIGNMENT_WORDS) for measure in ALIGNMENT])
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
