"""How a ladder is climbed: what is equal, over which seeds and grids, and what is to be matched."""

from minilte.core.errors import BadInput
from minilte.settings.knob import knob, of_knobs

EQUAL = ("samples", "bytes", "memory")
CRITERIA = ("valid_loss", "valid_accuracy", "train_loss")
TUNING = 1000  # the first of the seeds that are tuned on


@of_knobs
class Rules:
    """How a ladder is climbed."""

    equal: str = knob("samples", "what all use as much of: the thriftiest sets the budget", choices=EQUAL)
    seeds: int = knob(5, "seeds 0, 1, … that are measured", least=2, most=TUNING)
    tune_seeds: int = knob(2, f"seeds {TUNING}, {TUNING + 1}, … that are tuned on", least=1, most=TUNING)
    by: str = knob("valid_loss", "what the best of a grid is best in", choices=CRITERIA)
    rates: tuple[float, ...] = knob(
        (), "learning rates a grid begins with; default the usual of the optimizer", above=0.0
    )
    decays: tuple[float, ...] = knob((0.0, 0.1), "weight decays that it begins with", least=0.0)
    match: str = knob("", "an entry: how many samples do the others need to reach what it reaches?")
    mbit: float = knob(100.0, "Mbit/s of the link that each worker has for itself, up and down", above=0.0)

    def check(self):
        for name in ("rates", "decays"):
            if len(set(values := getattr(self, name))) < len(values):
                raise BadInput(f"{name}: expected different values, got {','.join(f'{value:g}' for value in values)}")

    @property
    def axes(self) -> dict[str, list[float]]:
        """The grid of whatever sets nothing else; an empty axis is the optimizer's own."""
        return {"lr": list(self.rates), "weight_decay": list(self.decays)}
