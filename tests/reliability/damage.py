"""Damaged checkpoints: a flipped bit or a missing end is refused in one line, or changes nothing."""

import random
from pathlib import Path

import tiny

from minilte.core.errors import BadInput
from minilte.job import checkpoint
from minilte.run.session import State, advance, first_state
from reliability import deaths, jobs
from reliability.rows import Row, none_of

FILES = ("state.safetensors", "manifest.json")
CONFIG = {"lr": 0.5, "widths": [3, 4]}


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of 10,000 flips and every length, or a sample of them."""
    return rows(10_000, None, seed) if full else rows(300, 60, seed)


def rows(flips: int, lengths: int | None, seed: int) -> list[Row]:
    """So many flips over both files, and so many lengths of each; None for all."""
    rng = random.Random(seed)
    with jobs.place() as place:
        session = tiny.session()
        *_, (_, state) = advance(session, first_state(session))
        path = checkpoint.save(place, state, CONFIG)
        flipped = [flip(path, state, rng) for _ in range(flips)]
        ends = [(name, end) for name in FILES for end in some(range((path / name).stat().st_size), lengths, rng)]
        cut = [
            with_bytes(path / name, state, (path / name).read_bytes()[:end], f"cut to {end}") for name, end in ends
        ]
    return [
        none_of("checkpoints with a flipped bit: accepted, or another error", [s for s in flipped if s], flips),
        none_of("checkpoints cut short: accepted, or another error", [s for s in cut if s], len(cut)),
    ]


def some(all_of_them: range, many: int | None, rng: random.Random) -> list[int]:
    """A sample, or all."""
    return list(all_of_them) if many is None else rng.sample(all_of_them, min(many, len(all_of_them)))


def flip(path: Path, state: State, rng: random.Random) -> str:
    """What is wrong after one bit of a file was turned over."""
    file = path / rng.choice(FILES)
    content = bytearray(file.read_bytes())
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    return with_bytes(file, state, bytes(content), f"bit {bit} turned over")


def with_bytes(file: Path, state: State, content: bytes, how: str) -> str:
    """What is wrong with the answer to a checkpoint with these bytes in one of its files; they are mended again."""
    good = file.read_bytes()
    file.write_bytes(content)
    try:
        got = checkpoint.load(file.parent, state.main, state.heads, CONFIG)
        return "" if deaths.same(got, state) else f"{file.name}, {how}: accepted"
    except BadInput as trouble:
        return "" if "\n" not in str(trouble) else f"{file.name}, {how}: more than one line"
    except Exception as trouble:
        return f"{file.name}, {how}: {type(trouble).__name__}: {trouble}"
    finally:
        file.write_bytes(good)
