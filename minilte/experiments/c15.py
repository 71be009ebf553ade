"""C15: memory and traffic are those of the formulas behind Figure 10; 4-bit weights cost about 20 % of time.

Bytes are counted in runs whose sizes the seed draws, with a head on every process. Time is the processor's, not the
clock's, so that other load on the machine counts less; the two runs of a seed alternate, round by round. "About 20 %"
is taken to be 10 to 30. Figure 10 itself has no seed: its rows are arithmetic.
"""

import time

from minilte.cost import figure10
from minilte.experiments import counting
from minilte.experiments.claim import Prediction, claim
from minilte.experiments.images import images
from minilte.experiments.runs import records
from minilte.settings.config import Config

TIMED = Config(widths=(256,), heads=2, rank=8, alpha=256.0, merge_every=5, batch=1024, steps=30, eval_every=30)
UNITS = {"M": 10**6, "G": 10**9}


def slower(config: Config, other: Config, counted: int = 4) -> float:
    """Processor time of a run's rounds over that of another; the runs alternate, and their first rounds are left out."""
    runs = [records(each, images()) for each in (config, other)]
    spent = [0.0, 0.0]
    for turn in range(counted + 2):  # the start, a round to come to speed, and those that count
        for i, run in enumerate(runs):
            begun = time.process_time()
            next(run)
            spent[i] += (time.process_time() - begun) * (turn >= 2)
    return spent[0] / spent[1]


def last_digits_off(row: figure10.Printed) -> float:
    """How far a printed number is from its formula's, in units of its last digit; rounding allows a half."""
    digits, unit = row.printed[:-1], UNITS[row.printed[-1]]
    last = unit / 10 ** len(digits.partition(".")[2])
    return abs(float(digits) * unit - float(row.computed)) / last


@claim(
    "C15",
    "4.5, Fig. 10",
    "memory and traffic by the formulas; about 20 % slower with 4-bit weights",
    Prediction("a", "bytes sent by all-gather, counted / formula", "formula", 1, 1),
    Prediction("b", "bytes sent by a server of NF4, counted / formula", "formula", 1, 1),
    Prediction(
        "c", "bytes its worker holds less formula: code book 64, layout 24, AdamW's counter 8", "formula", 96, 96
    ),
    Prediction("d", "Figure 10: units of its last digit that a number is off, at most", "paper", 0, 0.5),
    Prediction("e", "traffic a step, LTE on 32 / data parallel on 8 all to all", "paper", most=1),
    Prediction("f", "traffic a step, LTE on 32 / data parallel on 8 by ring", "ours", most=1),
    Prediction("g", "time of training, packed NF4 / float32", "paper", 1.1, 1.3),
)
def measure(seed: int) -> dict[str, float]:
    """Seven numbers: three counted, three of Figure 10, one timed."""
    gather, server = counting.small(seed), counting.small(seed, quant="nf4")
    (by_gather, _), (by_server, held) = counting.run(gather), counting.run(server)
    printed = figure10.rows()
    plain, packed = (TIMED.replace(seed=seed, quant=quant) for quant in ("none", "nf4"))
    return {
        "a": float(by_gather / counting.bytes_sent(gather, "allgather")),
        "b": float(by_server / counting.bytes_sent(server, "server")),
        "c": float(held - counting.bytes_held(server, "server")),
        "d": max(last_digits_off(row) for row in printed if row.printed[-1] in UNITS),
        "e": float(printed[4].computed / printed[2].computed),
        "f": float(figure10.unsaid()["lte_to_ring_of_8"]),
        "g": slower(packed, plain),
    }
