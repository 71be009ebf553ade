"""IDX, the format of MNIST and Fashion-MNIST: a magic number, the lengths of the axes, unsigned bytes.

    magic 0x00000803 (images) or 0x00000801 (labels), lengths as big-endian uint32, then a byte for each number

Packed with gzip or plain; the content decides, not the name. Never more than one byte beyond what the header
declares is unpacked.
"""

import gzip
import math
import os
import struct
import zlib
from typing import BinaryIO

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.data.dataset import Dataset, checked
from minilte.disk.files import LIMIT, encoded, opened, reason, shown, small_enough

LABELS, IMAGES = 0x801, 0x803  # the last byte of a magic is the number of axes
KINDS = {LABELS: "labels", IMAGES: "images"}
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
PIECE = 2**20  # bytes read at a time


def read_folder(folder: str, classes: int | None = None) -> Dataset:
    """The dataset of the four files in `NAMES`, each plain or with `.gz`; images as rows of uint8.

    `classes` defaults to the largest training label + 1, at least 2. Raises BadInput naming the file.
    """
    train_images, train_labels, test_images, test_labels = paths(folder)
    x_train, y_train = _pair(train_images, train_labels)
    x_test, y_test = _pair(test_images, test_labels)
    if x_test.shape[1:] != x_train.shape[1:]:
        raise BadInput(
            f"{shown(test_images)}: images of {x_test.shape[1:]} pixels, expected {x_train.shape[1:]} as in training"
        )
    classes = classes or max(2, int(y_train.max()) + 1)
    for path, labels in ((train_labels, y_train), (test_labels, y_test)):
        if labels.max() >= classes:
            first = int(np.argmax(labels >= classes))
            raise BadInput(f"{shown(path)}: label {labels[first]} at position {first}, expected 0 to {classes - 1}")
    name = os.path.basename(os.path.abspath(folder))
    return checked(Dataset(_flat(x_train), y_train, _flat(x_test), y_test, classes, name), shown(folder))


def paths(folder: str) -> list[str]:
    """Where the four files of `NAMES` are; the plain file where there is a packed file too.

    Raises BadInput naming the missing files.
    """
    try:
        present = set(os.listdir(os.fsdecode(encoded(folder))))
    except OSError as error:
        raise BadInput(f"{shown(folder)}: cannot be read: {reason(error)}") from error
    missing = [name for name in NAMES if not {name, f"{name}.gz"} & present]
    if missing:
        raise BadInput(f"{shown(folder)}: holds no {', '.join(missing)} (plain or with .gz)")
    return [os.path.join(folder, name if name in present else f"{name}.gz") for name in NAMES]


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


def _pair(images: str, labels: str) -> tuple[Array, Array]:
    """uint8 images (a, height, width) and int64 labels (a,) of two files that must agree on a."""
    x, y = read_idx(images, IMAGES), read_idx(labels, LABELS)
    if len(x) != len(y):
        raise BadInput(
            f"{shown(labels)}: {len(y)} labels, expected {len(x)}, the images in {os.path.basename(images)}"
        )
    return x, y.astype(np.int64)


def _flat(images: Array) -> Array:
    return images.reshape(len(images), -1)
