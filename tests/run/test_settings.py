"""The settings of the run itself: when it is looked at and kept, and what a baseline cannot go with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.settings.config import Config


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_evaluations_and_checkpoints_are_at_least_a_step_apart(steps, every):
    config = Config(steps=steps, eval_every=every, save_every=every)
    assert config.run.eval_steps == (every or max(1, steps // 20))
    assert config.run.save_steps == (every or max(1, steps // 10))


def test_a_validation_is_of_a_number_of_rows_or_of_a_share():
    assert Config(validate=5000).validate == 5000.0 and Config(validate=0.1).validate == 0.1
    for odd in (1.5, -1, float("nan"), "5"):
        with pytest.raises(BadInput, match="^validate: expected a number"):
            Config(validate=odd)


def test_a_baseline_has_no_use_for_a_quorum():
    quorum = dict(topology="server", bad_heads="skip", quorum=2)
    assert Config(versus="full").versus == "full" and Config(**quorum).versus == "none"
    with pytest.raises(BadInput, match="^versus: expected none with a --quorum"):
        Config(**quorum, versus="full")
