"""The pictures in a run folder: loss, accuracy, the spectrum of W_t - W_0, and the measures of the heads."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minilte.core.types import Array, Linear, Weights
from minilte.job.records import read_records
from minilte.measure.measures import LARGEST
from minilte.run.observe import Record
from minilte.run.session import Session
from minilte.show.drawing import draw


def run_pictures(
    path: Path,
    session: Session,
    dense: Weights,
    records: Sequence[Record],
    versus: dict | None,
    bounds: dict[str, int],
) -> None:
    """All pictures of a finished run, in plots/ of its folder. Raises DiskTrouble.

    `dense` are the final weights, `versus` the summary of the baseline, `bounds` the rank bounds that hold.
    """
    config, built, place = session.config, session.built, path / "plots"
    other = read_records(path / f"versus-{config.versus}" / "metrics.jsonl") if versus else []
    loss(place, records, other)
    if built.data.classes is not None:
        accuracy(place, records, other)
    if config.measure:
        measures(place, records)
    if any(record.ranks for record in records):
        changing(place, records)
    start = built.task.weights
    moved = {name: layer.W - start[name].W for name, layer in dense.items() if isinstance(layer, Linear)}
    spectrum(place, moved, bounds)


def loss(place: Path, records: Sequence[Record], versus: Sequence[Record] = ()) -> None:
    """Training loss of every head and of the main weights, and held-out loss, over samples."""

    def paint(axes):
        rounds = [record for record in records if record.losses]
        samples = [record.samples for record in rounds]
        for n, losses in enumerate(head_losses(rounds)):
            axes.plot(samples, losses, color="0.75", lw=0.8, label="heads, local" if n == 0 else None)
        for of, name, dash in ((records, "main", "-"), (versus, "full rank", "--")):
            if of:
                axes.plot(*curve(of, "train_loss"), color="C0", ls=dash, label=f"{name}, training")
                axes.plot(*curve(of, "held_loss"), color="C1", ls=dash, label=f"{name}, held out")
        axes.set(xlabel="samples", ylabel="loss", yscale="log")
        axes.legend(frameon=False)

    draw(place, "loss", paint)


def accuracy(place: Path, records: Sequence[Record], versus: Sequence[Record] = ()) -> None:
    """Held-out accuracy over samples."""

    def paint(axes):
        axes.plot(*curve(records, "held_accuracy", 100), color="C1", label="this run")
        if versus:
            axes.plot(*curve(versus, "held_accuracy", 100), color="C1", ls="--", label="full rank")
            axes.legend(frameon=False)
        axes.set(xlabel="samples", ylabel="held-out accuracy (%)")

    draw(place, "accuracy", paint)


def spectrum(place: Path, moved: dict[str, Array], bounds: dict[str, int]) -> None:
    """Singular values of W_t - W_0, layer by layer; a dotted line where they must end by a law."""
    sigmas = {
        name: np.linalg.svd(change.astype(np.float64), compute_uv=False)
        for name, change in moved.items()
        if min(change.shape) <= LARGEST
    }

    def paint(axes):
        for i, (name, sigma) in enumerate(sigmas.items()):
            m, n = moved[name].shape
            axes.plot(*by_index(sigma), color=f"C{i}", label=f"{name}, {m} x {n}")
            if bounds.get(name, math.inf) <= len(sigma):
                axes.axvline(bounds[name] + 0.5, color=f"C{i}", ls=":")
        axes.set(xlabel="index", ylabel="singular value of $W_t - W_0$")
        if any(sigma.any() for sigma in sigmas.values()):  # a logarithmic axis needs a number above 0
            axes.set_yscale("log")
        if sigmas:
            axes.legend(frameon=False, title="dotted: rank bound" if bounds else None)

    draw(place, "spectrum", paint)


def measures(place: Path, records: Sequence[Record]) -> None:
    """Effective rank of W_t - W_0 and alignment of the heads, layer by layer, over samples; gaps where undefined."""
    names = next((record.measures["layers"] for record in reversed(measured(records))), {})
    labels = {
        "effective_rank": "effective rank of $W_t - W_0$",
        "cosine": "cosine between heads",
        "grassmann": "Grassmann distance",
    }

    def paint(axes):
        for panel, (measure, label) in zip(axes, labels.items()):
            for name in names:
                panel.plot(*measure_curve(records, measure, name), label=name)
            panel.set(xlabel="samples", ylabel=label)
        if names:
            axes[0].legend(frameon=False)

    draw(place, "measures", paint, (12, 3.6), panels=(1, 3))


def changing(place: Path, records: Sequence[Record]) -> None:
    """The rows of the adapters that live, layer by layer, and the heads that took part in each round, over samples."""
    rounds = [record for record in records if record.ranks]

    def paint(axes):
        samples = [record.samples for record in rounds]
        for name in rounds[0].ranks:
            axes[0].step(samples, [record.ranks[name] for record in rounds], where="post", label=name)
        axes[1].step(samples, [taking_part(record) for record in rounds], where="pre", color="C3")
        axes[0].set(xlabel="samples", ylabel="rank of the adapters")
        axes[1].set(xlabel="samples", ylabel="heads that took part")
        axes[0].legend(frameon=False)
        for panel in axes:
            panel.set_ylim(bottom=0)
            panel.yaxis.get_major_locator().set_params(integer=True)

    draw(place, "changing", paint, (9, 3.6), panels=(1, 2))


def taking_part(record: Record) -> int:
    """The heads that spoke at a merge."""
    return len(record.losses) - sum(count == 0 for count in (record.trust or {}).values())


def evaluations(records: Sequence[Record]) -> list[Record]:
    """The records that hold an evaluation."""
    return [record for record in records if record.held_loss is not None]


def measured(records: Sequence[Record]) -> list[Record]:
    """The records that hold measures."""
    return [record for record in records if record.measures]


def head_losses(rounds: Sequence[Record]) -> Array:
    """Every head's loss in every round; NaN where it is not finite, or there is no such head.    ->(N,rounds)"""
    N = max((len(record.losses) for record in rounds), default=0)
    return np.array([[*record.losses, *[None] * (N - len(record.losses))] for record in rounds], float).T


def curve(records: Sequence[Record], field: str, factor: float = 1, over: str = "samples") -> tuple[list, list]:
    """Samples, or steps, and the values of a field where it is known, for plotting."""
    known = [record for record in records if getattr(record, field) is not None]
    return [getattr(record, over) for record in known], [factor * getattr(record, field) for record in known]


def measure_curve(records: Sequence[Record], measure: str, layer: str | None = None) -> tuple[list, list]:
    """Samples and a measure, of a layer or of the run, for plotting; NaN, so a gap, where it is undefined."""
    records = measured(records)
    found = [record.measures["layers"].get(layer, {}) if layer else record.measures for record in records]
    values = [of.get(measure) for of in found]
    known = [value if isinstance(value, (int, float)) else math.nan for value in values]
    return [record.samples for record in records], known


def by_index(sigma: Array) -> tuple[Array, Array]:
    """Indices from 1 and the singular values, for plotting."""
    return np.arange(1, len(sigma) + 1), sigma
