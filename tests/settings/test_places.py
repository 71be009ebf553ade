"""Places: the one list of parts tells the truth about them."""

import importlib

import pytest

from minilte.settings.config import all_settings
from minilte.settings.given import MAY, OWN
from minilte.settings.part import every_part, knobs
from minilte.settings.places import PLACES


@pytest.mark.parametrize("place", PLACES)
def test_every_name_is_defined_by_the_module_beside_it(place):
    for cls, (name, module) in zip(every_part(place), PLACES[place].names.items(), strict=True):
        assert (cls.place, cls.name) == (place, name)
        assert importlib.import_module(f"minilte.{module}").__name__ == cls.__module__


@pytest.mark.parametrize("place", PLACES)
def test_a_place_has_a_choice_and_a_default_or_one_part(place):
    spec = PLACES[place]
    assert (spec.default in spec.names and spec.help) if spec.flag else list(spec.names) == [place]
    assert spec.other in ("", *spec.names) and OWN not in spec.names
    assert spec.title


def test_the_places_that_a_method_or_a_rule_may_bring_are_those_that_need_not_be_there():
    brought = {place for chooser in ("method", "rule") for cls in every_part(chooser) for place in cls.brings}
    assert brought == {place for place, spec in PLACES.items() if not spec.always}
    assert set(MAY) < PLACES.keys()


def test_no_flat_name_stands_for_two_things():
    flags = [spec.flag for spec in PLACES.values() if spec.flag]
    assert len(set(flags)) == len(flags)
    found = {}
    for place in PLACES:
        for cls in every_part(place):
            for name, knob in knobs(cls).items():
                assert name not in flags and name not in PLACES
                same = found.setdefault(name, knob)
                assert (knob.type, knob.metadata, knob.default) == (same.type, same.metadata, same.default)
    assert sorted(all_settings()) == sorted({*flags, *found})
