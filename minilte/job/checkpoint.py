"""Checkpoints: the whole state of a run between two merges, in a folder that is either whole or not there.

State is everything that the next step depends on: the main state and, of every head, factors, V, replicas and
optimizer. It does not depend on the number of processes that wrote it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.types import Array, Tree
from minilte.disk import folder
from minilte.disk.files import brief, content, sha256, shown
from minilte.disk.folder import seal
from minilte.disk.weights import unpacked
from minilte.job.atomic import clear, drop, write_folder
from minilte.job.records import count, number, optional, table
from minilte.run.session import State
from minilte.settings.config import defaults
from minilte.settings.knob import flag_name

FORMAT = 2  # 1 had V_n twice, and one flat list of settings
KEEP = 2  # checkpoints
STATE = "state.safetensors"
HEALTH = (optional(number), count, optional(number))  # what `run.health.Health` must hold
FACTS = {  # what a fact must hold, where it is there
    "seconds": number,
    "sent": table(count),
    "health": lambda value: (
        isinstance(value, list) and len(value) <= len(HEALTH) and all(fits(item) for fits, item in zip(HEALTH, value))
    ),
    "resized": lambda value: value is True,
}
MANIFEST = {  # what a key must hold; a seal shows damage, not who wrote it
    "step": count,
    "facts": lambda value: (
        isinstance(value, dict) and all(name in FACTS and FACTS[name](value[name]) for name in value)
    ),
    "config": lambda value: isinstance(value, dict),
    "sha256": lambda value: isinstance(value, dict) and isinstance(value.get(STATE), str),
}


class Damaged(BadInput):
    """A checkpoint, or a file of it, is not what was saved."""


def save(run: Path, state: State, config: dict, best: int | None = None) -> Path:
    """Write ckpt/step-N, whole or not at all; delete all but the last `KEEP` and that of step `best`. Raises DiskTrouble."""
    from safetensors.numpy import save as to_bytes

    path = run / "ckpt" / f"step-{state.step}"
    arrays = named_arrays({"main": state.main, "heads": tuple(state.heads)})
    state_bytes = to_bytes({name: np.asarray(leaf, order="C") for name, leaf in arrays})
    sums = {STATE: hashlib.sha256(state_bytes).hexdigest()}
    manifest = {"format": FORMAT, "step": state.step, "facts": state.facts, "config": config, "sha256": sums}
    text = json.dumps(manifest | {"seal": seal(manifest)}, indent=2, allow_nan=False) + "\n"
    with folder.writing(path):
        clear(path.parent)
        if not path.exists():  # a state that was saved already is the same state
            write_folder(path, {STATE: state_bytes, "manifest.json": text.encode()})
        for old in listed(run)[:-KEEP]:
            if step_of(old) != best:
                drop(old)
    return path


def named_arrays(state: Tree) -> Iterator[tuple[str, Array]]:
    """(dotted path, array) of every array; a head's index is none, and its place in the list gives it."""
    return ((path, leaf) for path, leaf in tree.named(state) if isinstance(leaf, np.ndarray))


def listed(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((path for path in (run / "ckpt").glob("step-*") if path.name[5:].isdecimal()), key=step_of)


def step_of(path: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(path.name[5:])


def load(path: Path, main: Tree, heads: Sequence[Tree], config: dict) -> State:
    """The state in a checkpoint; `main` and `heads` give its structure. Raises BadInput naming what does not fit."""
    like, file = {"main": main, "heads": tuple(heads)}, path / STATE
    most = sum(leaf.nbytes + 2**12 for _, leaf in named_arrays(like)) + 2**20
    with remedy(path):
        manifest = read_manifest(path)
        refuse_other_run(path, manifest["config"], config)
        try:
            data = content(file, most)
        except BadInput as trouble:
            raise Damaged(str(trouble)) from None
        if hashlib.sha256(data).hexdigest() != manifest["sha256"][STATE]:
            raise Damaged(f"{shown(file)}: damaged (its sha256 is not the manifest's)")
    arrays = rebuilt(like, unpacked(data, shown(file)), shown(file))
    return State(manifest["step"], arrays["main"], arrays["heads"], manifest["facts"])


@contextmanager
def remedy(path: Path) -> Iterator[None]:
    """Damage that is found inside the `with` is reported with the newest older checkpoint that is whole."""
    try:
        yield
    except Damaged as trouble:
        older = (found for found in reversed(listed(path.parent.parent)) if step_of(found) < step_of(path))
        good = next((f"{found.name}, which is whole" for found in older if whole(found)), "step 0")
        raise Damaged(f"{trouble}; --resume-latest-good goes on from {good}") from None


def whole(path: Path) -> bool:
    """Is a checkpoint what was saved?"""
    try:
        manifest = read_manifest(path)
        return sha256(path / STATE) == manifest["sha256"][STATE]
    except BadInput:
        return False


def read_manifest(path: Path) -> dict:
    """The manifest of a checkpoint. Raises Damaged, or BadInput where its format or its content is not minilte's."""
    file = path / "manifest.json"
    try:
        manifest = folder.read_json(file)
    except BadInput as trouble:
        raise Damaged(str(trouble)) from None
    if (found := manifest.get("format")) != FORMAT:
        raise BadInput(
            f"{shown(file)}: expected format {FORMAT}, got {brief(found)}; read it with the minilte that wrote it"
        )
    if manifest.get("seal") != seal(manifest) or path.name != f"step-{manifest.get('step')}":
        raise Damaged(f"{shown(file)}: damaged (its seal is broken)")
    for name, fits in MANIFEST.items():
        if not fits(manifest.get(name)):
            raise BadInput(f"{shown(file)}: {name} is {brief(manifest.get(name))}, which minilte never writes")
    return manifest


def refuse_other_run(path: Path, had: dict, config: dict) -> None:
    """Raises BadInput for settings that are not the run's, naming both values. The steps may have become more.

    A setting that did not exist yet when the checkpoint was made counts as its default.
    """
    usual, config = json.loads(json.dumps([defaults(), config]))  # lists for tuples, as the manifest has them
    for name, value in config.items():
        if (found := had.get(name, usual.get(name))) != value and name != "steps":
            raise BadInput(
                f"{shown(path)}: made with {flag_name(name)} {brief(found)}, but the run has {brief(value)};"
                " restore that one"
            )


def rebuilt(like: Tree, stored: dict[str, Array], file: str) -> Tree:
    """`like` with its leaves taken from `stored` by their paths. Raises BadInput."""
    expected = dict(named_arrays(like))
    if odd := sorted(set(expected) ^ set(stored)):
        raise BadInput(f"{file}: tensor {brief(odd[0])} is {'missing' if odd[0] in expected else 'not of this run'}")
    for name, leaf in expected.items():
        got = stored[name]
        if (got.shape, got.dtype) != (leaf.shape, leaf.dtype):
            raise BadInput(f"{file}: {name} is {got.dtype}{got.shape}, expected {leaf.dtype}{leaf.shape}")
        if not np.isfinite(got).all():
            raise BadInput(f"{file}: {name} is not all finite; the run had diverged, begin anew")
    in_order = iter(expected)
    return tree.map(lambda leaf: stored[next(in_order)] if isinstance(leaf, np.ndarray) else leaf, like)
