"""What training costs, by the closed forms: memory and traffic of LTE and of full rank: python -m minilte.cost."""

from pathlib import Path

from minilte.commands.shared import JSON, Command, refuse_beside
from minilte.commands.streams import write
from minilte.core.errors import BadInput
from minilte.cost import forms, tables
from minilte.cost.figure10 import PAPER
from minilte.cost.forms import Model
from minilte.settings.knob import MOST, knob, of_knobs
from minilte.show.crossings import picture

NUMBERS = 10**15  # most of a model: a thousand times the largest there is


@of_knobs
class Options:
    """The model, the workers, and how the outcome is written."""

    widths: tuple[int, ...] = knob((784, 1024, 1024, 10), "of all layers, inputs first", least=1, most=1_000_000)
    rank: int = knob(32, "rank r of every adapter; a layer uses min(rank, m, n)", least=1, most=MOST)
    numbers: int = knob(0, "M, numbers in the matrices, in place of --widths", least=0, most=NUMBERS)
    lte_numbers: int = knob(0, "M_lte, numbers in one head's adapters, in place of --rank", least=0, most=NUMBERS)
    heads: int = knob(8, "heads N", least=1, most=100_000)
    processes: int = knob(0, "processes P that share the heads; 0: as many as heads", least=0, most=100_000)
    merge_every: int = knob(10, "T, local steps between merges", least=1, most=MOST)
    quant: str = knob("none", "code of the weights that workers hold", choices=("none", *forms.BITS))
    dtype: str = knob("float32", "of all numbers that are not coded", choices=tuple(forms.SIZES))
    workers: int = knob(1000, "of the last two columns of traffic, a head and a process each", least=1, most=100_000)
    workers_link: float = knob(100.0, "Mbit/s of each worker's own link, up, and as much down", above=0.0, most=1e9)
    figure10: bool = knob(False, "the numbers of the paper's Figure 10, and what is wrong with them")
    plot: str = knob("", "draw bytes a step over N as cost.svg and cost.png in this folder")
    json: bool = JSON


SHAPE = ("widths", "rank")
COUNTS = ("numbers", "lte_numbers")
MODEL = (*SHAPE, *COUNTS, "heads", "processes", "merge_every", "quant", "dtype", "workers", "workers_link")


def cost(options: Options, given: dict, _) -> int:
    """Compute and write what was asked for; returns the exit code."""
    check_given(given)
    if options.figure10:
        model, values, lines = PAPER, tables.paper(), tables.paper_lines
    else:
        model, lines = model_from(options), tables.report_lines
        values = tables.report(model, options.dtype, options.quant, options.workers, options.workers_link)
    write(values, lines(values), options.json)
    if options.plot:  # last: what goes wrong with a picture costs no numbers
        picture(Path(options.plot), model)
    return 0


def check_given(given: dict) -> None:
    """Refuses a flag that would do nothing. Raises BadInput naming both flags."""
    counts = [name for name in COUNTS if name in given]
    if given.get("figure10"):
        refuse_beside("figure10", given, MODEL, "the paper's model is fixed")
    elif counts:
        refuse_beside(counts[0], given, SHAPE, "M and M_lte come from widths and rank, or are given")
        if len(counts) < len(COUNTS) or not all(given[name] for name in COUNTS):
            raise BadInput("numbers: expected --numbers M and --lte-numbers M_lte together, each above 0")


def model_from(options: Options) -> Model:
    """The model that the flags describe. Raises BadInput."""
    size = forms.SIZES[options.dtype]
    q, scales = forms.coded(options.quant, size)
    shape = (options.numbers, options.lte_numbers, 0)
    M, M_lte, replicas = shape if options.numbers else forms.counted(options.widths, options.rank)
    bases = (0, 0, 0) if options.numbers else forms.based(options.widths, options.rank)
    processes = options.processes or options.heads
    return Model(M, M_lte, replicas, options.heads, processes, options.merge_every, q, scales, size, *bases)


main = Command("python -m minilte.cost", __doc__, Options, cost)
