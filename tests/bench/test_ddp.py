"""Data parallel training in torch does the work of one step of LTE: the processes share its batch."""

import pytest

from minilte.bench import ddp
from minilte.bench.step import Size


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_processes_have_the_batch_of_the_step_together(processes):
    own = ddp.of_a_process(processes)
    assert processes * own.batch == Size().batch and own.heads == 1
    assert own._replace(batch=Size().batch, heads=Size().heads) == Size()
