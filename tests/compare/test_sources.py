"""The data of a ladder: read once, the same test rows at every seed, and no test row among those that are tuned on."""

import numpy as np
import pytest

from minilte.compare.sources import Sources
from minilte.data.dataset import prepared
from minilte.run.inputs import sha256
from minilte.settings.config import Config


@pytest.fixture
def file(tmp_path, classes):
    place = tmp_path / "mine.npz"
    np.savez(
        place,
        x=np.concatenate([classes.x_train, classes.x_test]),
        y=np.concatenate([classes.y_train, classes.y_test]),
    )
    return str(place)


def rows(array):
    return {row.tobytes() for row in array}


def test_a_file_holds_out_the_same_test_rows_at_every_seed_and_tuning_sees_none_of_them(file):
    sources = Sources()
    raw, _ = sources.raw(Config(data=file))
    for seed in (0, 1, 1000):
        data, _ = sources.of(Config(data=file, seed=seed, validate=20.0))
        back = lambda x: np.round(x * data.scaling.deviation + data.scaling.mean, 4)  # noqa: E731
        assert rows(back(data.x_test)) == rows(np.round(raw.x_test.astype(float), 4))
        tuned_on = rows(back(data.x_train)) | rows(back(data.x_valid))
        assert not tuned_on & rows(back(data.x_test))


def test_other_seeds_hold_out_other_rows_to_tune_on(classes):
    sources = Sources(classes)
    first, second = (sources.of(Config(seed=seed, validate=20.0))[0] for seed in (1000, 1001))
    assert len(first.x_valid) == len(second.x_valid) == 20 and rows(first.x_valid) != rows(second.x_valid)


def test_what_is_standardised_once_is_what_the_run_would_make(classes):
    config = Config(seed=3, validate=20.0, dtype="float64")
    data, source = Sources(classes).of(config)
    alone = prepared(classes, "float64", 3, 20.0)
    assert all(
        np.array_equal(a, b)
        for a, b in zip((data.x_train, data.x_valid, data.y_valid), (alone.x_train, alone.x_valid, alone.y_valid))
    )
    assert source == sha256(classes)


def test_data_are_read_and_standardised_once(classes, monkeypatch):
    sources = Sources(classes)
    assert sources.of(Config(seed=1))[0] is sources.of(Config(seed=2, lr=0.5))[0]
    assert sources.of(Config(seed=1, validate=20.0))[0] is not sources.of(Config(seed=2, validate=20.0))[0]


def test_a_problem_that_the_seed_draws_is_another_at_every_seed():
    sources, settings = (
        Sources(),
        dict(data="least-squares", model="linear", inputs=4, outputs=3, samples=32, batch=8),
    )
    (_, first), (_, second) = (sources.raw(Config(**settings, seed=seed)) for seed in (0, 1))
    assert first != second
