"""How fashion-mini was cut out of Fashion-MNIST: the first images of each class, in their original order.

    python -m minilte.data.cut_fashion_mini SOURCE_FOLDER OUT_FOLDER

500 training and 200 test images of each of the ten classes. Running it again gives the same bytes (zlib's own
version permitting).
"""

import argparse
import os

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.data.idx import IMAGES, LABELS, NAMES, paths, read_idx, write_idx

CLASSES, TRAIN, TEST = 10, 500, 200


def cut(source: str, out: str) -> None:
    """Write the four packed files of the small set into the folder `out`. Raises BadInput."""
    places, names = paths(source), [os.path.join(out, f"{name}.gz") for name in NAMES]
    os.makedirs(out, exist_ok=True)
    for i, count in ((0, TRAIN), (2, TEST)):
        images, labels = read_idx(places[i], IMAGES), read_idx(places[i + 1], LABELS)
        rows = first_of_each(labels, count)
        write_idx(names[i], images[rows])
        write_idx(names[i + 1], labels[rows])


def first_of_each(labels: Array, count: int) -> Array:
    """Positions, in order, of the first `count` samples of every class. Raises BadInput if a class has fewer."""
    found = [np.flatnonzero(labels == c)[:count] for c in range(CLASSES)]
    short = [c for c, rows in enumerate(found) if len(rows) < count]
    if short:
        raise BadInput(f"class {short[0]} has {len(found[short[0]])} samples, expected at least {count}")
    return np.sort(np.concatenate(found))


def main() -> None:
    """The command: two folders; a line of error and code 2 for a bad source."""
    parser = argparse.ArgumentParser(
        prog="python -m minilte.data.cut_fashion_mini",
        allow_abbrev=False,
        description="Cut fashion-mini out of the full Fashion-MNIST.",
    )
    parser.add_argument("source", help="folder of the four full IDX files")
    parser.add_argument("out", help="folder to write the four small files to")
    options = parser.parse_args()
    try:
        cut(options.source, options.out)
    except BadInput as error:
        parser.exit(error.code, f"minilte: error: {error}\n")


if __name__ == "__main__":
    main()
