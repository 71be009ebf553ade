"""Runs in memory, for the claims: a record after every merge, and the weights at the end."""

from collections.abc import Iterator
from typing import NamedTuple

from minilte.core.types import Weights
from minilte.data.dataset import Dataset
from minilte.run.observe import Record, dense_weights
from minilte.run.session import advance, first_state, open_session
from minilte.settings.config import Config


class Done(NamedTuple):
    """The end of a run."""

    last: Record
    weights: Weights  # one dense matrix a layer


def records(config: Config, data: Dataset) -> Iterator[Record]:
    """Train on a data set, yielding a record at the start and after every merge."""
    session = open_session(config.holding(data=data))
    for record, state in advance(session, first_state(session)):
        yield record._replace(state=state)


def trained(config: Config, data: Dataset) -> Done:
    """Train on a data set to the end."""
    session = open_session(config.holding(data=data))
    *_, (last, state) = advance(session, first_state(session))
    return Done(last, dense_weights(session.built.method, state.main))


def weights_at_start(config: Config, data: Dataset) -> Weights:
    """The weights before the first step."""
    return open_session(config.holding(data=data)).built.task.weights
