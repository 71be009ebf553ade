"""A whole run of a ladder in this process, with what it would send from a head on every process."""

from typing import Any, NamedTuple

from minilte.comm.communicator import Communicator
from minilte.comm.solo import Solo
from minilte.core.errors import Diverged
from minilte.cost import account
from minilte.cost.meetings import first_view_bytes, link_bytes, merge_bytes
from minilte.data.dataset import Dataset
from minilte.disk.weights import sha256
from minilte.run.observe import Record, dense_weights
from minilte.run.session import Session, State, advance, first_state, open_session
from minilte.settings.config import Config

TEST = ("test_loss", "test_accuracy")
SCORES = ("train_loss", "valid_loss", "valid_accuracy", *TEST)


class Trial(NamedTuple):
    """A run: its settings, its data, and parts of the caller's own by place."""

    config: Config
    data: Dataset  # rows held out, inputs standardised: what takes seconds is done once for many runs
    source: str  # SHA-256 of the data as they were read
    own: dict[str, Any] = {}


class Outcome(NamedTuple):
    """What came of a run. Bytes are summed over all processes, with a head on each, headers left out."""

    points: list[
        dict
    ]  # of every evaluation: step, samples, SCORES, bytes so far, and of those through the busiest link
    memory: int  # bytes that a worker with one head holds at the end; 0 of a run that diverged
    seconds: float  # of training
    weights_sha256: str
    diverged: str = ""  # why it ended early; then it has no scores

    def score(self, name: str) -> float:
        """A score at the end, of which less is better; infinite for a run that diverged."""
        if self.diverged:
            return float("inf")
        value = self.points[-1][name]
        return -value if name.endswith("accuracy") else value


def opened(trial: Trial) -> Session:
    """The run on a single thread, on data that are in memory already. Raises BadInput."""
    session = open_session(trial.config.holding(data=trial.data, **trial.own))
    return session._replace(comm=Communicator(Solo(), trial.config.heads, 1))


def measured(trial: Trial) -> Outcome:
    """Train to the end. Raises BadInput."""
    session = opened(trial)
    built, heads, points = session.built, session.config.heads, []
    method, meeting = built.method, built.meeting
    first, shown, record = first_view_bytes(method, meeting, heads), method.begin(), None
    sent = {"bytes": first, "link_bytes": first}
    try:
        for record, state in advance(session, first_state(session)):
            if record.step:
                sent["bytes"] += sum(merge_bytes(method, meeting, shown, heads, heads, record.step).values())
                sent["link_bytes"] += link_bytes(method, meeting, shown, heads, record.step)
                shown = state.shown
            if record.train_loss is not None:
                points.append(point(record, bool(session.config.validate)) | sent)
    except Diverged as trouble:
        return Outcome([], 0, 0.0, "", str(trouble))
    return ended(session, state, points, record)


def point(record: Record, tuning: bool) -> dict:
    """What an evaluation found; of a run to tune by nothing of the test set is kept."""
    found = {name: None if tuning and name in TEST else getattr(record, name) for name in SCORES}
    return {"step": record.step, "samples": record.samples} | found


def ended(session: Session, state: State, points: list[dict], last: Record) -> Outcome:
    """The outcome of a run that came to its end."""
    built = session.built
    held = account.memory(built.task, built.method, state.shown, state.heads[0], built.master)
    weights = dense_weights(built.method, state.main)
    return Outcome(points, held["total"], last.seconds, sha256(weights))


class Forecast(NamedTuple):
    """What a run would cost, from the ranks that it begins with."""

    steps: list[int]  # after which it merges
    bytes: list[int]  # sent by then, over all processes with a head on each
    memory: int  # bytes that a worker holds at the start
    changing: bool  # do its ranks, and so its bytes, change on the way?


def forecast(trial: Trial) -> Forecast:
    """What the run would cost, without training. Raises BadInput."""
    session = opened(trial)
    built, heads, last = session.built, session.config.heads, session.config.steps
    method, meeting, main, sent = built.method, built.meeting, built.method.begin(), []
    steps = [min(start + method.every, last) for start in range(0, last, method.every)]
    total = first_view_bytes(method, meeting, heads)
    for step in steps:
        total += sum(merge_bytes(method, meeting, main, heads, heads, step).values())
        sent.append(total)
    held = account.memory(built.task, method, main, method.enter(0), built.master)
    return Forecast(steps, sent, held["total"], method.facts.ranks(main) is not None)
