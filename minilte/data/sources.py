"""Datasets by name or path. Everything is read from this machine; nothing is ever downloaded."""

import os
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.data.dataset import Dataset, prepared
from minilte.data.idx import paths, read_folder
from minilte.data.synthetic import LeastSquares
from minilte.data.tables import read_csv, read_npz
from minilte.disk.files import brief, encoded, sha256, shown
from minilte.settings.config import nearest
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
    drawn = False  # at random, in bits that depend on the machine

    def load(self, seed: int) -> Dataset:
        """The dataset, once every file is what it was at the release. Raises BadInput."""
        for name, expected in SHA256.items():
            if (got := sha256(MINI / name)) != expected:
                raise BadInput(f"{shown(MINI / name)}: sha256 {got}, expected {expected}: reinstall minilte")
        return read_folder(os.fspath(MINI), 10)._replace(name=self.name)


@part("data", "fashion-mnist")
class FashionMNIST:
    """60,000 + 10,000 images (Xiao et al. 2017), from this machine."""

    data_dir: str = knob("", "its folder; default $MINILTE_DATA if that is set, else where Debian puts it", path=True)

    named, drawn = True, False

    def load(self, seed: int) -> Dataset:
        """The dataset: from the folder that is named, else from Debian's. Raises BadInput."""
        places = {"data-dir": self.data_dir, "$MINILTE_DATA": os.environ.get("MINILTE_DATA"), "Debian's": DEBIAN}
        kind, place = next((kind, place) for kind, place in places.items() if place)
        try:
            paths(place)
        except BadInput as trouble:  # a place that is named and wrong is no reason to look elsewhere
            remedy = "name its folder, or leave that out and install Debian's package dataset-fashion-mnist"
            raise BadInput(f"fashion-mnist, {kind} {trouble}; {remedy}") from None
        said = f"fashion-mnist: of {kind} {shown(place)}"
        return read_folder(place, 10, seed)._replace(name=self.name, said=(said,))


@part("data", "file")
class File:
    """A folder of IDX files, an .npz or a .csv."""

    path: str = knob("", "where it is", hidden=True, path=True)
    target: str = knob("", "the column of a .csv that is the target: its name, or its number from 1")

    named = drawn = False

    def load(self, seed: int) -> Dataset:
        """The dataset. Raises BadInput."""
        if not os.path.exists(encoded(self.path)):
            near = nearest(self.path, KNOWN)
            raise BadInput(
                f"dataset {brief(self.path)}: no such name, folder or file{near}; expected one of {', '.join(KNOWN)}, or a path"
            )
        folder, suffix = os.path.isdir(self.path), os.path.splitext(self.path)[1].lower()
        reader = read_folder if folder else READERS.get(suffix)
        if self.target and reader is not read_csv:
            raise BadInput(f"target: {shown(self.path)} is no .csv, got {brief(self.target)}; leave it out")
        if reader:
            return reader(self.path, seed=seed, **({"target": self.target} if self.target else {}))
        raise BadInput(f"{shown(self.path)}: expected a folder of IDX files, an .npz or a .csv")


def load(
    name_or_path: str | os.PathLike,
    data_dir: str | None = None,
    seed: int = 0,
    dtype: str = "float32",
    target: str = "",
    validate: float = 0.0,
) -> Dataset:
    """The dataset of a name in `KNOWN`, or of a path: a folder of IDX files, an .npz or a .csv; as a run takes it.

    `data_dir` is where fashion-mnist is, `target` the column of a .csv, `validate` as in `prepared`. The seed draws the
    least-squares problem, and the rows that are held out. A path begins with ./ where its name is known. Raises BadInput
    for whatever cannot be read.
    """
    if dtype not in DTYPES:
        raise BadInput(f"dtype {dtype!r}, expected {' or '.join(DTYPES)}")
    name = os.fspath(name_or_path)
    known = {kind.name: kind for kind in (FashionMini(), FashionMNIST(data_dir=data_dir or ""), LeastSquares())}
    return prepared((known.get(name) or File(path=name, target=target)).load(seed), dtype, seed, validate)
