"""Try the laws of the method on random cases: python -m minilte.verify."""

from minilte.commands.shared import JSON, Command
from minilte.commands.streams import bar, write
from minilte.core.errors import BadInput
from minilte.settings.config import nearest
from minilte.settings.knob import knob, of_knobs


@of_knobs
class Options:
    """What is tried, how often, and how the outcome is written."""

    laws: tuple[str, ...] = knob((), "names of laws, as with --law; default all", word="L1", count="*")
    law: tuple[str, ...] = knob((), "names of laws, as L1,L3; default all")
    examples: int = knob(20, "random cases for each law", least=1)
    processes: int = knob(0, "also try law L20 on a real MPI job of so many processes", least=0)
    seed: int = knob(0, "of the search", least=0)
    json: bool = JSON


def verify(options: Options, *_) -> int:
    """Try the laws that were asked for; returns 0 if all hold, else 1."""
    verdicts = list(verdicts_of(options))
    write({"laws": [verdict._asdict() for verdict in verdicts]}, report(verdicts), options.json)
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def verdicts_of(options: Options):
    """The verdict on every law, with a progress bar on a terminal."""
    from minilte.laws import LAWS, try_law
    from minilte.laws.pool import Pool, mpi_law
    from minilte.run.machine import one_blas_thread

    chosen = [named(name, LAWS) for name in (*options.law, *options.laws)] or list(LAWS.values())
    pool = Pool(options.processes) if options.processes else None
    try:
        chosen += [mpi_law(pool)] if pool else []
        with one_blas_thread():
            for law in (laws := bar(chosen, "law", options.json)):
                laws.set_postfix_str(law.name)
                yield try_law(law, options.examples, options.seed)
    finally:
        if pool:
            pool.close()


def named(name: str, laws: dict):
    """The law of a name, in capitals or not. Raises BadInput."""
    found = {known.lower(): law for known, law in laws.items()}.get(name.lower())
    if found is None:
        raise BadInput(f"law: no law is called {name!r:.60}{nearest(name, laws)}; there are {', '.join(laws)}")
    return found


def report(verdicts):
    """The table, and for every law that fell the smallest counterexample as code to paste."""
    yield f"{'law':16}{'tried':>6}  {'worst error':>11}  {'tolerance':>9}  verdict  statement"
    for v in verdicts:
        word = "holds" if v.holds else "FALLS"
        yield f"{v.name:16}{v.examples:6}  {v.worst_error:11.1e}  {v.tolerance:9.0e}  {word:7}  {v.statement}"
    for v in verdicts:
        if not v.holds:
            trouble = f": {v.trouble}" if v.trouble else ""
            yield f"\n{v.name} falls{trouble}; its smallest counterexample:\n{v.counterexample}"
    yield f"{sum(v.holds for v in verdicts)} of {len(verdicts)} laws hold"


main = Command("python -m minilte.verify", __doc__, Options, verify)
