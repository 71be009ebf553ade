"""Closed forms against counting one message at a time."""

from hypothesis import given
from hypothesis import strategies as st

from minilte.comm.traffic import all_to_all, ring

workers = st.integers(1, 20)


@given(workers, st.integers(1, 50))
def test_a_ring_passes_every_block_round_twice(n, blocks):
    numbers = n * blocks  # a ring needs equal blocks
    sent = sum(blocks for _ in ("add", "share") for _ in range(n - 1) for _ in range(n))
    assert ring(n, numbers) == sent


@given(workers, st.integers(1, 50))
def test_all_to_all_sends_the_vector_along_every_directed_pair(n, numbers):
    assert all_to_all(n, numbers) == sum(numbers for i in range(n) for j in range(n) if i != j)


def test_the_figures_of_the_paper():
    assert all_to_all(8, 22_500_000) == 1.26e9  # Figure 10
    assert all_to_all(32, 22_500_000) == 22.32e9
