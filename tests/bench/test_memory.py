"""The peak of memory is that of the work, though it has given everything back."""

import numpy as np
import pytest

from minilte.bench import memory

MiB = 2**20


@pytest.mark.skipif(not memory.Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
def test_the_peak_is_what_the_work_held_at_most_and_not_what_it_left():
    held = np.ones(20 * MiB, np.uint8)  # before: it does not count
    peak = memory.above(lambda: np.ones(64 * MiB, np.uint8).sum())
    assert 63 * MiB < peak < 80 * MiB
    assert memory.resident("VmRSS") >= held.nbytes  # in bytes
