"""Closed forms against counting one message at a time."""

from hypothesis import given
from hypothesis import strategies as st

from minilte.comm.blocks import block
from minilte.cost import traffic

workers = st.integers(1, 20)


@given(st.integers(0, 60), workers)
def test_slices_are_the_sizes_of_the_blocks(units, processes):
    sizes = traffic.slices(units, processes)
    assert sizes == [len(block(units, processes, process)) for process in range(processes)]
    assert sum(sizes) == units and sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1


@given(workers, st.integers(1, 50))
def test_a_ring_passes_every_block_round_twice(n, blocks):
    numbers = n * blocks  # a ring needs equal blocks
    sent = sum(blocks for _ in ("add", "share") for _ in range(n - 1) for _ in range(n))
    assert traffic.ring(n, numbers) == sent


@given(workers, st.integers(1, 50))
def test_all_to_all_sends_the_vector_along_every_directed_pair(n, numbers):
    assert traffic.all_to_all(n, numbers) == sum(numbers for i in range(n) for j in range(n) if i != j)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_all_gather_sends_what_each_has_along_every_directed_pair(sizes):
    pairs = [(i, j) for i in range(len(sizes)) for j in range(len(sizes)) if i != j]
    assert traffic.allgather(len(sizes), sum(sizes)) == sum(sizes[i] for i, _ in pairs)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(0, 40))
def test_a_sum_by_slices_sends_slices_to_their_adder_and_sums_to_all(heads, units):
    sizes = traffic.slices(units, len(heads))
    pairs = [(i, j) for i in range(len(heads)) for j in range(len(heads)) if i != j]
    assert traffic.sliced(heads, sizes) == sum(heads[i] * sizes[j] + sizes[i] for i, j in pairs)


@given(workers, st.integers(0, 50), st.integers(0, 50))
def test_a_server_takes_once_and_sends_to_every_other_process(processes, up, down):
    assert traffic.server(processes, up, down) == up + sum(down for process in range(processes) if process)


def test_the_figures_of_the_paper():
    assert traffic.all_to_all(8, 22_500_000) == 1.26e9  # Figure 10
    assert traffic.all_to_all(32, 22_500_000) == 22.32e9
