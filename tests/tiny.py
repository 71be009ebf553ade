"""Runs of a tenth of a second that many tests make, and settings of every kind."""

import contextlib
import dataclasses
import json
import re
import signal
from pathlib import Path

from hypothesis import strategies as st

from minilte.comm.solo import Solo
from minilte.core.errors import BadInput
from minilte.job import checkpoint, job
from minilte.run.session import Session, open_session
from minilte.settings.config import Config
from minilte.settings.knob import flag_name, item_type
from minilte.settings.part import every_part, knobs
from minilte.settings.places import PLACES

TINY = dict(
    data="least-squares",
    inputs=6,
    outputs=4,
    samples=64,
    model="linear",
    heads=2,
    rank=2,
    batch=8,
    steps=6,
    merge_every=2,
)
SGD = dict(optimizer="sgd", alpha=2.0)  # at the default alpha plain steps of 1e-3 run away
KINDS = {  # one run of each kind of state
    "lte": {},
    "reset-b": dict(reset="b"),
    "reset-ab": dict(reset="ab"),
    "reset-b-and-optimizer": dict(reset="b", reset_optimizer=True),
    "reset-ab-and-optimizer": dict(reset="ab", reset_optimizer=True),
    "keep-but-reset-optimizer": dict(reset_optimizer=True),
    "lora": dict(method="lora"),
    "mhlora": dict(method="mhlora"),
    "full": dict(method="full"),
    "lte-sgd": SGD,
    "lte-momentum": SGD | dict(momentum=0.9, nesterov=True, reset="ab"),
    "full-momentum": dict(method="full", optimizer="sgd", momentum=0.9),
    "telescope": dict(merge_rule="telescope"),
    "frozen": dict(replicas="frozen"),
    "skip-bad-heads": dict(bad_heads="skip"),
    "clip-bad-heads": dict(bad_heads="clip", topology="server", reset="b"),
    "absorbed": dict(local_steps="absorbed"),
    "stacked": dict(local_steps="stacked"),
    "ties": dict(merge_rule="ties"),
    "dare": dict(merge_rule="dare"),
    "dare-in-an-outer-step": dict(merge_rule="outer", outer_over="dare", drop=0.3, topology="server"),
    "svd": dict(merge_rule="svd", svd_rank=1),
    "factor-mean": dict(merge_rule="factor-mean"),
    "gram": dict(merge_rule="gram", reset="ab"),
    "clipped": dict(merge_rule="clipped", shares=(0.75, 0.25)),
    "trimmed": dict(merge_rule="trimmed", trim=0.4, heads=3),
    "median": dict(merge_rule="median", heads=3, topology="server"),
    "outer": dict(merge_rule="outer"),
    "outer-adam": dict(merge_rule="outer", outer_step="adam", outer_over="ties", outer_rate=0.01),
    "outer-muon": dict(merge_rule="outer", outer_step="muon", outer_rate=0.02, topology="server"),
    "muon": dict(optimizer="muon", muon_last=True, polar="exact", reset="ab"),
    "muon-full": dict(optimizer="muon", method="full", model="mlp", widths=(5,)),
    "dynamic": dict(method="dynamic", heads=3, rank_rule="energy", rank_spare=1, heads_rule="drawn"),
    "dynamic-server": dict(method="dynamic", rank_rule="schedule", rank_from=1, reset="ab", topology="server"),
    "by-class": dict(shards="dirichlet:9", merge_rule="weighted", data="fashion-mini", model="linear"),
    "fedavg": dict(method="fedavg"),
    "diloco": dict(method="diloco", topology="server"),
    "fedit": dict(method="fedit"),
    "fedex": dict(method="fedex", topology="server"),
    "adamix": dict(method="adamix"),
    "adamix-server": dict(method="adamix", pool=3, topology="server", **SGD, momentum=0.9),
    "galore": dict(method="galore", project_rank=2, project_every=4),
    "galore-server": dict(method="galore", project_rank=2, project_every=3, move_moments=True, topology="server"),
    "flora-projected": dict(method="flora-projected", project_rank=2, project_every=4),
    "relora": dict(method="relora", warm_start=1, prune="random"),
    "relora-server": dict(method="relora", topology="server"),
    "flora-stacked": dict(method="flora-stacked", head_ranks=(1, 3)),
    "shared-basis": dict(method="shared-basis", basis_rank=2, keep_basis=2, basis_side="alternating"),
    "shared-basis-server": dict(
        method="shared-basis", basis_rank=2, keep_basis=2, move_momentum=True, topology="server"
    ),
    "shared-basis-at-home": dict(method="shared-basis", basis_rank=2, send_momentum=False, outer_momentum=0.5),
    "shared-basis-skip": dict(
        method="shared-basis", basis_rank=2, keep_basis=2, bad_heads="skip", basis_side="alternating"
    ),
    "shared-basis-nf4": dict(method="shared-basis", basis_rank=2, keep_basis=2, quant="nf4", quant_block=16),
    "shared-basis-quorum": dict(method="shared-basis", basis_rank=2, bad_heads="skip", topology="server", quorum=1),
    "shared-basis-in-place": dict(
        method="shared-basis", basis_rank=2, quant="int8", send_momentum=False, topology="server"
    ),
    "shared-basis-adamw": dict(method="shared-basis", basis_rank=2, keep_basis=1, basis_step="adamw", basis_side="b"),
    "shared-basis-int8-wire": dict(
        method="shared-basis", basis_rank=2, keep_basis=2, wire="int8", move_remainder=True
    ),
    "shared-basis-int4-wire": dict(
        method="shared-basis", basis_rank=2, keep_basis=2, wire="int4", basis_side="alternating"
    ),
    "shared-basis-nf4-wire": dict(
        method="shared-basis", basis_rank=2, keep_basis=3, wire="nf4", quant="int8", send_momentum=False
    ),
    "shared-basis-brain-wire": dict(
        method="shared-basis", basis_rank=2, keep_basis=2, wire="bfloat16", bad_heads="clip", basis_side="alternating"
    ),
    "full-server": dict(method="full", topology="server"),
    "residual": dict(model="residual-mlp", widths=(5, 5)),
    "shares": dict(shares=(0.75, 0.25)),
    "allreduce": dict(topology="allreduce"),
    "auto": dict(topology="auto"),
    "server": dict(topology="server"),
    "server-reset": dict(topology="server", reset="ab"),
    "quorum": dict(bad_heads="skip", topology="server", quorum=1),
    "half-wire": dict(wire="float16"),
    "int8-wire": dict(wire="int8", merge_rule="ties"),
    "nf4-wire": dict(wire="nf4", reset="b", topology="server"),
    "brain-wire": dict(topology="server", wire="bfloat16", replicas="frozen"),
    "nf4": dict(quant="nf4", quant_block=16),
    "int4-fake": dict(quant="int4", quant_mode="fake", quant_scale="row"),
    "int8-stochastic": dict(quant="int8", quant_scale="tensor", quant_rounding="stochastic"),
    "in-place": dict(quant="int4", topology="allgather", quant_rounding="stochastic"),
    "unequal-ranks": dict(head_ranks=(1, 3)),
    "norms-without-biases": dict(model="mlp", widths=(5,), norm=True, bias=False),
    "float64": dict(dtype="float64"),
}


def config(**changes) -> Config:
    """The settings of a tiny run; of the usual ones those that its parts have."""
    return Config(**TINY).replace(**changes)


def words(**values) -> list[str]:
    """Settings as a person writes them: --merge-every=2 --no-bias --widths=5,4; None and what is empty is left out."""
    argv = []
    for name, value in values.items():
        flag = flag_name(name)
        if isinstance(value, bool):
            argv.append(f"--{flag}" if value else f"--no-{flag}")
        elif value not in (None, "", ()):
            argv.append(f"--{flag}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return argv


def flags(*argv, **changes) -> list[str]:
    """The command line of a tiny run, up to the words of `argv`: without what they give, or choose no part for."""
    given = dict(re.match(r"--([\w-]+)=(.*)", word, re.S).groups() for word in argv if "=" in word)
    given = {name.replace("-", "_"): value for name, value in given.items()}
    known = Config(**TINY)
    for name, value in (given | changes).items():
        if name in CHOICES and value is not None:
            with contextlib.suppress(BadInput):  # a choice that is there to be refused
                known = known.replace(**{name: value})
    usual = {name: value for name, value in TINY.items() if name in known.flat() and name not in given}
    return words(**usual | changes)


CHOICES = {spec.flag for spec in PLACES.values() if spec.flag}


# ---------------------------------------------------------------- runs in a folder


def session(transport=None, **changes) -> Session:
    """A tiny run in memory."""
    return open_session(config(**changes), transport)


def quiet(record=lambda record, session: None, wish=lambda: 0) -> job.Watch:
    """Nobody listens; `wish` may ask to stop."""
    return job.Watch(lambda line: None, record, wish)


def stop_after(step: int) -> job.Watch:
    """A signal arrives while the round that begins at `step` is on its way."""
    reached = []
    return quiet(
        lambda record, _: reached.append(record.step),
        lambda: signal.SIGTERM if reached and reached[-1] >= step else 0,
    )


def begin(path: Path, transport=None, **changes) -> Path:
    """A tiny run's folder, before its first step."""
    return job.begin(path, config(**changes), transport or Solo())


def go_on(path: Path, transport=None, watch: job.Watch | None = None) -> dict | job.Stopped:
    """The run in a folder, from where it stands to its end or to a signal."""
    transport = transport or Solo()
    return job.run(path, job.opened(job.settings(path, transport), transport), watch or quiet())


def steps_saved(path: Path) -> list[int]:
    """The steps of the checkpoints in a run folder."""
    return [int(found.name.removeprefix("step-")) for found in checkpoint.listed(path)]


def the_summary(path: Path) -> dict:
    """summary.json of a finished run."""
    return json.loads((path / "summary.json").read_text())


# ---------------------------------------------------------------- any settings

PARTS = {f"{place} {cls.name}": cls for place in PLACES for cls in every_part(place)}
KNOBS = {f"{part}: {name}": (cls, knob) for part, cls in PARTS.items() for name, knob in knobs(cls).items()}


def chosen(cls: type) -> dict[str, str]:
    """The settings that choose a part, with a rule that brings its place and the reset that it needs; a file by its path."""
    spec = PLACES[cls.place]
    brought = {"merge_rule": "outer"} if cls.place == "inner_rule" else {}
    brought |= {"reset": "b"} if isinstance(cls.needs, frozenset) and "reset" in cls.needs else {}
    return brought | ({spec.flag: "x.csv" if cls.name == spec.other else cls.name} if spec.flag else {})


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=","), min_size=1)  # of layers


def values(knob: dataclasses.Field) -> st.SearchStrategy:
    """Whatever a field takes."""
    (kind, many), bounds = item_type(knob.type), knob.metadata
    if "choices" in bounds:
        one = st.sampled_from(bounds["choices"])
    elif kind is int:
        one = st.integers(bounds["least"], bounds["most"] if "most" in bounds else bounds["below"] - 1)
    elif kind is float:
        low, high = bounds.get("above", bounds.get("least")), bounds.get("below", bounds.get("most"))
        one = st.floats(
            low,
            high,
            exclude_min="above" in bounds,
            exclude_max="below" in bounds,
            allow_nan=False,
            allow_infinity=False,
        )
    else:
        one = st.booleans() if kind is bool else names if many else st.just("") | names
    return st.lists(one, min_size=bool(knob.default), max_size=4).map(tuple) if many else one


@st.composite
def configs(draw) -> Config:
    """Any settings that fit together: from the declarations of the parts; what is refused is taken back."""
    given = {}
    for place, spec in PLACES.items():
        part = draw(st.sampled_from([cls for cls in every_part(place) if cls.name != spec.other]))
        given |= {spec.flag: part.name} if spec.flag else {}
        given |= {name: draw(values(knob)) for name, knob in knobs(part).items()}
    heads = given["heads"] = draw(st.integers(1, 8))
    given["head_ranks"] = draw(st.sampled_from([(), tuple(range(1, heads + 1))]))
    given["shares"] = draw(st.sampled_from([(), (1 / heads,) * heads]))
    given["quant_block"] = draw(st.sampled_from([2, 64, 4096]))
    for _ in range(len(given)):
        try:
            return Config(**given)
        except BadInput as refusal:  # its first word names the setting
            name = re.match(r"[\w-]+", str(refusal))[0].replace("-", "_")
            assert name in given, f"a refusal names the setting: {refusal}"
            del given[name]
    raise AssertionError(f"refused without end: {given}")
