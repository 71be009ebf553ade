"""What training costs by the closed forms: as plain values, and as tables to read."""

from collections.abc import Iterator, Sequence

from minilte.cost import figure10, forms
from minilte.cost.forms import LTE, Exchange, Model
from minilte.cost.memory import basis_memory, full_memory, lte_memory
from minilte.cost.units import brief, human, short


def report(model: Model, dtype: str, quant: str, workers: int, mbit: float) -> dict:
    """Everything as plain values: counts of numbers in the model, else bytes and seconds."""
    crowd, best, known = model._replace(N=workers, P=workers), forms.cheapest(model), forms.exchanges(model)
    of = {name: plain(value) for name, value in model._asdict().items()}
    return {
        "model": of | {"dtype": dtype, "quant": quant},
        "traffic": [row(model, crowd, key, exchange, mbit) for key, exchange in known.items()],
        "fewest": next((key for key, exchange in known.items() if exchange is best), None),
        "memory": memory(model),
        "crossovers": crossovers(model),
        "workers": workers,
        "link_mbit": mbit,
    }


def row(model: Model, crowd: Model, key: str, exchange: Exchange, mbit: float) -> dict:
    """Bytes that all workers together send by an exchange, and seconds."""
    return {
        "exchange": key,
        "words": exchange.words,
        "meeting": plain(forms.sent(model, exchange)),
        "step": plain(forms.a_step(model, exchange)),
        "possible": forms.possible(model, exchange),
        "seconds": forms.seconds(model, exchange, mbit),
        "crowd_meeting": plain(forms.sent(crowd, exchange)),
        "crowd_seconds": forms.seconds(crowd, exchange, mbit),
    }


def memory(model: Model) -> list[dict]:
    """Bytes that each kind of worker holds."""
    kinds = {"full": ("full rank", full_memory(model))}
    for key, exchange in LTE.items():
        if forms.possible(model, exchange):
            kinds[f"lte-{key}"] = (exchange.words, lte_memory(model, exchange))
    if model.basis and forms.possible(model, forms.BASIS):
        kinds["basis-sum"] = (forms.BASIS.words, basis_memory(model))
    kinds["lte-master"] = ("LTE, a server's master", lte_memory(model, LTE["server"], master=True))
    return [
        {"worker": key, "words": words}
        | {name: plain(numbers * model.size) for name, numbers in held._asdict().items()}
        | {"paper": plain(held.paper * model.size), "total": plain(sum(held) * model.size)}
        for key, (words, held) in kinds.items()
    ]


def crossovers(model: Model) -> dict:
    """Where one exchange overtakes another: N with a head a process, T at these N and P."""
    return {
        "allgather_beats_allreduce_until": forms.allgather_until(model),
        "allgather_beats_full_ring_until": forms.allgather_until(model, model.T),
        "server_beats_allgather_from": forms.server_from(model),
        "server_beats_allreduce": forms.server_beats_allreduce(model),
        "beats_full_ring_from_T": {key: forms.least_every(model, exchange) for key, exchange in LTE.items()},
    }


def plain(value):
    """An int for a whole number, else a float, for JSON."""
    return int(value) if value == int(value) else float(value)


def report_lines(values: dict) -> Iterator[str]:
    """The report to read."""
    of = values["model"]
    held = "weights held in full" if of["quant"] == "none" else f"workers hold {of['quant']}, q = {of['q']:.3g}"
    yield f"M = {of['M']:,} in the matrices, M_lte = {of['M_lte']:,} in a head's adapters, {of['replicas']:,} in replicas"
    yield f"N = {of['N']:,} heads, P = {of['P']:,} processes, T = {of['T']:,}; {of['dtype']}; {held}"
    yield from traffic_lines(values)
    yield from memory_lines(values["memory"])
    yield from crossover_lines(values["crossovers"])


def traffic_lines(values: dict) -> Iterator[str]:
    """The table of traffic: bytes of all workers, and seconds of the busiest link, here and with many workers."""
    crowd = f"{values['workers']:,} workers"
    heads = "".join(f"{name:>12}" for name in ("a meeting", "a step", "seconds"))
    yield f"\n{'what all workers send':32}{heads}{crowd:>16}{'seconds':>12}"
    for sent in values["traffic"]:
        here = f" {human(sent['meeting']):>11} {human(sent['step']):>11} {brief(sent['seconds']):>11}"
        remark = "" if sent["possible"] else "  needs all of W"
        remark = "  fewest" if sent["exchange"] == values["fewest"] else remark
        yield f"  {sent['words']:30}{here} {human(sent['crowd_meeting']):>15} {brief(sent['crowd_seconds']):>11}{remark}"
    yield f"""  A meeting is a merge, every T steps, or a step at full rank; seconds are those of a meeting.
  The fewest bytes are marked among LTE and full rank. The shared basis sends its momentum, too.
  Every worker has a link of {values["link_mbit"]:g} Mbit/s up and as much down; the busiest decides, a master's for servers.
  The last two columns are those of a meeting, too, with a head and a process for each of the workers."""


COLUMNS = {"gradients": "gradients", "merged_factors": "V_n", "scales": "scales", "replicas": "replicas"}


def memory_lines(rows: Sequence[dict]) -> Iterator[str]:
    """The table of memory: the paper's sum, then what it leaves out."""
    heads = "".join(f"{name:>12}" for name in ("the paper's", *(f"+ {name}" for name in COLUMNS.values()), "in all"))
    yield f"\n{'what a worker holds':32}{heads}"
    for held in rows:
        yield f"  {held['words']:30}" + "".join(f" {human(held[name]):>11}" for name in ("paper", *COLUMNS, "total"))
    yield "  The paper counts 3 M at full rank, q M + 3 M_lte for LTE. A process that merges keeps the V_n of all heads."


def crossover_lines(found: dict) -> Iterator[str]:
    """The crossovers as sentences."""

    def until(name: str) -> str:
        return f"up to N = {found[name]:,}" if found[name] >= 2 else "at no N"

    yield "\nwhere they cross, by bytes, a head a process"
    rule = "one matrix: N r < 2 m n / (m + n)"
    yield f"  all-gather is below a dense sum {until('allgather_beats_allreduce_until')} ({rule})"
    yield f"  all-gather is below full rank by ring {until('allgather_beats_full_ring_until')}"
    yield f"  a server is below all-gather from N = {found['server_beats_allgather_from']:,}"
    yield f"  a server is below a dense sum {'from N = 2' if found['server_beats_allreduce'] else 'at no N'}"
    least = [f"{key} from T = {T:,}" for key, T in found["beats_full_ring_from_T"].items() if T is not None]
    if least:
        yield f"  at these N and P, below full rank by ring: {', '.join(least)}"


def paper() -> dict:
    """Figure 10 as plain values, in numbers."""
    return {
        "model": {name: plain(value) for name, value in figure10.PAPER._asdict().items()},
        "figure10": [printed._asdict() | {"computed": plain(printed.computed)} for printed in figure10.rows()],
        "unsaid": {name: plain(value) for name, value in figure10.unsaid().items()},
    }


def paper_lines(values: dict) -> Iterator[str]:
    """Figure 10 to read."""
    yield "the paper's Figure 10: M 22.5M, M_lte 7.7M, q 0.25 (4 bits of 16), T 10; in numbers, not bytes"
    yield f"\n  {'':42}{'printed':>10}{'computed':>12}"
    for number in values["figure10"]:
        name, printed, computed, remark = number.values()
        yield f"  {name:42}{printed:>10}{short(computed):>12}  {remark}".rstrip()
    of = {name: short(value) for name, value in values["unsaid"].items()}
    times = values["unsaid"]["lte_to_ring_of_8"]
    yield f"""
what it leaves unsaid
  By ring, data parallel training sends {of["ring_of_8"]} a step on 8, and {of["ring_of_32"]} on 32. LTE on 32 by all-gather
  sends {times:.2f} times as much as the ring of 8, and less than the ring of 32.
  Its memory and its traffic exclude each other: a worker that holds only q(W) cannot add factors to W.
  A server that sends q(W) down has the memory, and all 32 send {of["server_of_32"]} a step.
  Its memory leaves out gradients, {of["gradients_full_rank"]} at full rank and {of["gradients_lte"]} for LTE; the V_n of one head,
  {of["merged_factors_lte"]}; and a float32 scale for 64 weights, as {of["scales_lte"]} of 16 bits, with which q is 0.281."""
