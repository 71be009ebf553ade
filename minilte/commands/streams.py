"""How every command speaks. What happens to a stream never changes the outcome: it may be closed, full, gone, or lack a letter."""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator


def say(line: str, to: str = "stdout") -> None:
    """A line on stdout or stderr, if that can take it; above the progress bars, which are drawn anew below it."""
    with between_bars():
        put(f"{line}\n", getattr(sys, to))


def put(text: str, stream) -> None:
    """Write the text, and send it off. What a stream cannot take is dropped."""
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:  # nothing of it was written
            stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
        stream.flush()
    except (OSError, ValueError, AttributeError):  # full or gone; closed; None, where the process began without it
        drop(stream)


def drop(stream) -> None:
    """Forget what a stream holds and cannot write: Python would try again at its end, and change the exit code."""
    with contextlib.suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as null:
        kept = os.dup(number := stream.fileno())
        try:
            os.dup2(null.fileno(), number)
            stream.flush()
        finally:
            os.dup2(kept, number)
            os.close(kept)


def settle() -> None:
    """Send off what other code wrote, or forget it."""
    for stream in (sys.stdout, sys.stderr):
        put("", stream)


def hold() -> None:
    """Open the standard streams that are closed, on nothing: the next file to be opened would take their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def write(values: dict, lines: Iterable[str], as_json: bool) -> None:
    """An outcome on stdout: its lines, or its values as JSON, where a number that is not finite is null."""
    if as_json:
        finite = json.loads(json.dumps(values), parse_constant=lambda name: None)
        lines = [json.dumps(finite, indent=2)]
    for line in lines:
        say(line)


def terminal() -> bool:
    """Does a person read stderr on a terminal?"""
    try:
        return sys.stderr.isatty()
    except (ValueError, AttributeError):
        return False


def bar(items: Iterable, unit: str, quiet: bool):
    """The items, with a progress bar on a terminal."""
    from tqdm import tqdm

    return tqdm(items, unit=unit, disable=quiet or not terminal(), leave=False)


@contextlib.contextmanager
def between_bars() -> Iterator[None]:
    """Progress bars are taken off the terminal inside the `with`, where there are any."""
    if "tqdm" not in sys.modules or not terminal():
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode():
        yield
