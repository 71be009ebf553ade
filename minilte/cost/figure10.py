"""Figure 10 of the paper (arXiv 2402.16828): its numbers recomputed from its formulas, and what they leave unsaid.

Everything is in numbers of 16 bits, as there; not in bytes.
"""

from fractions import Fraction
from typing import NamedTuple

from minilte.cost.forms import FULL, LTE, Model, a_step, coded, full_memory, lte_memory

PAPER = Model(22_500_000, 7_700_000, 0, 32, 32, 10, Fraction(1, 4), size=2)  # Figure 10: 4 bits of 16, without scales
EIGHT = PAPER._replace(N=8, P=8)


class Printed(NamedTuple):
    """A printed number of the paper beside the value of its formula."""

    name: str
    printed: str
    computed: Fraction
    remark: str = ""


def rows() -> list[Printed]:
    """The printed numbers beside the values of their formulas."""
    eight, many, all_to_all = EIGHT, PAPER, FULL["all-to-all"]
    samples = Fraction(14, 10) * Fraction(eight.P, many.P)  # 1.4 times as many, on 32 devices in place of 8
    return [
        Printed("memory, full rank: 3 M", "67.5M", full_memory(eight).paper),
        Printed("memory, LTE: q M + 3 M_lte", "28.8M", lte_memory(many, "server").paper, "misprint for 28.7M"),
        Printed("a step, data parallel on 8, all to all", "1.26G", a_step(eight, all_to_all) / eight.size),
        Printed("a step, data parallel on 32, all to all", "22.32G", a_step(many, all_to_all) / many.size),
        Printed("a step, LTE on 32, all-gather", "764M", a_step(many, LTE["allgather"]) / many.size),
        Printed("samples a device: 1.4 * 8 / 32", "1/3 less", samples, "misprint: 0.35 of them is 65 % less"),
    ]


def unsaid() -> dict[str, Fraction]:
    """A step of what the figure does not compare, and the memory that it does not count."""
    ring, lte, server = FULL["ring"], LTE["allgather"], LTE["server"]
    full, low = full_memory(EIGHT), lte_memory(PAPER, "allreduce")
    return {
        "ring_of_8": a_step(EIGHT, ring) / EIGHT.size,
        "ring_of_32": a_step(PAPER, ring) / PAPER.size,
        "lte_to_ring_of_8": a_step(PAPER, lte) / a_step(EIGHT, ring),
        "server_of_32": a_step(PAPER, server) / PAPER.size,
        "gradients_full_rank": Fraction(full.gradients),
        "gradients_lte": Fraction(low.gradients),
        "merged_factors_lte": Fraction(low.merged_factors),
        "scales_lte": coded("int4", PAPER.size)[1] * PAPER.M,
    }
