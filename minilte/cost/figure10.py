"""Figure 10 of the paper (arXiv 2402.16828): its numbers recomputed from its formulas, and what it leaves out.

Everything is in numbers of 16 bits, as there; not in bytes.
"""

from fractions import Fraction
from typing import NamedTuple

from minilte.cost.forms import FULL, LTE, Exchange, Model, a_step, coded
from minilte.cost.memory import full_memory, lte_memory

PAPER = Model(22_500_000, 7_700_000, 0, 32, 32, 10, Fraction(1, 4), size=2)  # Figure 10: 4 bits of 16, without scales
EIGHT = PAPER._replace(N=8, P=8)


class Printed(NamedTuple):
    """A printed number of the paper beside the value of its formula."""

    name: str
    printed: str
    computed: Fraction
    remark: str = ""


def numbers(model: Model, exchange: Exchange) -> Fraction:
    """Numbers of a step that all workers together send."""
    return a_step(model, exchange) / model.size


def rows() -> list[Printed]:
    """The printed numbers beside the values of their formulas."""
    samples = Fraction(14, 10) * Fraction(EIGHT.P, PAPER.P)  # 1.4 times as many, on 32 devices in place of 8
    return [
        Printed("memory, full rank: 3 M", "67.5M", full_memory(EIGHT).paper),
        Printed("memory, LTE: q M + 3 M_lte", "28.8M", lte_memory(PAPER, LTE["server"]).paper, "misprint for 28.7M"),
        Printed("a step, data parallel on 8, all to all", "1.26G", numbers(EIGHT, FULL["all-to-all"])),
        Printed("a step, data parallel on 32, all to all", "22.32G", numbers(PAPER, FULL["all-to-all"])),
        Printed("a step, LTE on 32, all-gather", "764M", numbers(PAPER, LTE["allgather"])),
        Printed("samples a device: 1.4 * 8 / 32", "1/3 less", samples, "misprint: 0.35 of them is 65 % less"),
    ]


def unsaid() -> dict[str, Fraction]:
    """A step of what the figure does not compare, and the memory that it does not count."""
    ring_of_8, low = numbers(EIGHT, FULL["ring"]), lte_memory(PAPER, LTE["allreduce"])
    return {
        "ring_of_8": ring_of_8,
        "ring_of_32": numbers(PAPER, FULL["ring"]),
        "lte_to_ring_of_8": numbers(PAPER, LTE["allgather"]) / ring_of_8,
        "server_of_32": numbers(PAPER, LTE["server"]),
        "gradients_full_rank": Fraction(full_memory(EIGHT).gradients),
        "gradients_lte": Fraction(low.gradients),
        "merged_factors_lte": Fraction(low.merged_factors),
        "scales_lte": coded("int4", PAPER.size)[1] * PAPER.M,
    }
