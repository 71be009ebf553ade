"""The machine: one BLAS thread while numbers are made, and a fingerprint that tells when bits may differ."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.run import machine
from minilte.run.machine import SAME_BITS, changed, cores, fingerprint, one_blas_thread


def blas_threads():
    """Of NumPy's BLAS; SciPy brings one of its own, which nothing here uses."""
    return {pool["num_threads"] for pool in machine._controller().info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_inside_and_as_many_as_before_outside():
    before = blas_threads()
    with one_blas_thread():
        assert blas_threads() <= {1}
    assert blas_threads() == before


def test_blas_has_its_threads_back_after_an_error():
    before = blas_threads()
    with pytest.raises(ValueError), one_blas_thread():
        raise ValueError
    assert blas_threads() == before


def test_blas_has_one_thread_until_the_last_of_many_python_threads_is_out():
    before, seen = blas_threads(), []

    def visit(i):
        for _ in range(20):
            with one_blas_thread():
                time.sleep(0.0001 * (i % 3))
                seen.append(blas_threads())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(visit, range(4)))
    assert len(seen) == 80 and all(threads <= {1} for threads in seen) and blas_threads() == before


def test_a_process_has_at_least_one_core():
    assert cores() >= 1


def test_the_fingerprint_is_the_same_twice_and_survives_json():
    now = fingerprint(3, "MPIProcess")
    assert json.loads(json.dumps(now)) == fingerprint(3, "MPIProcess")
    assert (now["numpy"], now["processes"], now["blas_threads"]) == (np.__version__, 3, 1)


@given(st.sets(st.sampled_from(sorted(fingerprint(1, "Solo")))))
def test_a_change_is_told_exactly_where_bits_may_differ(keys):
    now = fingerprint(1, "Solo")
    before = now | dict.fromkeys(keys, "other")
    assert changed(before, now) == [f"{key} other -> {now[key]}" for key in SAME_BITS if key in keys]


def test_what_an_old_fingerprint_does_not_say_has_changed():
    assert len(changed({}, fingerprint(1, "Solo"))) == len(SAME_BITS)
