"""Weights as safetensors with the names that PyTorch modules use: layer1.weight, layer1.bias."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.types import Array, Weights
from minilte.disk import folder
from minilte.disk.files import LIMIT, brief, content, reason, shown

FIELDS = {"W": "weight", "c": "bias", "g": "weight"}  # a norm's gain is its weight


def tensors(weights: Weights) -> dict[str, Array]:
    """Torch name -> array, in network order."""
    return {
        f"{name}.{FIELDS[field]}": array
        for name, layer in weights.items()
        for field, array in zip(layer._fields, layer)
        if array is not None
    }


def sha256(weights: Weights) -> str:
    """SHA-256 over the weights' bytes: layer order, W then c, little-endian, C order."""
    digest = hashlib.sha256()
    for array in tensors(weights).values():
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def write_weights(path: Path, weights: Weights, extra: dict[str, Array] | None = None) -> None:
    """A .safetensors file of the weights, and of the `extra` arrays under their own names."""
    from safetensors.numpy import save

    named = tensors(weights) | (extra or {})
    folder.write(path, save({name: np.ascontiguousarray(array) for name, array in named.items()}))


def room(like: Weights) -> int:
    """The most bytes that a file of such weights can have: everything in float64, its scaling, names."""
    return 24 * tree.size(like) + 2**24


def read_tensors(path: str | Path, most: int = LIMIT) -> dict[str, Array]:
    """All tensors of a .safetensors file of at most that many bytes. Raises BadInput naming it."""
    return unpacked(content(path, most), shown(path))


def plain(name: str) -> Callable[[bytearray], Array]:
    """How the bytes of a tensor are read whose dtype NumPy has."""
    return lambda data: np.frombuffer(data, name)


def brain(data: bytearray) -> Array:
    """bfloat16 as float32, of which it is the upper half: every number is kept."""
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


KINDS = {"BF16": brain, "BOOL": plain("?")} | {
    kind: plain(f"<{kind.lower()[0]}{int(kind[1:]) // 8}")
    for kind in ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8")
}


def unpacked(data: bytes, where: str | Path) -> dict[str, Array]:
    """All tensors in the bytes of a .safetensors file. Raises BadInput."""
    from safetensors import SafetensorError, deserialize

    try:
        stored = deserialize(data)
        json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], object_pairs_hook=folder.once)  # no name twice
    except (SafetensorError, ValueError, TypeError, RecursionError) as trouble:
        raise BadInput(f"{where}: not a whole .safetensors file ({reason(trouble)})") from None
    for name, tensor in stored:
        if (kind := tensor["dtype"]) not in KINDS:
            raise BadInput(f"{where}: tensor {brief(name)} is {kind}, expected {', '.join(KINDS)}; convert it first")
    return {name: KINDS[tensor["dtype"]](tensor["data"]).reshape(tensor["shape"]) for name, tensor in stored}


def read_weights(path: str | Path, like: Weights) -> Weights:
    """Weights from a file, in the shapes and the dtype of `like`. Raises BadInput naming file and tensor."""
    return fitted(read_tensors(path, room(like)), like, shown(path))


def fitted(stored: dict[str, Array], like: Weights, where: str | Path) -> Weights:
    """`like` with the stored numbers. Raises BadInput for what is missing, left over, of another shape, or not finite."""
    wanted = tensors(like)
    for name, array in wanted.items():
        if name not in stored:
            raise BadInput(f"{where}: no tensor {name!r}; it holds {list(stored)!r:.200}")
        if stored[name].shape != array.shape:
            raise BadInput(f"{where}: {name} has shape {stored[name].shape}, expected {array.shape}")
    if unknown := [name for name in stored if name not in wanted and not name.startswith("input.")]:
        raise BadInput(f"{where}: tensor {brief(unknown[0])} belongs to no layer of this network")
    cast = {name: finite(stored[name], array.dtype, f"{where}: {name}") for name, array in wanted.items()}
    return {
        name: layer._replace(**{field: cast.get(f"{name}.{FIELDS[field]}") for field in layer._fields})
        for name, layer in like.items()
    }


def finite(array: Array, dtype: np.dtype, where: str) -> Array:
    """The floats in another dtype. Raises BadInput where one is not finite there."""
    with np.errstate(over="ignore"):  # a float64 beyond float32 is refused just below
        cast = array.astype(dtype)
    if not (np.issubdtype(array.dtype, np.floating) and np.isfinite(cast).all()):
        raise BadInput(f"{where} ({array.dtype}) is not all finite numbers of {dtype}")
    return cast
