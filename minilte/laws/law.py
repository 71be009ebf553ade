"""What a law is, and how to hold it against random cases."""

import math
import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Rule
from minilte.laws.exact import dense_path
from minilte.laws.world import Case, Variant, worst


class Law(NamedTuple):
    """A statement that can be tried: error(case, variant) must stay at or below `tolerance` for every case."""

    name: str  # as in "L1"
    title: str
    statement: str
    tolerance: float
    because: str  # why the tolerance is what it is
    proof: str
    cases: Callable[[], Any]  # () -> a hypothesis strategy
    error: Callable[[Any, Variant], float]


REGISTERED: dict[str, Law] = {}


def law(name: str, title: str, statement: str, cases: Callable[[], Any], tolerance: float, because: str):
    """Register a function (case, variant) -> error as a law; its docstring is the proof."""

    def register(error):
        REGISTERED[name] = Law(name, title, statement, tolerance, because, error.__doc__, cases, error)
        return error

    return register


def in_order() -> dict[str, Law]:
    """All laws by name: L1, L2, … L20, then those without a number."""

    def place(name):
        number = re.match(r"L(\d+)", name)
        return (0, int(number[1]), name) if number else (1, 0, name)

    return {name: REGISTERED[name] for name in sorted(REGISTERED, key=place)}


EXACT = "exact: the two sides are the same floating-point operations in the same order"


def diverges(case: Any) -> bool:
    """Does the exact dense method itself leave 1e6 in this case?"""
    return isinstance(case, Case) and not all(
        np.abs(W).max() < 1e6
        for layers in dense_path(case)
        for W, _ in layers  # false for NaN too
    )


class Verdict(NamedTuple):
    """What came of trying a law."""

    name: str
    statement: str
    examples: int
    worst_error: float
    tolerance: float
    holds: bool
    counterexample: str | None = None  # code to paste
    trouble: str | None = None  # the exception that the counterexample raises

    def __str__(self):
        """The verdict and its reason, in a line."""
        if self.holds:
            return f"{self.name} holds: none of {self.examples} cases broke it"
        why = f"it raises {self.trouble}" if self.trouble else f"error {self.worst_error:.1e} > {self.tolerance:.0e}"
        return f"{self.name} falls: {why}"


def try_law(
    tried: Law, examples: int = 20, seed: int = 0, variant: Variant = Variant(), shrink: bool = True
) -> Verdict:
    """Hold a law against `examples` random cases; `shrink` a case that breaks it.

    That a law holds is evidence, not proof: none of these cases broke it. Raises BadInput for a rule that is none.
    """
    if not isinstance(variant.rule, Rule):
        raise BadInput(
            f"variant: expected rule=Rule(init, merge), got {variant.rule!r:.60}; see minilte.core.types.Rule"
        )
    from hypothesis import HealthCheck, Phase, given, reject, settings
    from hypothesis import seed as seeded

    errors: list[float] = []
    broken: list = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink][: 1 + shrink],
        print_blob=False,
        report_multiple_bugs=False,
    )
    @seeded(seed + zlib.crc32(tried.name.encode()))  # or all laws would try the same cases
    @given(tried.cases())
    def attempt(case):
        try:
            error = worst([tried.error(case, variant)])
        except Exception as trouble:  # a rule on trial may raise anything
            broken[:] = [case, repr(trouble)]
            raise AssertionError from None
        if not math.isfinite(error) and diverges(case):
            reject()  # no law is about numbers that have left the range of float64
        errors.append(error)
        if error > tried.tolerance:
            broken[:] = [case, None]
            raise AssertionError

    try:
        attempt()
    except AssertionError:
        case, trouble = broken
        code = (
            "from minilte.laws import Case, LAWS, Variant\n"
            f"variant = {'Variant()' if variant == Variant() else 'Variant(rule)  # the rule on trial'}\n"
            f"LAWS[{tried.name!r}].error({case!r}, variant)"
        )
        found = False, code, trouble
    else:
        found = True, None, None
    return Verdict(tried.name, tried.statement, len(errors), worst(errors), tried.tolerance, *found)
