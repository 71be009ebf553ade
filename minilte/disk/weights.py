"""Weights as safetensors with the names that PyTorch modules use: layer1.weight, layer1.bias."""

import hashlib
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


def unpacked(data: bytes, where: str | Path) -> dict[str, Array]:
    """All tensors in the bytes of a .safetensors file. Raises BadInput."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as trouble:
        raise BadInput(f"{where}: not a whole .safetensors file ({reason(trouble)})") from None


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

    def take(name, layer):
        return type(layer)(
            *(
                None if array is None else cast[f"{name}.{FIELDS[field]}"]
                for field, array in zip(layer._fields, layer)
            )
        )

    return {name: take(name, layer) for name, layer in like.items()}


def finite(array: Array, dtype: np.dtype, where: str) -> Array:
    """The floats in another dtype. Raises BadInput where one is not finite there."""
    with np.errstate(over="ignore"):  # a float64 beyond float32 is refused just below
        cast = array.astype(dtype)
    if not (np.issubdtype(array.dtype, np.floating) and np.isfinite(cast).all()):
        raise BadInput(f"{where} ({array.dtype}) is not all finite numbers of {dtype}")
    return cast
