"""Parts that the calling program makes itself, where else a name chooses a part."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minilte.core import networks
from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.core.networks import Network
from minilte.core.types import Task
from minilte.disk.files import brief, reason
from minilte.settings.places import PLACES

OWN = "own"  # what stands for such a part in a file
MAY = ("data", "network", "method", "rule", "schedule")  # the places that a program may fill itself


class Given(NamedTuple):
    """A part that a program made: a data set, a network, a method, a rule, a schedule. From a file it comes empty."""

    place: str
    thing: Any = None

    name = OWN
    brings, because, usual, rates = (), "", {}, ()
    named = drawn = False
    __dataclass_fields__ = {}  # it has no knobs

    @property
    def needs(self):
        """A rule merges what every head sends; where sums travel, it would not be asked."""
        return frozenset({"each"} if self.place == "rule" else ())

    @property
    def gives(self):
        """A method that a program made is trusted to fit the parts around it."""
        return frozenset({"sums", "factors", "no reset", "reset"} if self.place == "method" else ())

    def build(self, *of):
        """What was given, held to what it is built of. Raises BadInput."""
        if self.thing is None:
            flag = PLACES[self.place].flag.replace("_", "-")
            raise BadInput(f"{flag}: this run has one of its own, which the program that made it must give again")
        return BUILD[self.place](self.thing, *of) if self.place in BUILD else self.thing

    def check_with(self, config) -> None:
        """It fits whatever it was given for."""

    def load(self, *_):
        """The same for a data set."""
        return self.build()


def made(function: Callable, task: Task, config) -> Method:
    """The Method that the function returns. Raises BadInput."""
    if not isinstance(method := function(task, config), Method):
        raise BadInput(f"method: expected a function of (task, config) that returns a Method, got {brief(method)}")
    return method


def fitting(net: Network, inputs: int, outputs: int, loss: str) -> Network:
    """The network, if it takes and gives rows of these widths and has this loss. Raises BadInput."""
    if net.loss != loss:
        raise BadInput(f"net: its loss is {net.loss}, the data need {loss}: labels cross-entropy, else squared-error")
    try:
        y, _ = networks.forward(net, networks.blank_weights(net), np.zeros((1, inputs), "float32"))
    except ValueError as trouble:
        raise BadInput(f"net: takes no rows of {inputs} numbers, as the data have ({reason(trouble):.80})") from None
    if y.shape != (1, outputs):
        raise BadInput(f"net: gives {y.shape[-1]} numbers a row, expected {outputs}, as the data have")
    return net


BUILD = {"method": made, "network": fitting}  # place -> what makes the part out of what was given
