"""The arrays of an .npz file, read without trusting it.

`np.load` is not used: it allocates what an array's own header claims, and of a file that it cannot read it
advises `allow_pickle`. Here an array must be exactly as long as its header and the zip directory say, and
objects (pickles) are refused unread.
"""

import io
import math
import os
import warnings
import zipfile
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.disk.files import LIMIT, opened, reason, shown, small_enough

PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes; lzma may ask for undeclared memory
AXES = 64  # the most that an array of NumPy has
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def arrays(path: str, choices: tuple[set[str], ...], known: Callable[[str], str] = str) -> dict[str, Array]:
    """All arrays by name, once the names are one of `choices` and their declared sizes stay under `LIMIT`.

    `known(name)` is what an array is called here. Raises BadInput, naming the file and the array.
    """
    where = shown(path)
    with opened(path) as stream:
        members = _unpacked(stream, where, choices, known)
    return {known(name): _array(data, f"{where}: array {name}") for name, data in members.items()}


def _unpacked(
    stream: BinaryIO, where: str, choices: tuple[set[str], ...], known: Callable[[str], str]
) -> dict[str, bytes]:
    """The bytes of every member; `zipfile` compares their checksums."""
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            _admit_names([_name(m) for m in members], where, choices, known)
            _admit(members, os.fstat(stream.fileno()).st_size, where)
            # read(n): without a number, zipfile unpacks up to 2 GiB of a member that declares less
            return {_name(m): archive.open(m).read(m.file_size) for m in members}
    except (BadInput, OSError):
        raise
    except Exception as error:  # BadZipFile, zlib.error, and four built-in kinds in a fuzz
        raise BadInput(f"{where}: not an .npz file or damaged: {reason(error)}") from error


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _admit_names(names: list[str], where: str, choices: tuple[set[str], ...], known: Callable[[str], str]) -> None:
    found = [known(name) for name in names]
    if set(found) not in choices or len(set(found)) < len(found):
        expected = ", or ".join(" ".join(sorted(choice)) for choice in choices)
        advice = ": name them, np.savez(file, x=…, y=…)" if "arr_0" in names else ""
        raise BadInput(f"{where}: holds the arrays {names!r:.120}, expected {expected}{advice}")


def _admit(members: list[zipfile.ZipInfo], packed: int, where: str) -> None:
    """Refuse by the directory alone, before anything is unpacked."""
    declared = sum(m.file_size for m in members)
    if declared > LIMIT:
        raise BadInput(f"{where}: declares {declared} bytes, expected at most {LIMIT}")
    if any(m.compress_type not in PLAIN or m.flag_bits & 1 for m in members):
        raise BadInput(f"{where}: encrypted, or packed as NumPy never does: expected the output of np.savez")
    small_enough(declared, packed, where)


def _array(data: bytes, where: str) -> Array:
    """The array of an .npy file."""
    head = io.BytesIO(data)
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python 2, of odd escapes: read or refused, all the same
            shape, fortran, dtype = HEADERS[np.lib.format.read_magic(head)](head)
    except Exception as error:  # NumPy lets through what ast, tokenize and its own dtype parser raise
        raise BadInput(f"{where} has a header that NumPy cannot read: save it again with np.savez") from error
    if dtype.kind not in "biufU" or not dtype.itemsize:
        words = "expected integers, floats, or text (of words, np.array(words, str))"
        raise BadInput(f"{where} has dtype {dtype.name}, {words}: convert it first")
    start = head.tell()
    if min(shape, default=1) < 1 or len(data) - start != math.prod(shape) * dtype.itemsize:
        raise BadInput(
            f"{where} has {len(data) - start} bytes of data, its header claims shape {shape} of"
            f" {dtype.name}: expected the same, and not none"
        )
    if len(shape) > AXES or bool in map(type, shape):
        raise BadInput(f"{where} has shape {shape!r:.60}, expected at most {AXES} whole numbers")
    if dtype.kind == "U":
        _check_letters(np.frombuffer(data, dtype.str[0] + "u4", offset=start), where)
    return np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C")


def _check_letters(codes: Array, where: str) -> None:
    """Raises BadInput for text that Unicode does not have: NumPy would fail where it is first looked at."""
    if (bad := np.flatnonzero((codes > 0x10FFFF) | ((0xD800 <= codes) & (codes < 0xE000)))).size:
        raise BadInput(f"{where} holds 0x{codes[bad[0]]:x} for a letter, expected Unicode: save it again")
