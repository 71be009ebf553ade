"""The kinds of things that a caller may give a run in the place of its own parts."""

from minilte.core.errors import BadInput
from minilte.core.networks import Network
from minilte.core.types import Rule
from minilte.data.dataset import Dataset
from minilte.disk.files import brief

KINDS = {  # what may be given -> what is expected, and its check
    "data": ("a Dataset (a file: data of Config)", lambda thing: isinstance(thing, Dataset)),
    "rule": ("a Rule(init, merge); see minilte.core.types.Rule", lambda thing: isinstance(thing, Rule)),
    "method": (
        "a function of (task, config) that returns a Method",
        lambda thing: callable(thing) and not isinstance(thing, type),
    ),
    "schedule": ("a function of the step that returns a rate", callable),
    "net": ("a Network; see minilte.core.networks", lambda thing: isinstance(thing, Network)),
}


def refuse_other_kinds(own: dict) -> None:
    """Raises BadInput for a thing that is not what its name says; None is no thing."""
    for name, thing in own.items():
        words, fits = KINDS[name]
        if thing is not None and not fits(thing):
            raise BadInput(f"{name}: expected {words}, got {brief(thing)}")
