"""What training costs, from the model of cost: as plain values, as tables to read, and as a picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from minilte.cost import forms as model_of
from minilte.cost import figure10
from minilte.cost.forms import FULL, LTE, Model, Topology
from minilte.show import plots
from minilte.cost.account import human


def report(model: Model, dtype: str, quant: str, workers: int, mbit: float) -> dict:
    """Everything as plain values: counts of numbers in the model, else bytes and seconds."""
    crowd, best = model._replace(N=workers, P=workers), model_of.cheapest(model)
    of = {name: plain(value) for name, value in model._asdict().items()}
    return {
        "model": of | {"dtype": dtype, "quant": quant},
        "traffic": [row(model, crowd, key, one, mbit) for key, one in topologies()],
        "fewest": next((key for key, one in topologies() if one is best), None),
        "memory": memory(model),
        "crossovers": crossovers(model),
        "workers": workers,
        "link_mbit": mbit,
    }


def topologies() -> Iterator[tuple[str, Topology]]:
    """(name, Topology) of all, LTE's first."""
    yield from ((f"lte-{key}", one) for key, one in LTE.items())
    yield from ((f"full-{key}", one) for key, one in FULL.items())


def row(model: Model, crowd: Model, key: str, one: Topology, mbit: float) -> dict:
    """What one topology sends: bytes of all workers together, and seconds."""
    return {
        "topology": key,
        "words": one.words,
        "meeting": plain(model_of.sent(model, one)),
        "step": plain(model_of.a_step(model, one)),
        "possible": model_of.possible(model, one),
        "seconds": model_of.seconds(model, one, mbit),
        "crowd_meeting": plain(model_of.sent(crowd, one)),
        "crowd_seconds": model_of.seconds(crowd, one, mbit),
    }


def memory(model: Model) -> list[dict]:
    """Bytes that each kind of worker holds."""
    kinds = {"full": ("full rank", model_of.full_memory(model))}
    for key, one in LTE.items():
        if model_of.possible(model, one):
            kinds[f"lte-{key}"] = (one.words, model_of.lte_memory(model, key))
    kinds["lte-master"] = ("LTE, a server's master", model_of.lte_memory(model, "server", master=True))
    return [
        {"worker": key, "words": words}
        | {name: plain(numbers * model.size) for name, numbers in held._asdict().items()}
        | {"paper": plain(held.paper * model.size), "total": plain(sum(held) * model.size)}
        for key, (words, held) in kinds.items()
    ]


def crossovers(model: Model) -> dict:
    """Where one topology overtakes another: N with a head a rank, T at these N and P."""
    return {
        "allgather_beats_dense_until": model_of.allgather_until(model),
        "allgather_beats_full_ring_until": model_of.allgather_until(model, model.T),
        "server_beats_allgather_from": model_of.server_from(model),
        "server_beats_dense": model_of.server_beats_dense(model),
        "beats_full_ring_from_T": {key: model_of.least_every(model, one) for key, one in LTE.items()},
    }


def plain(value):
    """A whole number where it is one, else a float, for JSON."""
    return int(value) if value == int(value) else float(value)


def report_lines(told: dict) -> Iterator[str]:
    """The report to read."""
    of = told["model"]
    held = "weights held in full" if of["quant"] == "none" else f"workers hold {of['quant']}, q = {of['q']:.3g}"
    yield f"M = {of['M']:,} in the matrices, M_lte = {of['M_lte']:,} in a head's adapters, {of['replicas']:,} in replicas"
    yield f"N = {of['N']:,} heads, P = {of['P']:,} ranks, T = {of['T']:,}; {of['dtype']}; {held}"
    yield from traffic_lines(told)
    yield from memory_lines(told["memory"])
    yield from crossover_lines(told["crossovers"])


def traffic_lines(told: dict) -> Iterator[str]:
    """The table of traffic: what all send, and how long the busiest link takes, here and with many workers."""
    crowd = f"{told['workers']:,} workers"
    heads = "".join(f"{name:>12}" for name in ("a meeting", "a step", "seconds"))
    yield f"\n{'what all workers send':32}{heads}{crowd:>16}{'seconds':>12}"
    for one in told["traffic"]:
        here = f" {human(one['meeting']):>11} {human(one['step']):>11} {brief(one['seconds']):>11}"
        remark = "" if one["possible"] else "  needs all of W"
        remark = "  fewest" if one["topology"] == told["fewest"] else remark
        yield f"  {one['words']:30}{here} {human(one['crowd_meeting']):>15} {brief(one['crowd_seconds']):>11}{remark}"
    yield f"""  A meeting is a merge of LTE, every T steps, or a step at full rank; seconds are those of a meeting.
  Every worker has a link of {told["link_mbit"]:g} Mbit/s up and as much down; the busiest one decides, a master's for servers.
  The last two columns are those of a meeting, too, with a head and a rank for each of the workers."""


COLUMNS = {"gradients": "gradients", "merged": "V_n", "scales": "scales", "replicas": "replicas"}


def memory_lines(rows: Sequence[dict]) -> Iterator[str]:
    """The table of memory: the paper's sum, and apart what it leaves out."""
    heads = "".join(f"{name:>12}" for name in ("the paper's", *(f"+ {name}" for name in COLUMNS.values()), "in all"))
    yield f"\n{'what a worker holds':32}{heads}"
    for one in rows:
        yield f"  {one['words']:30}" + "".join(f" {human(one[name]):>11}" for name in ("paper", *COLUMNS, "total"))
    yield "  The paper counts 3 M at full rank, q M + 3 M_lte for LTE. Who merges keeps the V_n of all heads."


def crossover_lines(found: dict) -> Iterator[str]:
    """The crossovers as sentences."""

    def until(name: str) -> str:
        return f"up to N = {found[name]:,}" if found[name] >= 2 else "at no N"

    yield "\nwhere they cross, by bytes, a head a rank"
    yield f"  all-gather is below a dense sum {until('allgather_beats_dense_until')} (one matrix: N r < 2 m n / (m + n))"
    yield f"  all-gather is below full rank by ring {until('allgather_beats_full_ring_until')}"
    yield f"  a server is below all-gather from N = {found['server_beats_allgather_from']:,}"
    yield f"  a server is below a dense sum {'from N = 2' if found['server_beats_dense'] else 'at no N'}"
    least = [f"{key} from T = {T:,}" for key, T in found["beats_full_ring_from_T"].items() if T is not None]
    if least:
        yield f"  at these N and P, below full rank by ring: {', '.join(least)}"


def paper() -> dict:
    """Figure 10 as plain values, in numbers."""
    return {
        "model": {name: plain(value) for name, value in figure10.PAPER._asdict().items()},
        "figure10": [one._asdict() | {"computed": plain(one.computed)} for one in figure10.rows()],
        "unsaid": {name: plain(value) for name, value in figure10.unsaid().items()},
    }


def paper_lines(told: dict) -> Iterator[str]:
    """Figure 10 to read."""
    yield "the paper's Figure 10: M 22.5M, M_lte 7.7M, q 0.25 (4 bits of 16), T 10; in numbers, not bytes"
    yield f"\n  {'':42}{'printed':>10}{'computed':>12}"
    for one in told["figure10"]:
        yield f"  {one['name']:42}{one['printed']:>10}{short(one['computed']):>12}  {one['remark']}".rstrip()
    of = {name: short(value) for name, value in told["unsaid"].items()}
    times = told["unsaid"]["lte_to_ring_of_8"]
    yield f"""
what it leaves unsaid
  By ring, data parallel training sends {of["ring_of_8"]} a step on 8, and {of["ring_of_32"]} on 32. LTE on 32 by all-gather
  sends {times:.2f} times as much as the ring of 8, and less than the ring of 32.
  Its memory and its traffic exclude each other: a worker that holds only q(W) cannot add factors to W.
  A server that sends q(W) down has the memory, and all 32 send {of["server_of_32"]} a step.
  Its memory leaves out gradients, {of["gradients_full_rank"]} at full rank and {of["gradients_lte"]} for LTE; the V_n of one head,
  {of["merged_lte"]}; and a float32 scale for 64 weights, as {of["scales_lte"]} of 16 bits, with which q is 0.281."""


def short(count: float) -> str:
    """22320000000 -> "22.32G", 700000 -> "0.7M"."""
    for unit, name, least in ((1e9, "G", 1e9), (1e6, "M", 1e5)):
        if count >= least:
            return f"{count / unit:.5g}{name}"
    return f"{count:.5g}"


def brief(seconds: float) -> str:
    """Three digits, or whole seconds for a long wait: 0.304, 1,187."""
    return f"{seconds:,.0f}" if 999.5 <= seconds < 9_999_999.5 else f"{seconds:.3g}"


def picture(place: Path, model: Model) -> None:
    """Bytes a step over N, a head a rank, one line a topology; dotted where all-gather is overtaken. Raises DiskTrouble."""
    until = (model_of.allgather_until(model), model_of.allgather_until(model, model.T))
    crossings = sorted({model_of.server_from(model), *(N + 1 for N in until)})
    last = min(100_000, max(64, 2 * crossings[-1]))
    at = sorted({round(2 * (last / 2) ** (i / 60)) for i in range(61)})

    def paint(axes):
        for i, (key, one) in enumerate(shown for shown in topologies() if shown[0] != "full-server"):
            each = [float(model_of.a_step(model._replace(N=n, P=n), one)) for n in at]
            words = one.words.replace("ring", "ring or server")  # two lines that are one
            axes.plot(at, each, f"C{i}", ls="--" if one.full else "-", label=words)
        for N in crossings:
            if 2 <= N <= last:
                axes.axvline(N, color="0.7", ls=":")
                axes.annotate(f" {N:,}", (N, 0.02), xycoords=("data", "axes fraction"), color="0.5")
        axes.set_xscale("log", base=2)
        ticks = [2**i for i in range(1, last.bit_length())]
        axes.set_xticks(ticks, [str(tick) if i % 2 or len(ticks) < 10 else "" for i, tick in enumerate(ticks)])
        axes.set(yscale="log", xlabel="N workers, a head each", ylabel="bytes a step, of all together")
        axes.legend(frameon=False, fontsize="small")

    plots.draw(place, "cost", paint, (7.2, 4.8))
