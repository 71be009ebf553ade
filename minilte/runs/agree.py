"""Agreement: a trouble that one rank finds becomes the same error on all, so that all leave together."""

from collections.abc import Callable

from minilte.core.errors import MinilteError


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
