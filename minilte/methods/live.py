"""Adapters of which the first k rows of A and columns of B live; the others are zero, and no gradient moves them (law L7)."""

from minilte.core import tree
from minilte.core.types import Adapter


def rows(pair: Adapter, k: int) -> Adapter:
    """The rows that live, as a pair of rank k.    ((r,n),(m,r))->((k,n),(m,k))"""
    return Adapter(pair.A[:k], pair.B[:, :k])


def cut(pair: Adapter, k: int) -> Adapter:
    """The pair with zeros from row k on.    ((r,n),(m,r))->((r,n),(m,r))"""
    return padded(rows(pair, k), pair)


def padded(pair: Adapter, like: Adapter) -> Adapter:
    """The pair with rows of zeros up to the rank of `like`.    ((k,n),(m,k)),((r,n),(m,r))->((r,n),(m,r))"""
    k = len(pair.A)
    if k == len(like.A):
        return pair
    A, B = tree.zeros(like)
    A[:k], B[:, :k] = pair
    return Adapter(A, B)


def grown(pair: Adapter, fresh: Adapter, start: int, stop: int) -> Adapter:
    """The pair with fresh rows of A from `start` on, of which those from `stop` on are zero; B stays zero there."""
    if stop <= start:
        return pair
    A = pair.A.copy()
    A[start:stop] = fresh.A[start:stop]
    return Adapter(A, pair.B)
