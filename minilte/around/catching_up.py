"""A method on a late process, which takes no steps for a merge that is over already."""

from collections.abc import Callable

from minilte.core.method import Method


def catching_up(method: Method, behind: Callable[[], bool]) -> Method:
    """The method, its local steps left out while behind() says that the merge they are for is over."""

    def local(shown, head, start, stop):
        return head if behind() else method.local(shown, head, start, stop)

    def together(shown, heads, start, stop, each):
        return list(heads) if behind() else method.together(shown, heads, start, stop, each)

    return method._replace(local=local, together=together if method.together else None)
