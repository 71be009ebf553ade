"""Agreement: an error on one process becomes the same error on all, so that all leave together."""

from collections.abc import Callable

from minilte.core.errors import MinilteError, ProcessesDisagree


def alike(transport, mine: dict, what: str) -> None:
    """Raises ProcessesDisagree on every process where any has other values than process 0, naming the first that differs."""
    everyone = transport.objects(mine)
    for process, theirs in enumerate(everyone):
        for name, value in everyone[0].items():
            if theirs.get(name) != value:
                trouble = ProcessesDisagree(
                    f"process {process}: has {what} {name} {theirs.get(name)!r:.60}, process 0 has {value!r:.60}; start all processes alike"
                )
                trouble.agreed = True
                raise trouble


def agreed(transport, work: Callable):
    """work() on every process; if any raises a MinilteError, every process raises that of the first, marked `agreed`."""
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
