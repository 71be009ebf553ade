"""What all entries may use as much of: samples, bytes sent, or memory of a worker."""

from collections.abc import Callable, Sequence

from minilte.compare.entrants import Entrant
from minilte.compare.trial import Trial, forecast
from minilte.core.errors import BadInput
from minilte.cost.units import human
from minilte.data.dataset import Dataset, blank

RANKS = ("rank", "project_rank", "basis_rank")  # the knobs that say how much of a matrix a worker trains


def equal(entrants: Sequence[Entrant], of: str, data: Dataset) -> list[Entrant]:
    """The entrants with as much of it each. The thriftiest of them, as it is, sets the budget.

    samples: all take `steps` steps. bytes: those that send more a step take fewer steps. memory: those that hold more
    take a lower rank, at the same alpha / rank; who has no rank, or holds too much at rank 1, cannot take part.
    """
    if of == "samples":
        return list(entrants)
    rows = blank(data.inputs, data.outputs, data.classes, len(data.x_train), "float32", data.name)
    costs = [forecast(Trial(each.config, rows, "", each.own)) for each in entrants]
    if of == "bytes":
        budget = min((cost.bytes[-1] for cost in costs if cost.bytes[-1] and not cost.changing), default=0)
        return [shorter(each, cost, budget) for each, cost in zip(entrants, costs)]
    budget = min(cost.memory for cost in costs)
    return [smaller(each, cost.memory, budget, rows) for each, cost in zip(entrants, costs)]


def shorter(entrant: Entrant, cost, budget: int) -> Entrant:
    """The entrant with as many whole rounds as the bytes allow."""
    if cost.changing:
        return entrant._replace(out="what it sends changes with its ranks, which nobody knows before")
    within = {step: sent for step, sent in zip(cost.steps, cost.bytes) if sent <= budget or not sent}
    steps = max(within, default=0)
    if steps == entrant.config.steps:
        return entrant
    if not steps:
        return entrant._replace(out=f"its first merge alone sends {human(cost.bytes[0])} of {human(budget)}")
    note = f"{steps:,} steps, which send {human(within[steps])} of {human(budget)}"
    return entrant._replace(config=entrant.config.replace(steps=steps), note=note)


def smaller(entrant: Entrant, memory: int, budget: int, rows: Dataset) -> Entrant:
    """The entrant at the largest rank with which a worker holds no more than the budget."""
    if memory <= budget:
        return entrant
    holds = f"a worker holds {human(memory)} of {human(budget)}"
    had = entrant.config.flat()
    if had.get("head_ranks"):
        return entrant._replace(out=f"{holds}, and its ranks are set head by head")
    if not (knobs := [knob for knob in RANKS if knob in had]):
        return entrant._replace(out=f"{holds}, and it has no rank to lower")

    def fits(rank: int) -> bool:
        try:
            smaller = of_rank(entrant, knobs[0], rank)
        except BadInput:  # another setting asks for more, as a rank to grow to
            return False
        return forecast(Trial(smaller.config, rows, "", entrant.own)).memory <= budget

    rank = largest(fits, had[knobs[0]])
    if not rank:
        return entrant._replace(out=f"{holds}, even at rank 1")
    note = f"rank {rank}, with which a worker holds at most {human(budget)}"
    return of_rank(entrant, knobs[0], rank)._replace(note=note)


def of_rank(entrant: Entrant, knob: str, rank: int) -> Entrant:
    """The entrant at another rank, and the same alpha / rank where it has one."""
    config, changes = entrant.config, {knob: rank}
    if knob == "rank" and "alpha" in config.flat():
        changes["alpha"] = config.alpha * rank / config.rank
    return entrant._replace(config=config.replace(**changes))


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number below `most` that fits, if all below it do too; 0 where none does."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
