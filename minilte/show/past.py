"""A run folder as a report needs it: its records, and what is known of W and the heads.

A folder keeps numbers of every merge (metrics.jsonl) and the state of some (ckpt/). So curves come from the records, and
the singular values of W_t - W_0 from the checkpoints and the final weights. What is missing is left out, with the reason.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from minilte.core.errors import BadInput
from minilte.core.types import Adapters, Weights
from minilte.data.dataset import blank
from minilte.disk import folder
from minilte.job import checkpoint, elastic, result, resume
from minilte.measure.measures import ALIGNMENT, alignment, change_spectrum, known, ranks
from minilte.methods.adapters import adapted_names
from minilte.run.build import Built, build, taken_for
from minilte.run.observe import Record, dense_weights
from minilte.run.session import open_session
from minilte.settings import stored
from minilte.settings.config import Config
from minilte.settings.given import OWN
from minilte.show.figures import of_run
from minilte.show.markup import Html, element
from minilte.show.reading import read_curves, read_summary

ROOM = 2**28  # numbers of a batch of zeros, which only gives a run its shapes
PAIRED = 16  # heads whose N (N-1) pairs are compared here, where the run did not measure them


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
    built: Built | None  # None: it cannot be built here
    moments: list[Moment]  # oldest first
    resized: bool  # did the number of heads change on the way?
    longer: bool  # had it ended before it went on?
    troubles: list[str]  # why something is missing

    @property
    def last(self) -> Record:
        """The newest record with an evaluation."""
        return next(record for record in reversed(self.records) if record.held_loss is not None)


class Named(NamedTuple):
    """A run of a page, with its letter and number there."""

    run: Run
    letter: str
    number: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.run.path.resolve().name or str(self.run.path)

    @property
    def key(self) -> str:
        """The prefix of its ids."""
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
    summary = read_summary(path / "summary.json") if (path / "summary.json").exists() else None
    resized = len({len(record.losses) for record in records if record.losses}) > 1
    # only the program that made a network knows its layers
    ended = summary is not None and config.network.name != OWN
    final = result.load(path).weights if ended else None
    try:
        built = without_data(config, summary) if ended else open_session(config).built
    except BadInput as trouble:
        lost = [f"W₀ cannot be drawn again here, so nothing is known of W − W₀: {trouble}"]
        return Run(path, config, records, env, summary, None, [], resized, elastic.had_ended(path), lost)
    states, facts, troubles = saved(path, config, built)
    if summary:
        states[summary["steps"]] = (final, states.get(summary["steps"], (None, None))[1])
    measured = {record.step: record.measures["layers"] for record in records if record.measures}
    moments = [moment(config, built, step, *states[step], measured.get(step, {})) for step in sorted(states) if step]
    resized = resized or "resized" in facts
    return Run(path, config, records, env, summary, built, moments, resized, elastic.had_ended(path), troubles)


def without_data(config: Config, summary: dict) -> Built:
    """A finished run built on zeros in the widths of its data, which may be elsewhere: W_0 and shapes are its own.

    Raises BadInput where the widths are too large.
    """
    inputs, outputs, classes = (summary[name] for name in ("inputs", "outputs", "classes"))
    if config.batch * (inputs + outputs) > ROOM:
        raise BadInput(f"batch: {config.batch} samples of {inputs} numbers are more than a report makes room for")
    zeros = blank(inputs, outputs, classes, config.batch, config.dtype, config.flat()["data"])
    held = config.holding(data=zeros)
    built = open_session(held).built
    untrue = taken_for(held, built.data)  # the sizes of the zeros
    return built._replace(notes=tuple(note for note in built.notes if note not in untrue))


def saved(path: Path, config: Config, built: Built) -> tuple[dict[int, tuple], set[str], list[str]]:
    """({step: (dense weights, every head's merged factors)}, facts of any state, what cannot be read)."""
    states, facts, troubles = {}, set(), []
    for place in checkpoint.listed(path):
        try:
            then = elastic.with_heads(config, elastic.saved_heads(place))
            method = built.method if then is config else build(then.holding(data=built.data)).method
            state = resume.read(place, then, method)
        except BadInput as trouble:
            troubles.append(f"a checkpoint could not be read: {trouble}")
            continue
        states[state.step] = (dense_weights(method, state.main), method.facts.factors(state.main))
        facts |= state.facts.keys() | ({"resized"} if then is not config else set())
    return states, facts, troubles


def moment(
    config: Config, built: Built, step: int, weights: Weights, factors: Sequence[Adapters] | None, measured: dict
) -> Moment:
    """What is known of W - W_0 at a step; of the heads what the run measured, or what their factors give."""
    start, layers = built.task.weights, {}
    many = factors is not None and len(factors) > PAIRED
    unmeasured = dict.fromkeys(ALIGNMENT, {"undefined": "not measured: run with --measure"})
    for name in adapted_names(start, config.adapt if "adapters" in config.parts else ()):
        sigma = known(change_spectrum, name, start[name].W, weights[name].W, step)
        if name in measured:
            heads = {key: measured[name][key] for key in ALIGNMENT}  # a record may hold any other key
        else:
            heads = unmeasured if many else alignment(name, factors)
        layers[name] = {"sigma": sigma} | ranks(sigma) | heads
    return Moment(step, layers)
