"""Agreement: a trouble that one rank finds becomes the same error on all, so that all leave together."""

from collections.abc import Callable

from minilte.core.errors import MinilteError, RanksDisagree


def alike(transport, mine: dict, what: str) -> None:
    """Raises RanksDisagree on every rank where one has other values than rank 0, naming the first that differs."""
    everyone = transport.objects(mine)
    for rank, theirs in enumerate(everyone):
        for name, value in everyone[0].items():
            if theirs.get(name) != value:
                trouble = RanksDisagree(
                    f"rank {rank}: has {what} {name} {theirs.get(name)!r:.60}, rank 0 has {value!r:.60}; start all ranks alike"
                )
                trouble.agreed = True
                raise trouble


def agreed(transport, work: Callable):
    """work() on every rank; if any raises a MinilteError, every rank raises the first one (by rank), marked `agreed`."""
    result = trouble = None
    try:
        result = work()
    except MinilteError as error:
        trouble = error
    first = next((error for error in transport.objects(trouble) if error is not None), None)
    if first is not None:
        first.agreed = True
        raise first
    return result
