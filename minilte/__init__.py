"""minilte: LoRA-the-Explorer in plain NumPy (Huh et al. 2024, arXiv 2402.16828).

    import minilte as ml

    for record in ml.rounds(ml.Config(steps=100)):
        print(record.step, record.test_accuracy)

`Config`, `Dataset`, `rounds`, `fit`, `load`, `Result` and `Record` are the whole interface for training; they are
imported when first used. The textbook is `minilte.core`.
"""

__version__ = "0.1.0"

_HOME = {
    "Config": "minilte.settings.config",
    "Dataset": "minilte.data.dataset",
    "Record": "minilte.run.observe",
    "Result": "minilte.job.result",
    "rounds": "minilte.library",
    "fit": "minilte.library",
    "load": "minilte.job.result",
}
__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'minilte' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return [*globals(), *__all__]
