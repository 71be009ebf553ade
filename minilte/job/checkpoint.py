"""Checkpoints: the whole state of a run between two merges, in a folder that is either whole or not there.

State is everything that the next step depends on: the main state and, of every head, factors, V, replicas and
optimizer. It does not depend on the number of processes that wrote it.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.types import Array, Tree
from minilte.disk import folder
from minilte.disk.files import brief, content, opened, shown
from minilte.disk.weights import unpacked
from minilte.run.session import State
from minilte.settings.config import defaults
from minilte.settings.knob import flag_name

FORMAT = 2  # 1 had V_n twice, and one flat list of settings
KEEP = 2  # checkpoints
STATE = "state.safetensors"


class Damaged(BadInput):
    """A checkpoint, or a file of it, is not what was saved."""


def count(value) -> bool:
    """Is it a whole number of at least 0, and no bool?"""
    return type(value) is int and value >= 0


def facts(value) -> bool:
    """Are these the facts of a state, as far as they are there?"""
    if not isinstance(value, dict):
        return False
    seconds, sent = value.get("seconds", 0.0), value.get("sent", {})
    fits = type(seconds) in (int, float) and 0 <= seconds < math.inf
    return fits and isinstance(sent, dict) and all(map(count, sent.values()))


MANIFEST = {  # key -> what it must hold; the seal speaks of damage, not of who wrote it
    "step": count,
    "facts": facts,
    "config": lambda value: isinstance(value, dict),
    "sha256": lambda value: isinstance(value, dict) and isinstance(value.get(STATE), str),
}


def save(run: Path, state: State, config: dict, best: int | None = None) -> Path:
    """Write ckpt/step-N: temp folder, fsync, rename. Older ones beyond the last `KEEP` go, but for that of step `best`.

    Raises DiskTrouble.
    """
    from safetensors.numpy import save as to_bytes

    root, name = run / "ckpt", f"step-{state.step}"
    arrays = {"main": state.main, "heads": tuple(state.heads)}
    state_bytes = to_bytes({path: np.asarray(leaf, order="C") for path, leaf in named_arrays(arrays)})
    manifest = {
        "format": FORMAT,
        "step": state.step,
        "facts": state.facts,
        "config": config,
        "sha256": {STATE: hashlib.sha256(state_bytes).hexdigest()},
    }
    with folder.writing(root / name):
        clear(run)
        temporary = root / f".new-{name}{folder.TEMPORARY}"
        temporary.mkdir(parents=True)
        folder.write(temporary / STATE, state_bytes)
        folder.write_json(temporary / "manifest.json", manifest | {"seal": seal(manifest)})
        if (root / name).exists():  # a state that was saved already is the same state
            remove(temporary)
            return root / name
        temporary.rename(root / name)
        folder.settle(root)
        for old in listed(run)[:-KEEP]:
            if old.name != f"step-{best}":
                drop(old)
    return root / name


def named_arrays(state: Tree) -> Iterator[tuple[str, Array]]:
    """(dotted path, array) of every array: what a head's place in the list says already, as its index, is none."""
    return ((path, leaf) for path, leaf in tree.named(state) if isinstance(leaf, np.ndarray))


def clear(run: Path) -> None:
    """Take away what a save that was killed left behind."""
    for left in (run / "ckpt").glob(f".*{folder.TEMPORARY}"):
        remove(left)


def drop(path: Path) -> None:
    """Delete a checkpoint, never half of it under its name."""
    remove(path.rename(path.with_name(f".old-{path.name}{folder.TEMPORARY}")))


def remove(path: Path) -> None:
    """Delete what has this name; of a link the link alone."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def seal(manifest: dict) -> str:
    """SHA-256 of a manifest without its seal, so that no flipped bit in it goes unseen."""
    rest = {key: value for key, value in manifest.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def listed(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = [path for path in (run / "ckpt").glob("step-*") if path.name[5:].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def load(path: Path, main: Tree, heads: Sequence[Tree], config: dict) -> State:
    """The state in a checkpoint; `main` and `heads` give its structure. Raises BadInput naming what does not fit."""
    like = {"main": main, "heads": tuple(heads)}
    expected = dict(named_arrays(like))
    with remedy(path):
        manifest = read_manifest(path)
        refuse_other_run(path, manifest["config"], config)
        data = state_of(path, manifest, most=sum(leaf.nbytes + 2**12 for leaf in expected.values()) + 2**20)
    file = shown(path / STATE)
    arrays = rebuilt(like, unpacked(data, file), file)
    return State(manifest["step"], arrays["main"], arrays["heads"], manifest["facts"])


@contextmanager
def remedy(path: Path) -> Iterator[None]:
    """What is damaged inside the `with` is told together with what can be done about it."""
    try:
        yield
    except Damaged as trouble:
        raise Damaged(f"{trouble}; --resume-latest-good goes on from {one_before(path)}") from None


def read_manifest(path: Path) -> dict:
    """What a checkpoint says of itself. Raises Damaged, or BadInput where its format or its content is not ours."""
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

    A setting that did not exist yet when the checkpoint was made had what is its default now.
    """
    usual = json.loads(json.dumps(defaults()))
    for name, value in config.items():
        if (found := had.get(name, usual.get(name))) != value and name != "steps":
            raise BadInput(
                f"{shown(path)}: made with {flag_name(name)} {brief(found)}, but the run has {brief(value)};"
                " restore that one"
            )


def state_of(path: Path, manifest: dict, most: int) -> bytes:
    """The bytes of a checkpoint's arrays. Raises Damaged where they are not those that were saved."""
    try:
        data = content(path / STATE, most)
    except BadInput as trouble:
        raise Damaged(str(trouble)) from None
    if hashlib.sha256(data).hexdigest() != manifest["sha256"][STATE]:
        raise Damaged(f"{shown(path / STATE)}: damaged (its sha256 is not the manifest's)")
    return data


def one_before(path: Path) -> str:
    """The newest whole checkpoint that is older than this one, in words."""
    number = int(path.name[5:])
    for older in reversed([found for found in listed(path.parent.parent) if int(found.name[5:]) < number]):
        if whole(older):
            return f"{older.name}, which is whole"
    return "step 0"


def whole(path: Path) -> bool:
    """Is a checkpoint what was saved?"""
    try:
        manifest = read_manifest(path)
        with opened(path / STATE) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == manifest["sha256"][STATE]
    except BadInput:
        return False


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
