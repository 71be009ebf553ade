"""A run folder as a report needs it: what was recorded, and what can be known of W and the heads.

Between the merges a folder keeps numbers (metrics.jsonl) and, at some of them, everything (ckpt/). So curves come from
the records, and the singular values of W_t - W_0 from the checkpoints that are still there and from the end. What a file
does not hold is left out, with the reason.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilte.settings import stored
from minilte.comm.solo import Solo
from minilte.core.errors import BadInput
from minilte.core.types import Adapters, Weights
from minilte.data.dataset import Dataset
from minilte.show.figures import of_run
from minilte.show.markup import Html, element
from minilte.show.reading import read_curves, read_final, read_summary
from minilte.job import checkpoint, resume
from minilte.disk import folder
from minilte.run.adapt import adapted_names
from minilte.run.build import Parts
from minilte.settings.config import Config
from minilte.measure.measures import RANKS, alignment, change_spectrum, known
from minilte.run.session import Record, Session, dense_weights, open_session

ROOM = 2**28  # numbers of a batch that is only there to give the parts of a run their shapes
PAIRED = 16  # heads whose N (N-1) pairs are compared here, where the run did not do it


class Moment(NamedTuple):
    """A step at which all of W is known."""

    step: int
    layers: dict[str, dict]  # name -> {"sigma": values, largest first, "rank": …}, or {"undefined": reason} for each


class Run(NamedTuple):
    """A run folder as a report needs it."""

    path: Path
    config: Config
    records: list[Record]
    env: dict
    summary: dict | None  # None: the run is not finished
    parts: Parts | None  # None: they cannot be built here
    moments: list[Moment]  # oldest first
    resized: bool  # did the number of heads change on the way?
    troubles: list[str]  # why something is not there

    @property
    def last(self) -> Record:
        """The newest record with an evaluation."""
        return next(record for record in reversed(self.records) if record.test_loss is not None)


class Named(NamedTuple):
    """A run, and how a page calls it."""

    run: Run
    letter: str
    number: int

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.run.path.resolve().name or str(self.run.path)

    @property
    def key(self) -> str:
        """How the ids of its parts begin."""
        return self.letter.lower()

    @property
    def mark(self) -> Html:
        """Its letter, underlined in the colour of its lines."""
        tone, _ = of_run(self.number)
        return element("span", self.letter, class_="letter", style=f"border-color:var(--tone-{tone})")


def read_run(path: Path) -> Run:
    """The run in a folder, finished or not. Raises BadInput naming the file that is missing or wrong."""
    config = stored.read_settings(path)
    records = read_curves(path / "metrics.jsonl")
    env = folder.read_json(path / "env.json") if (path / "env.json").exists() else {}
    done = (path / "summary.json").exists()
    summary, final = (read_summary(path / "summary.json"), read_final(path)) if done else (None, None)
    try:
        session = open_session(config, Solo(), stand_in(config, summary) if summary else None)
    except BadInput as trouble:
        lost = [f"W₀ cannot be drawn again here, so nothing is said of W − W₀: {trouble}"]
        return Run(path, config, records, env, summary, None, [], has_resized(records), lost)
    states, resized, troubles = saved(path, session)
    if summary:
        states[summary["steps"]] = (final, states.get(summary["steps"], (None, None))[1])
    told = {record.step: record.measures["layers"] for record in records if record.measures}
    moments = [moment(session, step, *states[step], told.get(step)) for step in sorted(states) if step]
    resized |= has_resized(records)
    return Run(path, config, records, env, summary, session.parts, moments, resized, troubles)


def has_resized(records: Sequence[Record]) -> bool:
    """Do the rounds of a run have different numbers of heads?"""
    return len({len(record.losses) for record in records if record.losses}) > 1


def stand_in(config: Config, summary: dict) -> Dataset:
    """A data set of zeros in the widths of the run's own, which may be far away: W_0 and shapes do not depend on it."""
    inputs, outputs, classes = (summary[name] for name in ("inputs", "outputs", "classes"))
    if config.batch * (inputs + outputs) > ROOM:
        raise BadInput(f"batch: {config.batch} samples of {inputs} numbers are more than a report makes room for")
    x = np.zeros((config.batch, inputs), config.dtype)
    y = np.zeros(config.batch, np.int64) if classes else np.zeros((config.batch, outputs), config.dtype)
    return Dataset(x, y, x, y, classes, config.data)


def saved(path: Path, session: Session) -> tuple[dict[int, tuple], bool, list[str]]:
    """({step: (dense weights, every head's factors as they were merged)}, did the heads change, what cannot be read)."""
    states, resized, troubles = {}, False, []
    for place in checkpoint.listed(path):
        try:
            state = resume.loaded(place, session)
        except BadInput as trouble:
            troubles.append(f"a checkpoint could not be read: {trouble}")
            continue
        states[state.step] = (dense_weights(session, state.main), getattr(state.main, "then", None))
        resized |= "resized" in state.facts
    return states, resized, troubles


def moment(
    session: Session, step: int, weights: Weights, heads: Sequence[Adapters] | None, told: dict | None
) -> Moment:
    """What there is to say of a step: of W - W_0, and of the heads what the run recorded, or what can be said now."""
    start, layers = session.parts.task.weights, {}
    for name in names_of(session.config, start):
        sigma = known(change_spectrum, name, start[name].W, weights[name].W, step)
        ranks = {measure: sigma if isinstance(sigma, dict) else f(sigma) for measure, f in RANKS.items()}
        layers[name] = {"sigma": sigma} | ranks | (told[name] if told and name in told else alike(name, heads))
    return Moment(step, layers)


def names_of(config: Config, weights: Weights) -> list[str]:
    """The layers whose W moves by adapters; of a full-rank run all dense ones."""
    adapt = None if config.method == "full" else config.adapt or None
    return adapted_names(weights, adapt)


def alike(name: str, heads: Sequence[Adapters] | None) -> dict:
    """Cosine and Grassmann distance of a layer's adapters. Only few heads are compared, for time's sake."""
    if heads is not None and len(heads) > PAIRED:
        return dict.fromkeys(("cosine", "grassmann"), {"undefined": "not measured: run with --measure"})
    return alignment(None if heads is None else [head[name] for head in heads])
