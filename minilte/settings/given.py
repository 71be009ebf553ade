"""Parts that the calling program makes itself, where else a name chooses a part."""

from typing import Any, NamedTuple

from minilte.core.errors import BadInput
from minilte.core.method import Method
from minilte.disk.files import brief
from minilte.settings.places import PLACES

OWN = "own"  # what stands for such a part in a file
MAY = ("data", "network", "method", "rule", "schedule")  # the places that a program may fill itself


class Given(NamedTuple):
    """A part that a program made: a data set, a network, a method, a rule, a schedule. From a file it comes empty."""

    place: str
    thing: Any = None

    name = OWN
    needs = frozenset()
    brings = ()
    named = drawn = False
    __dataclass_fields__ = {}  # it has no knobs

    @property
    def gives(self):
        """A method that a program made is trusted to fit the parts around it."""
        return frozenset({"sums", "factors", "no reset"} if self.place == "method" else ())

    def build(self, *of):
        """What was given; of a function of the task and the settings, the Method it returns. Raises BadInput."""
        if self.thing is None:
            flag = PLACES[self.place].flag.replace("_", "-")
            raise BadInput(f"{flag}: this run has one of its own, which the program that made it must give again")
        if self.place != "method":
            return self.thing
        if not isinstance(made := self.thing(*of), Method):
            raise BadInput(f"method: expected a function of (task, config) that returns a Method, got {brief(made)}")
        return made

    def check_with(self, config) -> None:
        """It fits whatever it was given for."""

    def load(self, *_):
        """The same for a data set."""
        return self.build()
