"""The name of a run in a store: a hash of all that decides its numbers.

Of a caller's own code that is its instructions and values, as deep as they go: closures, defaults, globals that it names, the objects of
its methods. Two pieces of code that differ only in their comments are the same.
"""

import functools
import hashlib
import json
import types
from collections.abc import Callable

import numpy as np

import minilte
from minilte.compare.trial import Trial
from minilte.disk.files import sha256
from minilte.run.machine import SAME_BITS, fingerprint

FORMAT = 1  # of an outcome; another has other keys. A release of the package has other keys, too


def key(trial: Trial) -> str:
    """The name of a run. Raises BadInput where the weights that it starts from cannot be read."""
    config, machine = trial.config, fingerprint(1, "Solo")
    whole = {
        "format": FORMAT,
        "minilte": minilte.__version__,
        "settings": config.flat(),
        "init_from": sha256(config.init_from) if config.init_from else "",
        "data": trial.source,
        "own": {place: described(thing) for place, thing in sorted(trial.own.items())},
        "machine": {name: machine[name] for name in SAME_BITS},
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


def described(thing, inside: tuple[int, ...] = ()) -> str:
    """What decides how a part of the caller's own works. `inside` are the things around it."""
    if id(thing) in inside:
        return "itself"
    deeper = functools.partial(described, inside=(*inside, id(thing)))
    if isinstance(thing, (types.BuiltinFunctionType, types.ModuleType)) or thing is None:
        return getattr(thing, "__qualname__", None) or getattr(thing, "__name__", "None")
    if (getattr(thing, "__module__", "") or "").split(".")[0] in ("minilte", "numpy") and hasattr(
        thing, "__qualname__"
    ):
        return f"{thing.__module__}.{thing.__qualname__}{deeper(cells(thing))}"  # of a release; what it closes over is the caller's
    for kind, parts in PARTS.items():
        if isinstance(thing, kind):
            return f"{kind.__name__}{[deeper(part) for part in parts(thing)]}"
    if isinstance(thing, types.FunctionType):
        return f"{thing.__qualname__}({code(thing.__code__)}, {[deeper(part) for part in values(thing)]})"
    if isinstance(thing, type):
        own = {name: each for name, each in vars(thing).items() if callable(each) or not name.startswith("__")}
        return f"{thing.__qualname__}{deeper(own)}"
    if isinstance(thing, np.ndarray):
        return f"{thing.dtype}{thing.shape}{hashlib.sha256(np.ascontiguousarray(thing)).hexdigest()}"
    if hasattr(thing, "__wrapped__"):  # by functools
        return deeper(thing.__wrapped__)
    return f"{deeper(type(thing))}{deeper(vars(thing))}" if hasattr(thing, "__dict__") else repr(thing)


PARTS: dict[type, Callable] = {
    types.MethodType: lambda method: (method.__func__, method.__self__),
    functools.partial: lambda made: (made.func, made.args, made.keywords),
    tuple: tuple,
    list: list,
    dict: lambda table: list(table.items()),
    set: lambda items: sorted(items, key=repr),
    frozenset: lambda items: sorted(items, key=repr),
    staticmethod: lambda made: (made.__func__,),
    classmethod: lambda made: (made.__func__,),
    property: lambda made: (made.fget, made.fset),
}


def cells(function) -> list:
    """The values that a function closes over."""
    return [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]


def values(function: types.FunctionType) -> list:
    """What a function has beside its instructions: what it closes over, its defaults, and the globals that it names."""
    names = named(function.__code__)
    of = function.__globals__
    given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]
    return [*cells(function), *given, *((name, of[name]) for name in sorted(names) if name in of)]


def named(of: types.CodeType) -> set[str]:
    """The names that a function's instructions use, and those of the functions inside it."""
    inner = (named(each) for each in of.co_consts if isinstance(each, types.CodeType))
    return set(of.co_names).union(*inner)


def code(of: types.CodeType) -> str:
    """A function's instructions, names and constants, those of the functions inside it too."""
    constants = [code(each) if isinstance(each, types.CodeType) else described(each) for each in of.co_consts]
    return f"{of.co_code.hex()}{of.co_names}{constants}"
