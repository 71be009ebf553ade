"""The pictures that several claims are measured on, read once."""

from functools import cache

from minilte.data.dataset import Dataset
from minilte.data.sources import load


@cache
def images() -> Dataset:
    """fashion-mini: 5,000 images to train on and 2,000 held out, the same at every seed."""
    return load("fashion-mini")
