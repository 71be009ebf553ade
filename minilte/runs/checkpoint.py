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

FORMAT = 1
KEEP = 2  # checkpoints


class State(NamedTuple):
    """Where a run stands after a merge."""

    step: int
    main: Tree
    heads: tuple[Tree, ...]  # all N, in head order
    facts: dict  # plain numbers that go on counting: seconds, bytes sent


def bare(head: Tree) -> Tree:
    """A head without what its place in the list says already."""
    return head._replace(index=None, loss=None)


def save(run: Path, state: State) -> Path:
    """Write ckpt/step-N: temp folder, fsync, rename. Older ones beyond the last `KEEP` go. Raises DiskTrouble."""
    from safetensors.numpy import save as to_bytes

    root = run / "ckpt"
    final, temporary = root / f"step-{state.step}", root / f".step-{state.step}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
    except OSError as trouble:
        raise folder.DiskTrouble(f"cannot write {temporary}: {trouble.strerror or trouble}") from None
    arrays = {"main": state.main, "heads": tuple(bare(head) for head in state.heads)}
    content = to_bytes({name: np.ascontiguousarray(leaf) for name, leaf in tree.named(arrays)})
    folder.write(temporary / "state.safetensors", content)
    manifest = {
        "format": FORMAT,
        "step": state.step,
        "facts": state.facts,
        "sha256": {"state.safetensors": hashlib.sha256(content).hexdigest()},
    }
    folder.write_json(temporary / "manifest.json", manifest)
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    folder.settle(root)
    for old in listed(run)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def listed(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = [path for path in (run / "ckpt").glob("step-*") if path.name[5:].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def load(path: Path, main: Tree, heads: Sequence[Tree]) -> State:
    """The state in a checkpoint; `main` and `heads` give its structure. Raises BadInput naming what does not fit."""
    from minilte.runs.weights import read_tensors

    manifest = folder.read_json(path / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInput(f"{path}/manifest.json: expected format {FORMAT}, got {json.dumps(manifest)[:40]}")
    file = path / "state.safetensors"
    content = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(content).hexdigest() != manifest.get("sha256", {}).get(file.name):
        raise BadInput(f"{file}: damaged (its sha256 is not the manifest's); delete {path} to use the one before")
    stored = read_tensors(file)
    like = {"main": main, "heads": tuple(bare(head) for head in heads)}
    arrays = rebuilt(like, stored, file)
    heads = tuple(new._replace(index=n, loss=float("nan")) for n, new in enumerate(arrays["heads"]))
    return State(manifest["step"], arrays["main"], heads, manifest["facts"])


def rebuilt(like: Tree, stored: dict[str, Array], file: Path) -> Tree:
    """`like` with its leaves taken from `stored` by their paths. Raises BadInput."""
    expected = dict(tree.named(like))
    if odd := sorted(set(expected) ^ set(stored)):
        raise BadInput(f"{file}: tensor {odd[0]!r} is {'missing' if odd[0] in expected else 'not of this run'}")
    for name, leaf in expected.items():
        got = stored[name]
        if (got.shape, got.dtype) != (leaf.shape, leaf.dtype):
            raise BadInput(f"{file}: {name} is {got.dtype}{got.shape}, expected {leaf.dtype}{leaf.shape}")
    in_order = iter(expected)
    return tree.map(lambda _: stored[next(in_order)], like)
