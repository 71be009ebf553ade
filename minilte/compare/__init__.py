"""Methods on one ladder: tuned alike, measured on the same samples, at equal samples, equal bytes or equal memory.

    from minilte.compare import compare, entry
    ladder = compare(["full", "full+muon", "diloco", "lte"], steps=1000)
    mine = compare({"lte": entry("lte"), "halfway": entry("lte", rule=halfway)})

An entry's settings are tuned on rows held out of the training set and on seeds of their own; then all entries are trained
at the measured seeds. Every whole run is kept, and never made twice.
"""

from minilte.compare.entrants import entry
from minilte.compare.ladder import compare

__all__ = ["compare", "entry"]
