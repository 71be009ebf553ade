"""The jagged schedule of ReLoRA: a rate that climbs anew after every restart (Lialin et al. 2023, section 3)."""

from collections.abc import Callable


def jagged(rate: Callable[[int], float], every: int, climb: int, warm: int) -> Callable[[int], float]:
    """The rate of a run that climbs to it anew after every merge, and after a warm start."""
    climb = max(1, min(climb, every))

    def at(step):
        since = step - warm
        return rate(step) * (min(1.0, (since % every + 1) / climb) if since >= (0 if warm else every) else 1.0)

    return at
