"""Checkpoints: the whole state of a run between two merges, in a folder that is either whole or not there.

State is everything that the next step depends on: the main state and, of every head, factors, V, replicas and
optimizer. It does not depend on the number of ranks that wrote it.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.types import Array, Tree
from minilte.runs import folder
from minilte.runs.config import flag_name
from minilte.runs.weights import unpacked

FORMAT = 1
KEEP = 2  # checkpoints


class State(NamedTuple):
    """Where a run stands after a merge."""

    step: int
    main: Tree
    heads: tuple[Tree, ...]  # all N, in head order
    facts: dict  # plain numbers that go on counting: seconds; bytes sent, by kind, before this process began


def bare(head: Tree) -> Tree:
    """A head without what its place in the list says already."""
    return head._replace(index=None, loss=None)


def save(run: Path, state: State, config: dict, best: int | None = None) -> Path:
    """Write ckpt/step-N: temp folder, fsync, rename. Older ones beyond the last `KEEP` go, but for that of step `best`.

    Raises DiskTrouble.
    """
    from safetensors.numpy import save as to_bytes

    root, name = run / "ckpt", f"step-{state.step}"
    arrays = {"main": state.main, "heads": tuple(bare(head) for head in state.heads)}
    content = to_bytes({path: np.asarray(leaf, order="C") for path, leaf in tree.named(arrays)})
    manifest = {
        "format": FORMAT,
        "step": state.step,
        "facts": state.facts,
        "config": config,
        "sha256": {"state.safetensors": hashlib.sha256(content).hexdigest()},
    }
    with folder.writing(root / name):
        temporary = root / f".new-{name}{folder.TEMPORARY}"
        temporary.mkdir(parents=True)
        folder.write(temporary / "state.safetensors", content)
        folder.write_json(temporary / "manifest.json", manifest | {"seal": seal(manifest)})
        if (root / name).exists():  # a state that was saved already is the same state
            shutil.rmtree(temporary)
            return root / name
        temporary.rename(root / name)
        folder.settle(root)
        for old in listed(run)[:-KEEP]:
            if old.name != f"step-{best}":
                drop(old)
    return root / name


def clear(run: Path) -> None:
    """Take away what a save that was killed left behind."""
    for left in (run / "ckpt").glob(f".*{folder.TEMPORARY}"):
        shutil.rmtree(left)


def drop(path: Path) -> None:
    """Delete a checkpoint, never half of it under its name."""
    shutil.rmtree(path.rename(path.with_name(f".old-{path.name}{folder.TEMPORARY}")))


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
    manifest, file = read_manifest(path), path / "state.safetensors"
    for name, value in config.items():
        if (had := manifest["config"].get(name)) != value:
            raise BadInput(
                f"{path}: made with {flag_name(name)} {had!r}, but the run has {value!r}; restore that one"
            )
    content = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(content).hexdigest() != manifest["sha256"][file.name]:
        raise BadInput(
            f"{file}: damaged (its sha256 is not the manifest's); --resume-latest-good takes the one before"
        )
    like = {"main": main, "heads": tuple(bare(head) for head in heads)}
    arrays = rebuilt(like, unpacked(content, file), file)
    heads = tuple(new._replace(index=n, loss=float("nan")) for n, new in enumerate(arrays["heads"]))
    return State(manifest["step"], arrays["main"], heads, manifest["facts"])


def read_manifest(path: Path) -> dict:
    """What a checkpoint says of itself. Raises BadInput where it is damaged, of another format or another place."""
    file = path / "manifest.json"
    manifest = folder.read_json(file)
    if (found := manifest.get("format")) != FORMAT:
        raise BadInput(f"{file}: expected format {FORMAT}, got {found!r:.40}; read it with the minilte that wrote it")
    if manifest.get("seal") != seal(manifest) or path.name != f"step-{manifest['step']}":
        raise BadInput(f"{file}: damaged (its seal is broken); --resume-latest-good takes the one before")
    return manifest


def rebuilt(like: Tree, stored: dict[str, Array], file: Path) -> Tree:
    """`like` with its leaves taken from `stored` by their paths. Raises BadInput."""
    expected = dict(tree.named(like))
    if odd := sorted(set(expected) ^ set(stored)):
        raise BadInput(f"{file}: tensor {odd[0]!r} is {'missing' if odd[0] in expected else 'not of this run'}")
    for name, leaf in expected.items():
        got = stored[name]
        if (got.shape, got.dtype) != (leaf.shape, leaf.dtype):
            raise BadInput(f"{file}: {name} is {got.dtype}{got.shape}, expected {leaf.dtype}{leaf.shape}")
        if not np.isfinite(got).all():
            raise BadInput(f"{file}: {name} is not all finite; the run had diverged, begin anew")
    in_order = iter(expected)
    return tree.map(lambda _: stored[next(in_order)], like)
