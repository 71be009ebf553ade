"""Training from Python: NumPy in, NumPy out, with the caller's own parts where they are given."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from minilte.comm.launch import first_of_job, promised
from minilte.comm.solo import Solo
from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.core.networks import Network
from minilte.core.types import Rule
from minilte.data.dataset import Dataset, unscaled
from minilte.disk.files import shown
from minilte.job import job
from minilte.job.result import Result, load
from minilte.run.observe import Record, dense_weights
from minilte.run.own import refuse_other_kinds
from minilte.run.session import advance, first_state, open_session
from minilte.settings.config import Config
from minilte.settings.knob import nothing
from minilte.settings.stored import absolute, read_settings
from minilte.show.pictures import run_pictures


def with_own(config: Config, **own) -> Config:
    """The settings with the caller's own things in the place of the parts that they name. Raises BadInput.

    Warns where a launcher made several processes of the program: that is fine for a run of its own on each, and wrong
    for whoever expects the heads to be shared.
    """
    processes, launcher = promised()
    if processes > 1 and first_of_job():
        words = f"{launcher} started {processes} processes, and each makes this whole run"
        warnings.warn(f"{words}; to share its heads among them: python -m minilte.train", stacklevel=3)
    refuse_other_kinds(own)
    return config.holding(network=own.pop("net"), **own)


def rounds(
    config: Config,
    data: Dataset | None = None,
    rule: Rule | None = None,
    method: Callable | None = None,
    schedule: Callable[[int], float] | None = None,
    net: Network | None = None,
) -> Iterator[Record]:
    """Train, yielding a Record at the start and after every merge; `record.state` is where the run stands.

    What is given stands in for what the settings name. Raises BadInput or Diverged.

    >>> config = Config(data="least-squares", model="linear", heads=4, rank=8, alpha=8.0, steps=20)
    >>> [record.step for record in rounds(config)]
    [0, 10, 20]
    """
    session = open_session(with_own(config, data=data, rule=rule, method=method, schedule=schedule, net=net))
    for record, state in advance(session, first_state(session)):
        yield record._replace(state=state)


def fit(
    config: Config,
    data: Dataset | None = None,
    rule: Rule | None = None,
    method: Callable[..., Method] | None = None,
    schedule: Callable[[int], float] | None = None,
    net: Network | None = None,
    out: str | Path | None = None,
) -> Result:
    """Train to the end; what is given stands in for what the settings name. Raises BadInput or Diverged.

    `out` is a run folder, new or one that these settings began and did not end: checkpoints, metrics and pictures are
    kept there as by `python -m minilte.train`.

    >>> result = fit(Config(data="least-squares", inputs=6, outputs=3, model="linear", heads=2, rank=2, steps=20))
    >>> result.weights["layer1"].W.shape, result.predict([[1.0] * 6] * 5).shape
    ((3, 6), (5, 3))
    """
    config = with_own(config, data=data, rule=rule, method=method, schedule=schedule, net=net)
    if out == "":
        raise BadInput(nothing("out"))
    session = open_session(config)
    if out is not None:
        return in_folder(Path(out), config, session)
    state, records = first_state(session), []
    for record, state in advance(session, state):
        records.append(record)
    built = session.built
    weights = dense_weights(built.method, state.main)
    scaling = built.data.scaling or unscaled(built.data.inputs)
    return Result(config, built.task.net, weights, scaling, records, built.data.labels)


def in_folder(path: Path, config: Config, session) -> Result:
    """Train to the end in a run folder, from where it stands."""
    kept = absolute(config)
    if not (path / "config.json").exists():
        job.begin(path, kept, Solo())
    elif (had := read_settings(path)).flat() != kept.flat():
        raise BadInput(f"out {shown(path)}: it holds a run of other settings, {had!r:.200}; name another folder")
    job.run(path, session._replace(config=kept), job.SILENT._replace(draw=run_pictures))
    return load(path, session.built.task.net)._replace(config=config)


__all__ = ["Result", "fit", "load", "rounds"]
