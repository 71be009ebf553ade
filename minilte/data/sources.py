"""Datasets by name or path. Everything is read from this machine; nothing is ever downloaded."""

import hashlib
import os
from difflib import get_close_matches
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.data.dataset import Dataset, cast, standardise
from minilte.data.idx import NAMES, read_folder
from minilte.data.synthetic import least_squares
from minilte.data.tables import read_csv, read_npz
from minilte.disk.files import opened, shown
from minilte.settings.knob import knob
from minilte.settings.part import part

KNOWN = ("fashion-mini", "fashion-mnist", "least-squares")
READERS = {".npz": read_npz, ".csv": read_csv}
DTYPES = ("float32", "float64")
DEBIAN = "/usr/share/datasets/fashion-mnist"  # of its package dataset-fashion-mnist
MINI = Path(__file__).parent / "fashion_mini"
SHA256 = {
    "train-images-idx3-ubyte.gz": "b240910d2f9a3dad10993db98ccd0cce3dd9149f4e70b24a0b03b57d41908dae",
    "train-labels-idx1-ubyte.gz": "ae0d767c2f6dbbdea3abe9cbf56dacf5c2069a5513b4a9e0ff10b1923bc33661",
    "t10k-images-idx3-ubyte.gz": "e60ede7714c657ced2d723c33140572b5476b46df34b385a6e176b0757dc4318",
    "t10k-labels-idx1-ubyte.gz": "e6d25f5f3e85bb315a10172898c1c8f69ce52c4f9306c5821205c821bfca8847",
}


@part("data", "fashion-mini")
class FashionMini:
    """5,000 + 2,000 images of Fashion-MNIST, shipped with the package."""

    named = True  # known by name, so no note on what it was taken for

    def load(self, seed: int, dtype: str) -> Dataset:
        """The dataset. Raises BadInput."""
        return load("fashion-mini", None, seed, dtype)


@part("data", "fashion-mnist")
class FashionMNIST:
    """60,000 + 10,000 images (Xiao et al. 2017), from this machine."""

    data_dir: str = knob("", "its folder; default $MINILTE_DATA, then where Debian puts it")

    named = True

    def load(self, seed: int, dtype: str) -> Dataset:
        """The dataset. Raises BadInput."""
        return load("fashion-mnist", self.data_dir or None, seed, dtype)


@part("data", "file")
class File:
    """A folder of IDX files, an .npz or a .csv."""

    path: str = knob("", "where it is", hidden=True)

    named = False

    def load(self, seed: int, dtype: str) -> Dataset:
        """The dataset. Raises BadInput."""
        return load(self.path, None, seed, dtype)


def load(
    name_or_path: str, data_dir: str | None = None, seed: int = 0, dtype: str = "float32", **least_squares_options
) -> Dataset:
    """The dataset, checked, standardised and in floats of `dtype`.

        fashion-mini    5,000 + 2,000 images of Fashion-MNIST, shipped with the package
        fashion-mnist   60,000 + 10,000, from `data_dir`, else $MINILTE_DATA, else where Debian puts it
        least-squares   drawn by the seed; takes the options of `synthetic.least_squares`
        a path          a folder of IDX files, an .npz or a .csv; ./fashion-mini is a path

    The seed draws the least-squares problem, and the test rows of a table that has none.
    Least squares is not standardised: law L6 needs E x x^T = I as drawn, and a deviation measured on the
    training set differs from 1. Raises BadInput for whatever cannot be read.
    """
    if dtype not in DTYPES:
        raise BadInput(f"dtype {dtype!r}, expected {' or '.join(DTYPES)}")
    if name_or_path == "least-squares":
        return cast(least_squares(seed, **_known_options(least_squares_options)), dtype)
    if least_squares_options:
        raise BadInput(
            f"dataset {shown(name_or_path)}: got {', '.join(least_squares_options)}, expected no"
            " such options: they belong to least-squares"
        )
    images = name_or_path in KNOWN or os.path.isdir(name_or_path)
    return standardise(_read(os.fspath(name_or_path), data_dir, seed), dtype, together=images)


def _read(name: str, data_dir: str | None, seed: int) -> Dataset:
    if name == "fashion-mini":
        return _fashion_mini()
    if name == "fashion-mnist":
        return read_folder(_fashion_mnist(data_dir), classes=10)._replace(name=name)
    if os.path.isdir(name):
        return read_folder(name)
    reader = READERS.get(os.path.splitext(name)[1].lower())
    if reader is not None:
        return reader(name, seed)
    if os.path.exists(name):
        raise BadInput(f"{shown(name)}: expected a folder of IDX files, an .npz or a .csv")
    raise BadInput(f"dataset {name!r}: no such name, folder or file, {_instead(name, KNOWN)}, or a path")


def _fashion_mini() -> Dataset:
    """The packaged images, once every file is what it was at the release."""
    for name, expected in SHA256.items():
        with opened(MINI / name) as stream:
            got = hashlib.file_digest(stream, "sha256").hexdigest()
        if got != expected:
            raise BadInput(f"{shown(MINI / name)}: sha256 {got}, expected {expected}: reinstall minilte")
    return read_folder(str(MINI), classes=10)._replace(name="fashion-mini")


def _fashion_mnist(data_dir: str | None) -> str:
    """The first of the three places that holds any of the four files."""
    places = {"data dir": data_dir, "$MINILTE_DATA": os.environ.get("MINILTE_DATA"), "Debian's": DEBIAN}
    for place in filter(None, places.values()):
        if any(os.path.exists(os.path.join(place, name + end)) for name in NAMES for end in ("", ".gz")):
            return place
    tried = ", ".join(f"{kind} {shown(place) if place else '(not set)'}" for kind, place in places.items())
    raise BadInput(f"fashion-mnist: no IDX files in {tried}: install Debian's package dataset-fashion-mnist")


def _known_options(options: dict) -> dict:
    known = tuple(least_squares.__kwdefaults__)
    for name in options:
        if name not in known:
            raise BadInput(f"least-squares: no option {name!r}, {_instead(name, known)}")
    return options


def _instead(name: str, known: tuple[str, ...]) -> str:
    """What to write in place of an unknown name."""
    near = get_close_matches(name, known, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"expected one of {', '.join(known)}"
