"""Orders among methods that others have found come out here too: on the images of the package, and on the full set where it is."""

import pytest

import minilte as ml
from minilte.core.errors import BadInput

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def training_loss(**settings):
    return ml.fit(ml.Config(eval_every=settings["steps"], **settings)).records[-1].train_loss


@pytest.fixture
def full_set():
    """Fashion-MNIST whole, from $MINILTE_DATA or Debian's package."""
    config = ml.Config(data="fashion-mnist", steps=1000)
    try:
        config.data.load(0)
    except BadInput as missing:
        pytest.skip(str(missing))
    return dict(data="fashion-mnist", steps=1000)


def test_orthonormalised_steps_are_far_ahead_of_adam_in_training_loss():  # Jordan et al. 2024
    adam = min(training_loss(method="full", steps=100, lr=lr) for lr in (2e-3, 4e-3, 8e-3))
    assert training_loss(method="full", steps=100, optimizer="muon", lr=0.02) < 0.6 * adam


def test_so_they_are_on_the_full_set(full_set):
    adam = min(training_loss(method="full", lr=lr, **full_set) for lr in (4e-3, 8e-3))
    assert training_loss(method="full", optimizer="muon", lr=0.02, **full_set) < 0.1 * adam


def test_an_outer_nesterov_step_is_ahead_of_plain_averaging(full_set):  # Douillard et al. 2023
    plain = min(training_loss(method="fedavg", lr=lr, **full_set) for lr in (2e-3, 4e-3))
    assert training_loss(method="diloco", lr=2e-3, **full_set) < 0.95 * plain
