"""Two runs share a key exactly if all that decides their numbers is the same: settings, data, files, own code, the machine."""

import functools
import subprocess
import sys
import types

import numpy as np
import pytest

import minilte
from minilte.compare.entrants import entry
from minilte.compare.keys import described, key
from minilte.compare.sources import Sources
from minilte.compare.trial import Trial
from minilte.core.lte import MEAN
from minilte.core.types import Rule
from minilte.disk.weights import write_weights
from minilte.rules.outer import outer
from minilte.run.build import build
from minilte.settings.config import Config

SHARED = dict(widths=(5,), batch=12, heads=3, rank=2, alpha=4.0, steps=7, merge_every=3, dtype="float64")


def trial(words, classes, **changes):
    config = Config.reading(SHARED | changes, **entry(words).settings)
    return Trial(config, *Sources(classes).of(config))


def test_equal_runs_have_one_key_and_whatever_decides_the_numbers_another(classes):
    same = key(trial("lte", classes))
    assert same == key(trial("lte", classes)) and len(same) == 32
    moved = classes._replace(x_train=classes.x_train + 1e-9)
    others = [
        trial("lte", classes, seed=1),
        trial("lte", classes, lr=0.5),
        trial("lte", classes, steps=8),
        trial("full", classes),
        trial("lte", moved),
        trial("lte", classes)._replace(own={"rule": MEAN}),
    ]
    keys = {key(other) for other in others}
    assert len(keys) == len(others) and same not in keys


def test_the_machine_is_part_of_the_key_as_far_as_bits_go(classes, monkeypatch):
    from minilte.compare import keys as module

    before = key(trial("lte", classes))
    machine = module.fingerprint(1, "Solo")
    monkeypatch.setattr(module, "fingerprint", lambda *_: machine | {"cores": 1000})
    assert key(trial("lte", classes)) == before
    monkeypatch.setattr(module, "fingerprint", lambda *_: machine | {"kernel": "another"})
    assert key(trial("lte", classes)) != before


def scaled(by):
    return lambda x: by * x


class Holder:
    def __init__(self, value):
        self.value = value


def test_parts_of_ones_own_are_told_apart_by_their_code_and_their_values():
    things = [
        scaled(2.0),
        scaled(3.0),
        lambda x: 2.0 + x,
        lambda x: 2.0 - x,
        lambda x, by=1.0: by * x,
        lambda x, by=2.0: by * x,
        lambda x, *, by=3.0: by * x,
        Holder(1),
        Holder(2),
        Rule(scaled(1.0), scaled(1.0)),
        Rule(scaled(1.0), scaled(2.0)),
        functools.partial(pow, 2),
        functools.partial(pow, 3),
        np.arange(3),
        np.arange(3.0),
        np.arange(4),
        {"a": 1},
        {"a": 2},
        lambda x: (lambda y: y + 1)(x),
        lambda x: (lambda y: y + 2)(x),
    ]
    assert len({described(thing) for thing in things}) == len(things)
    assert described(scaled(2.0)) == described(scaled(2.0))


def test_a_part_that_holds_itself_has_an_end():
    def loop(x):
        return loop(x)

    assert described(loop) == described(loop)


def test_a_release_has_keys_of_its_own(classes, monkeypatch):
    before = key(trial("lte", classes))
    monkeypatch.setattr(minilte, "__version__", "9.9")
    assert key(trial("lte", classes)) != before


def test_weights_to_start_from_count_by_what_they_are_not_by_their_name(classes, tmp_path):
    file = tmp_path / "start.safetensors"
    weights = build(trial("full", classes).config.holding(data=classes)).task.weights
    found = set()
    for size in (1.0, 2.0, 1.0):
        file.unlink(missing_ok=True)
        write_weights(file, {name: layer._replace(W=size * layer.W) for name, layer in weights.items()})
        found.add(key(trial("full", classes, init_from=str(file))))
    assert len(found) == 2


STRENGTH = 1.0


def helper(x):
    return x


def uses_them(x):
    return STRENGTH * helper(x)


@pytest.mark.parametrize("name, other", [("STRENGTH", 2.0), ("helper", lambda x: 2 * x)])
def test_globals_that_own_code_names_are_part_of_it(name, other, monkeypatch):
    before = described(uses_them)
    monkeypatch.setitem(globals(), name, other)
    assert described(uses_them) != before


class Scaler:
    def __init__(self, by):
        self.by = by

    def scale(self, x):
        return self.by * x


def other_class():
    def scale(self, x):
        return self.by + x

    return type("Scaler", (), {"scale": scale, "__init__": Scaler.__init__, "__module__": __name__})


def test_the_object_of_a_method_its_class_and_what_a_wrapper_wraps_are_part_of_it():
    assert described(Scaler(1).scale) != described(Scaler(2).scale)
    assert described(Scaler(1)) == described(Scaler(1)) != described(other_class()(1))
    one, two = (functools.lru_cache(scaled(by)) for by in (1.0, 2.0))
    assert described(one) != described(two)
    assert described(types.SimpleNamespace(a=1)) != described(types.SimpleNamespace(a=2))


def test_parts_of_the_package_are_told_apart_by_what_they_were_made_with():
    assert described(outer(0.5, 0.0)) == described(outer(0.5, 0.0)) != described(outer(0.6, 0.0))
    assert described(MEAN) != described(outer(1.0, 0.0))


def test_a_description_is_the_same_in_every_process():
    text = "from minilte.compare.keys import described\nprint(described(lambda x: x in {'a', 'b', 'c', 'd'}))"
    said = {
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
        for _ in range(4)
    }
    assert len(said) == 1
