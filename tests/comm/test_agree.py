"""Agreement: either every rank has its result, or every rank raises the same error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.core.errors import BadInput, DiskTrouble, RanksDisagree
from minilte.comm.agree import agreed, alike


def outcome(transport, work):
    try:
        return agreed(transport, work)
    except Exception as error:
        return error


@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_one_rank_that_fails_fails_all_with_the_error_of_the_first(fails):
    def rank(transport):
        def work():
            if fails[transport.rank]:
                raise (BadInput, DiskTrouble)[transport.rank % 2](f"rank {transport.rank}")
            return transport.rank

        return outcome(transport, work)

    got = threads.run(len(fails), rank)
    if not any(fails):
        assert got == list(range(len(fails)))
    else:
        first = fails.index(True)
        assert {(type(error), str(error), error.agreed) for error in got} == {
            ((BadInput, DiskTrouble)[first % 2], f"rank {first}", True)
        }


def test_what_nobody_expected_is_not_agreed_on():
    def rank(transport):
        def work():
            raise ZeroDivisionError("boom")

        agreed(transport, work)

    with pytest.raises(ZeroDivisionError):
        threads.run(1, rank)


@given(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4))
def test_ranks_that_hold_different_things_all_hear_of_the_first_that_differs(values):
    def rank(transport):
        try:
            return alike(transport, {"same": 1, "kind": values[transport.rank]}, "the")
        except RanksDisagree as trouble:
            return str(trouble), trouble.agreed

    odd = [n for n, value in enumerate(values) if value != values[0]]
    said = (
        f"rank {odd[0]}: has the kind {values[odd[0]]!r}, rank 0 has {values[0]!r}; start all ranks alike"
        if odd
        else None
    )
    assert threads.run(len(values), rank) == [(said, True) if odd else None] * len(values)
