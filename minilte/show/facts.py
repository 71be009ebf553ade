"""The numbers of a report: a run in a sentence and in brief, what it cost, and its notes."""

from collections.abc import Iterator, Sequence

from minilte.cost.account import KINDS
from minilte.cost.units import human
from minilte.job.summary import describe
from minilte.methods.facts import Facts
from minilte.run.health import stalled
from minilte.run.observe import Record
from minilte.show.markup import Html, element, listing, table
from minilte.show.past import Named, Run


def sentence(run: Run) -> str:
    """The run in a sentence."""
    if run.built:
        return f"{describe(run.config, run.built)}."
    config, named = run.config, run.config.flat()
    return f"{named['method']} on {named['data']}, {config.heads} heads, {config.steps} steps of {config.batch}."


def steps(run: Run) -> str:
    """How far a run came."""
    done, whole = run.records[-1].step, run.config.steps
    return f"{done:,}" if run.summary else f"{done:,} of {whole:,}"


def percent(fraction: float) -> str:
    """0.859 -> "85.90 %"."""
    return f"{100 * fraction:.2f} %"


def in_brief(run: Run) -> Html:
    """The few numbers that matter most, each beside a number to compare it with."""
    items = [
        element("div", element("dt", name), element("dd", value, class_="value"), element("dd", beside))
        for name, value, beside in brief(run)
    ]
    return element("dl", items, class_="brief")


def brief(run: Run) -> Iterator[tuple[str, str, str]]:
    """(name, value, comparison) of the results, and of the costs of a finished run."""
    last = run.last
    at = f"at step {last.step:,}, {last.samples:,} samples"
    if last.held_accuracy is not None:
        yield "Held-out accuracy", percent(last.held_accuracy), at
    yield "Held-out loss", f"{last.held_loss:.4f}", f"{last.train_loss:.4f} in training"
    if None not in (last.valid_loss, last.test_loss):  # held out is then what validates
        score = f"{last.test_loss:.4f}" if last.test_accuracy is None else percent(last.test_accuracy)
        yield (
            "Test accuracy" if "%" in score else "Test loss",
            score,
            "looked at again after the run went on" if run.longer else "looked at once, at the end",
        )
    if (summary := run.summary) is None:
        return
    sent, memory, processes = summary["bytes_sent"], summary["memory"], len(summary["bytes_sent"]["per_process"])
    yield "Training took", f"{summary['seconds']:.1f} s", f"{summary['samples_per_second']:,.0f} samples a second"
    if processes == 1:
        yield "Sent, a process", "nothing", "all heads were in one process"
    else:
        ring = f"{human(sent['full_rank_ring'] / processes)} by full-rank data parallel, ring"
        yield "Sent, a process", human(sent["total"] / processes), ring
    yield "Held by a worker", human(memory["total"]), f"{human(memory['full_rank_total'])} at full rank"
    yield "Weights", f"{summary['parameters']:,}", f"SHA-256 {summary['weights_sha256'][:12]}…"


def outcomes(named: Sequence[Named]) -> Html:
    """The few numbers of every run, a column each."""
    columns = [{"Steps": steps(entry.run)} | {name: value for name, value, _ in brief(entry.run)} for entry in named]
    names = dict.fromkeys(name for column in sorted(columns, key=len, reverse=True) for name in column)
    rows = [[name, *(column.get(name, "—") for column in columns)] for name in names]
    return table(["", *(entry.mark for entry in named)], rows, "What came of the runs", wide=True)


def costs(run: Run) -> Iterator[Html]:
    """Bytes sent and bytes held, each beside full rank."""
    if run.summary is None:
        yield element("p", "Bytes are counted to the end, and shown when the run has ended.")
    else:
        yield from traffic(run.summary["bytes_sent"])
        yield from memory(run.summary["memory"])


def traffic(sent: dict) -> Iterator[Html]:
    """Payload bytes of a process, by kind, beside dense gradients."""
    if (processes := len(sent["per_process"])) == 1:
        cost = element("code", "python -m minilte.cost")
        yield element("p", "All heads were in one process, so nothing was sent. What several would send: ", cost, ".")
        return
    words = f"Bytes that a process sent, the mean of {processes}, without headers; full rank by formula, for as many steps."
    yield element("p", words)
    others = {
        "full-rank data parallel, ring": sent["full_rank_ring"],
        "full-rank data parallel, all to all": sent["full_rank_all_to_all"],
    }
    yield bars("Bytes sent by a process", sent["total"], sent["by_kind"], others, processes)


def memory(held: dict) -> Iterator[Html]:
    """Bytes that a worker holds between steps, by kind, beside full rank."""
    yield element("p", "Bytes that a worker with one head holds between steps, by the shapes of its arrays.")
    items = {kind: held[kind] for kind in KINDS if held[kind]}
    yield bars("Bytes held by a worker", held["total"], items, {"full rank": held["full_rank_total"]})


def bars(label: str, total: int, items: dict[str, int], others: dict[str, int], processes: int = 1) -> Html:
    """A table of bytes with bars: the total of a process, its items by kind, and others to compare it with."""
    rows = [("", "this run", total), *(("item", kind.replace("_", " "), size) for kind, size in items.items())]
    rows += [("other", name, size) for name, size in others.items()]
    most = max(size for *_, size in rows) or 1
    drawn = []
    for kind, name, size in rows:
        bar = element("span", class_=f"bar {kind}".strip(), style=f"width:{100 * size / most:.2f}%")
        drawn.append([element("span", name, class_=kind or None), human(size / processes), bar])
    return element("div", table(["", "", ""], drawn, label), class_="costs")


def notes(run: Run) -> Iterator[Html]:
    """The notes of the run's start, events of its heads, and what this report could not read."""
    first = run.built.notes if run.built else ()
    losses = [(record.step, record.train_loss) for record in run.records if record.train_loss is not None]
    best = stalled(losses, run.config.steps)
    still = [] if best is None else [f"the training loss has not been below that of step {best:,} since"]
    items = [*first, *still, *trust(run.records), *changed_heads(run), *run.troubles]
    yield listing(items) if items else element("p", "None.")


def changed_heads(run: Run) -> Iterator[str]:
    """Whether the number of heads changed, and the laws of constant shares that this ended."""
    if run.resized:
        facts = run.built.method.facts if run.built else Facts()
        laws = " and ".join(law for law, holds in (("L1", facts.one_lora), (facts.bound_law, facts.bound)) if holds)
        ended = f", which ended {laws} for the run as a whole" if laws else ""
        yield f"the number of heads changed on the way{ended}"


def trust(records: Sequence[Record]) -> Iterator[str]:
    """The heads that did not count in full at a merge, and those whose loss was not finite."""
    events: dict[tuple[str, str], list[int]] = {}
    for record in records:
        found = [(head, "left out" if count == 0 else "clipped") for head, count in (record.trust or {}).items()]
        out = {head for head, _ in found}
        lost = [
            str(n) for n, loss in enumerate(record.losses) if loss is None and not (record.ranks and str(n) in out)
        ]
        found += [(head, "with a loss that is not finite") for head in lost]
        for event in found:
            events.setdefault(event, []).append(record.step)
    for (head, event), merges in events.items():
        when = f"{len(merges):,} merges, of steps {merges[0]:,} to {merges[-1]:,}"
        if len(merges) == 1:
            when = f"the merge of step {merges[0]:,}"
        yield f"head {head}: {event} at {when}"
