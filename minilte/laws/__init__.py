"""The theory of parallel low-rank training as executable laws.

    from minilte.laws import LAWS, try_law
    try_law(LAWS["L1"])

To see which laws your own merge rule breaks: `try_law(LAWS["L1"], variant=Variant(rule=my_rule))`.
"""

from minilte.laws import (  # noqa: F401  they register their laws
    basis,
    dense,
    equivalences,
    fast,
    full_rank,
    low_rank,
    merges,
    orthonormal,
    pairs,
    runs,
    steps,
    telescoping,
    tokens,
    wires,
)
from minilte.laws.law import Law, Verdict, in_order, try_law
from minilte.laws.world import Case, Variant, build

LAWS = in_order()
__all__ = ["LAWS", "Case", "Law", "Variant", "Verdict", "build", "try_law"]
