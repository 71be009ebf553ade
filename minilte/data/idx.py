"""IDX, the format of MNIST and Fashion-MNIST: a magic number, the lengths of the axes, unsigned bytes.

    magic 0x00000803 (images) or 0x00000801 (labels), lengths as big-endian uint32, then a byte for each number

Packed with gzip or plain; the content decides, not the name. Never more than one byte beyond what the header
declares is unpacked.
"""

import glob
import gzip
import math
import os
import re
import struct
import zlib
from typing import BinaryIO

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.data.border import assembled
from minilte.data.dataset import Dataset
from minilte.disk.files import LIMIT, encoded, opened, reason, shown, small_enough

LABELS, IMAGES = 0x801, 0x803  # the last byte of a magic is the number of axes
KINDS = {LABELS: "labels", IMAGES: "images"}
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FILE = re.compile(r"(?P<prefix>|.+-)(?P<split>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")
TEST = {("test", "images"), ("test", "labels")}
ORDER = [(split, kind) for split in ("train", "test") for kind in ("images", "labels")]  # as in NAMES
PIECE = 2**20  # bytes read at a time


def read_folder(folder: str, classes: int | None = None, seed: int = 0) -> Dataset:
    """The dataset of the IDX files in a folder (see `paths`); images as rows of uint8, all standardised together.

    Without a test set a fifth is held out, drawn by the seed. `classes`: the labels must be 0 to classes - 1; else they
    are those of the training set. Raises BadInput naming the file.
    """
    places = paths(folder)
    pairs = [read_pair(images, labels) for images, labels in zip(places[::2], places[1::2])]
    sizes = [x.shape[1:] for x, _ in pairs]
    if len(set(sizes)) > 1:
        raise BadInput(f"{shown(places[2])}: images of {sizes[1]} pixels, expected {sizes[0]} as in training")
    files = dict(zip(("train", "test"), places[1::2]))
    place = lambda split, i: f"{shown(files[split])} position {i}"  # noqa: E731
    flat = [(x.reshape(len(x), -1), y.astype(np.int64)) for x, y in pairs]
    return assembled(named(folder), shown(folder), seed, *flat, place=place, classes=classes, scale="together")


def read_pair(images: str, labels: str) -> tuple[Array, Array]:
    """Images (a, height, width) and their labels (a,), of two files. Raises BadInput."""
    x, y = read_idx(images, IMAGES), read_idx(labels, LABELS)
    if len(x) != len(y):
        expected = f"expected {len(x)}, the images in {os.path.basename(images)}"
        raise BadInput(f"{shown(labels)}: {len(y)} labels, {expected}")
    return x, y


def named(folder: str) -> str:
    """What the data in a folder are called: torchvision keeps those of MNIST in MNIST/raw."""
    parts = os.path.abspath(folder).split(os.sep)
    return parts[-2] if parts[-1] == "raw" and len(parts) > 2 else parts[-1]


def paths(folder: str) -> list[str]:
    """Where the files are: images and labels to train on, and those to test on if there are any.

    They are called as in `NAMES`, or with a dot before idx, or as EMNIST's are (emnist-letters-test-images-…); in the
    folder itself, or in the folder raw that torchvision makes. The plain file where there is a packed file too.
    Raises BadInput naming what is missing, or the data sets where there are several.
    """
    sets = {
        (place, prefix): files for place in (folder, *inside(folder)) for prefix, files in found_in(place).items()
    }
    if len(sets) > 1:
        which = ", ".join(f"{os.path.relpath(place, folder)}/{prefix}…" for place, prefix in sets)
        raise BadInput(f"{shown(folder)}: holds several data sets ({which:.160}), expected one: give each a folder")
    files = next(iter(sets.values()), {})
    needed = [
        name for name, key in zip(NAMES, ORDER) if key not in files and (key[0] == "train" or TEST & files.keys())
    ]
    if needed:
        raise BadInput(f"{shown(folder)}: holds no {', '.join(needed)} (plain or with .gz)")
    return [files[key] for key in ORDER if key in files]


def inside(folder: str) -> list[str]:
    """The folders in which torchvision keeps the files of a data set, or of several."""
    top = glob.escape(folder)
    return sorted(place for pattern in ("raw", "*/raw") for place in glob.glob(os.path.join(top, pattern)))


def found_in(folder: str) -> dict[str, dict[tuple[str, str], str]]:
    """{what their names begin with: {("train", "images"): path, …}} of the IDX files in a folder. Raises BadInput."""
    try:
        present = sorted(os.listdir(os.fsdecode(encoded(folder))), reverse=True)  # the plain file after the packed
    except OSError as error:
        raise BadInput(f"{shown(folder)}: cannot be read: {reason(error)}") from error
    sets: dict[str, dict] = {}
    for match in filter(None, map(FILE.fullmatch, present)):
        split = "train" if match["split"] == "train" else "test"
        sets.setdefault(match["prefix"], {})[split, match["kind"]] = os.path.join(folder, match[0])
    return sets


def read_idx(path: str, magic: int) -> Array:
    """The uint8 array of a file that must hold `magic`: LABELS (a,) or IMAGES (a, height, width).

    Raises BadInput, naming the file, for anything but exactly the bytes that the header declares.
    """
    with opened(path) as file:
        packed = file.peek(2)[:2] == b"\x1f\x8b"
        try:
            size = os.fstat(file.fileno()).st_size if packed else LIMIT
            return _parse(gzip.GzipFile(fileobj=file) if packed else file, magic, shown(path), size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadInput(f"{shown(path)}: damaged gzip, fetch the file again: {reason(error)}") from error


def write_idx(path: str, values: Array) -> None:
    """Write uint8 labels (a,) or images (a, height, width) as packed IDX.

    No time and no name go into it, so that the same values give the same bytes.
    """
    head = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    with open(path, "wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(head + values.astype(np.uint8, casting="safe").tobytes())


def _parse(stream: BinaryIO, magic: int, name: str, size: int) -> Array:
    """The array in a stream that was packed into `size` bytes."""
    got = int.from_bytes(_take(stream, 4))
    if got != magic:
        raise BadInput(
            f"{name}: magic 0x{got:08x} ({KINDS.get(got, 'unknown')}), expected 0x{magic:08x} ({KINDS[magic]})"
        )
    axes = magic & 0xFF
    head = _take(stream, 4 * axes)
    if len(head) < 4 * axes:
        raise BadInput(f"{name}: ends inside its header, fetch the file again")
    shape = struct.unpack(f">{axes}I", head)
    declared = math.prod(shape)
    if not 0 < declared <= LIMIT:
        raise BadInput(f"{name}: declares shape {shape}, {declared} bytes, expected 1 to {LIMIT}")
    small_enough(declared, size, name)
    data = _take(stream, declared + 1)  # at the true end this also makes gzip compare its checksum
    if len(data) != declared:
        got = "more" if len(data) > declared else len(data)
        raise BadInput(
            f"{name}: {got} bytes after the header, expected {declared} for shape {shape}: fetch the file again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _take(stream: BinaryIO, count: int) -> bytearray:
    """The next `count` bytes, or all there are; in pieces, so that a header that lies costs no memory."""
    data = bytearray()
    while len(data) < count and (piece := stream.read(min(PIECE, count - len(data)))):
        data += piece
    return data
