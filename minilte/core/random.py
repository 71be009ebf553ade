"""Random streams keyed by purpose, so that nothing depends on which process draws first.

A stream is `Philox(SeedSequence(seed, spawn_key=(purpose, a, b)))`. The key always has three words:
`SeedSequence((5, 7, 0))` equals `SeedSequence((5, 7))`, so keys of varying length could collide.
"""

import zlib

import numpy as np

NUMBERED = ("weights", "adapter", "batch", "split", "synthetic", "noise", "check", "rounding")


def stream(seed: int, purpose: str, a: int = 0, b: int = 0) -> np.random.Generator:
    """The generator of (seed, purpose, a, b), a and b usually head and step.

    Any word is a purpose: the first eight have numbers of their own, every other one the CRC of its letters.
    """
    number = NUMBERED.index(purpose) if purpose in NUMBERED else len(NUMBERED) + zlib.crc32(purpose.encode())
    key = (number, a, b)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
