"""What decides a run beside its settings, by SHA-256: the arrays of its data, and the weights that it starts from."""

import hashlib
from collections.abc import Iterable

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.data.dataset import Dataset
from minilte.disk.files import sha256 as of_file
from minilte.disk.files import shown
from minilte.run.machine import plain
from minilte.settings.config import Config


def sums(config: Config, data: Dataset) -> dict[str, str]:
    """The SHA-256 of each input: of the data before they are standardised, which may round otherwise on another machine.

    Raises BadInput.
    """
    made = {"data": sha256(data)}
    return made | ({"init_from": of_file(config.init_from)} if config.init_from else {})


def sha256(data: Dataset) -> str:
    """SHA-256 over the arrays of a dataset in little-endian C order, and over what its classes are called."""
    digest = hashlib.sha256(repr((data.classes, [str(label) for label in data.labels], data.scale)).encode())
    for array in arrays(data):
        whole = np.ascontiguousarray(once(array), array.dtype.newbyteorder("<"))
        digest.update(f"{whole.dtype.str}{array.shape}".encode())
        digest.update(whole.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def arrays(data: Dataset) -> Iterable[Array]:
    """All arrays of a dataset."""
    rows = [data.x_train, data.y_train, data.x_test, data.y_test, data.x_valid, data.y_valid]
    return [array for array in (*rows, *(data.scaling or ())) if array is not None]


def once(array: Array) -> Array:
    """The array without the repeats of a broadcast axis, which take no memory and must not take time."""
    return array[tuple(slice(None) if stride else slice(1) for stride in array.strides)]


def refuse_others(config: Config, had: dict, found: dict[str, str]) -> None:
    """Raises BadInput for an input that is not what it was: the run would go on with other numbers, or end with them."""
    for name, now in found.items():
        if (before := had.get(name, now)) != now:
            place = config.flat()[name]
            raise BadInput(
                f"{name.replace('_', '-')} {shown(place)}: not what the run began with (SHA-256 {now[:12]}…, expected"
                f" {plain(before)[:12]}…); put that back, or begin anew"
            )
