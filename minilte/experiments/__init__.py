"""The paper's claims as measured rows: a prediction, five seeds, an interval, and the verdict that follows from it.

    from minilte.experiments import CLAIMS, rows
    for row in rows(CLAIMS["C1"], range(5)):
        print(row.name, row.mean, row.verdict)

A claim is a file, and its name in the line below.
"""

from minilte.experiments import c1, c2, c3, c7, c15  # noqa: F401  they register their claims
from minilte.experiments.claim import Claim, Prediction, Row, in_order, rows, verdict
from minilte.measure.interval import interval

CLAIMS = in_order()
__all__ = ["CLAIMS", "Claim", "Prediction", "Row", "interval", "rows", "verdict"]
