"""A row of the scoreboard, and how it is written."""

from typing import NamedTuple


class Row(NamedTuple):
    """A figure with its target; `met` is None where it could not be measured here."""

    what: str
    figure: str
    target: str
    met: bool | None
    seconds: float = 0.0
    notes: tuple[
        str, ...
    ] = ()  # one line each: what was seen where it should not have been, and where it was looked for


def none_of(what: str, seen: list[str], asked: int) -> Row:
    """A row whose target is that nothing is seen."""
    return Row(what, f"{len(seen)} of {asked}", "0", not seen, notes=tuple(seen))


def all_of(what: str, good: int, asked: int, notes: list[str]) -> Row:
    """A row whose target is that every one is good."""
    return Row(what, f"{good} of {asked}", "all", good == asked, notes=tuple(notes))


def below(what: str, value: float, limit: float, unit: str, troubles: list[str] | None = None) -> Row:
    """A row whose target is a limit; it is missed, too, where there was other trouble."""
    troubles = troubles or []
    return Row(
        what, f"{value:.2f} {unit}", f"< {limit:g} {unit}", value < limit and not troubles, 0.0, tuple(troubles)
    )


VERDICTS = {True: "met", False: "MISSED", None: "-"}
HEAD = f"{'what':72}{'figure':>16}  {'target':10}{'':8}{'seconds':>8}"


def line(row: Row) -> str:
    """A row of the table, and its notes below it."""
    seconds = f"{row.seconds:8.1f}" if row.seconds else ""
    first = f"{row.what:72}{row.figure:>16}  {row.target:10}{VERDICTS[row.met]:8}{seconds}".rstrip()
    return "\n".join([first, *(f"    {note}" for note in row.notes)])
