"""Methods on one ladder: tuned alike, measured on the same samples, at equal samples, equal bytes or equal memory.

    from minilte.compare import compare, entry
    ladder = compare(["full", "full+muon", "diloco", "lte"], steps=1000)
    mine = compare({"lte": entry("lte"), "halfway": entry("lte", rule=halfway)})

An entry's settings are tuned on rows held out of the training set and on seeds of their own; then all entries are trained
at the measured seeds. Every whole run is kept, and never made twice. `compare` and `entry` are imported when first used.
"""

_HOME = {"compare": "minilte.compare.ladder", "entry": "minilte.compare.entrants"}
__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'minilte.compare' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
