"""Every reader of the library, the inputs it is given, and a good folder around the one file that is bad."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tiny
from fuzz import inputs
from fuzz.inputs import JSON, changed, of
from hypothesis import strategies as st
from safetensors.numpy import save

from minilte.core import networks
from minilte.data.dataset import Dataset
from minilte.data.idx import IMAGES, LABELS, NAMES, read_idx, write_idx
from minilte.data.sources import load
from minilte.disk import folder
from minilte.disk.weights import read_weights, tensors
from minilte.job import checkpoint, result
from minilte.job.records import read_records
from minilte.library import fit
from minilte.run.machine import changed as differences
from minilte.run.machine import fingerprint
from minilte.run.session import State
from minilte.settings import stored
from minilte.settings.config import Config
from minilte.settings.flags import parse, parser
from minilte.settings.stored import read_toml


class Reader(NamedTuple):
    """Draws an input, puts it in place, reads it."""

    inputs: st.SearchStrategy
    read: Callable  # (an input) -> whatever


LIKE = networks.init_weights(networks.mlp([3, 2]), seed=1)
STATE = State(3, {"W": np.arange(4.0)}, (), {"seconds": 1.5, "sent": {"factors": 7}})
CONFIG = {"lr": 0.5, "widths": [3, 4]}
MADE, NOW = parser("prog", "", settings=True), fingerprint(1, "Solo")
FILES = {  # of a run folder: what reads them
    "config.json": lambda: stored.read_settings(Path("run")),
    "summary.json": lambda: result.load("run"),
    "final.safetensors": lambda: result.load("run"),
    "metrics.jsonl": lambda: read_records(Path("run", "metrics.jsonl")),
    "env.json": lambda: "; ".join(differences(folder.read_json(Path("run", "env.json")), NOW)),
}


def prepare() -> None:
    """A whole run, checkpoint and folder of images in the working directory."""
    tiny.go_on(tiny.begin(Path("run")))
    checkpoint.save(Path("saved"), STATE, CONFIG)
    Path("images").mkdir()
    for name in NAMES:
        values = np.arange(40).reshape(10, 2, 2) if "images" in name else np.arange(10)
        write_idx(f"images/{name}.gz", values.astype(np.uint8))


def in_place(file: str, read: Callable) -> Callable:
    """Reads with other bytes in a file, which is as it was afterwards."""

    def run(content: bytes):
        path = Path(file)
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        try:
            return read()
        finally:
            path.unlink() if before is None else path.write_bytes(before)

    return run


def resume():
    """The checkpoint as a run would take it."""
    return checkpoint.load(Path("saved/ckpt/step-3"), STATE.main, STATE.heads, CONFIG)


def sealed(change: dict, data: bytes | None) -> None:
    """The checkpoint with another manifest or state, which somebody has sealed as minilte does."""
    file = Path("saved/ckpt/step-3/state.safetensors")
    manifest = {"format": checkpoint.FORMAT, "step": 3, "facts": STATE.facts, "config": CONFIG}
    manifest |= {
        "sha256": {file.name: hashlib.sha256(file.read_bytes() if data is None else data).hexdigest()}
    } | change
    text = json.dumps(manifest | {"seal": checkpoint.seal(manifest)}).encode()
    read = in_place(str(file.with_name("manifest.json")), resume)
    return read(text) if data is None else in_place(str(file), lambda: read(text))(data)


MANIFEST_KEYS = st.sampled_from(["format", "step", "facts", "config", "sha256", "zzz"])
FACTS = st.fixed_dictionaries({}, optional={"seconds": inputs.VALUES, "sent": inputs.VALUES})
WEIGHTS = [*tensors(LIKE), "input.mean", "input.deviation", "main.W"]
TENSORS = changed(inputs.safetensors(WEIGHTS)) | inputs.safetensors(WEIGHTS)
IDX_FILES = of(*(b"\0\0\x08" + head + bytes(range(10)) for head in (b"\1\0\0\0\n", b"\3\0\0\0\n\0\0\0\1\0\0\0\1")))
LINES = st.lists(JSON.map(lambda text: text.replace(b"\n", b" ")), max_size=3).map(
    lambda lines: b"\n".join([*lines, b""])
)
RECORD = {"step": 0, "samples": 0, "seconds": 0.5, "losses": [1.0, 2.0], "train_loss": None}
RECORDS = st.lists(st.just(RECORD) | inputs.OBJECTS | inputs.OBJECTS.map(lambda odd: RECORD | odd), max_size=3)
SETTINGS = inputs.OBJECTS.map(lambda odd: inputs.as_json({"format": stored.FORMAT} | odd))
SUMMARY = {"inputs": 6, "outputs": 4, "classes": None}
SIZES = st.dictionaries(st.sampled_from(list(SUMMARY)), inputs.VALUES).map(lambda odd: inputs.as_json(SUMMARY | odd))


def dataset(values: list) -> None:
    """A run of no steps on whatever somebody calls a dataset."""
    fit(tiny.config(steps=0, rank=1, batch=2), Dataset(*values))


READERS = {
    "a dataset": Reader(inputs.datasets(), dataset),
    "an evaluation": Reader(
        st.tuples(inputs.ARRAYS, inputs.ARRAYS), lambda given: result.load("run").evaluate(*given)
    ),
    "a prediction": Reader(inputs.ARRAYS, lambda x: result.load("run").predict(x)),
    "csv with a target": Reader(
        st.tuples(inputs.CSV, inputs.WORDS),
        lambda given: in_place("t.csv", lambda: load("t.csv", target=given[1]))(given[0]),
    ),
    "command line": Reader(inputs.ARGV, lambda argv: Config(**parse(MADE, argv))),
    "toml": Reader(inputs.TOML, in_place("run.toml", lambda: Config(**read_toml("run.toml")))),
    "idx": Reader(
        inputs.idx() | changed(inputs.idx()) | IDX_FILES, in_place("file.idx", lambda: read_idx("file.idx", LABELS))
    ),
    "idx images": Reader(inputs.idx() | IDX_FILES, in_place("file.idx", lambda: read_idx("file.idx", IMAGES))),
    "images": Reader(inputs.idx() | IDX_FILES, in_place(f"images/{NAMES[0]}.gz", lambda: load("images"))),
    "labels": Reader(inputs.idx() | IDX_FILES, in_place(f"images/{NAMES[1]}.gz", lambda: load("images"))),
    "csv": Reader(inputs.CSV, in_place("t.csv", lambda: load("t.csv"))),
    "npz": Reader(inputs.NPZ, in_place("t.npz", lambda: load("t.npz"))),
    "weights": Reader(of(save(tensors(LIKE))) | TENSORS, in_place("w", lambda: read_weights("w", LIKE))),
    "config.json": Reader(JSON | changed(SETTINGS), in_place("run/config.json", FILES["config.json"])),
    "summary.json": Reader(JSON | SIZES, in_place("run/summary.json", FILES["summary.json"])),
    "final.safetensors": Reader(TENSORS, in_place("run/final.safetensors", FILES["final.safetensors"])),
    "metrics.jsonl": Reader(
        LINES | changed(RECORDS.map(lambda all: b"".join(inputs.as_json(one) + b"\n" for one in all))),
        in_place("run/metrics.jsonl", FILES["metrics.jsonl"]),
    ),
    "env.json": Reader(
        JSON | st.dictionaries(st.sampled_from(list(NOW)), inputs.VALUES).map(lambda odd: inputs.as_json(NOW | odd)),
        in_place("run/env.json", FILES["env.json"]),
    ),
    "manifest.json": Reader(JSON, in_place("saved/ckpt/step-3/manifest.json", resume)),
    "state.safetensors": Reader(
        of(save({"main.W": STATE.main["W"]})), in_place("saved/ckpt/step-3/state.safetensors", resume)
    ),
    "sealed manifest": Reader(
        st.dictionaries(MANIFEST_KEYS, inputs.VALUES | FACTS, max_size=2), lambda change: sealed(change, None)
    ),
    "sealed state": Reader(of(save({"main.W": STATE.main["W"]})) | TENSORS, lambda data: sealed({}, data)),
}
