"""Agreement: either every process has its result, or every process raises the same error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm import threads
from minilte.comm.agree import agreed, alike
from minilte.core.errors import BadInput, DiskTrouble, ProcessesDisagree


def outcome(transport, work):
    try:
        return agreed(transport, work)
    except Exception as error:
        return error


@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_a_process_that_fails_fails_all_with_the_error_of_the_first(fails):
    def work_here(transport):
        def work():
            if fails[transport.process]:
                raise (BadInput, DiskTrouble)[transport.process % 2](f"process {transport.process}")
            return transport.process

        return outcome(transport, work)

    got = threads.run(len(fails), work_here)
    if not any(fails):
        assert got == list(range(len(fails)))
    else:
        first = fails.index(True)
        assert {(type(error), str(error), error.agreed) for error in got} == {
            ((BadInput, DiskTrouble)[first % 2], f"process {first}", True)
        }


def test_what_nobody_expected_is_not_agreed_on():
    def work_here(transport):
        def work():
            raise ZeroDivisionError("boom")

        agreed(transport, work)

    with pytest.raises(ZeroDivisionError):
        threads.run(1, work_here)


@given(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4))
def test_processes_that_hold_different_things_all_hear_of_the_first_that_differs(values):
    def work_here(transport):
        try:
            return alike(transport, {"same": 1, "kind": values[transport.process]}, "the")
        except ProcessesDisagree as trouble:
            return str(trouble), trouble.agreed

    odd = [n for n, value in enumerate(values) if value != values[0]]
    said = (
        f"process {odd[0]}: has the kind {values[odd[0]]!r}, process 0 has {values[0]!r}; start all processes alike"
        if odd
        else None
    )
    assert threads.run(len(values), work_here) == [(said, True) if odd else None] * len(values)
