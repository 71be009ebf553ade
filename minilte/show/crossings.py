"""The picture of cost: bytes a step over the number of workers, and where an exchange overtakes another."""

from pathlib import Path

from minilte.cost import forms
from minilte.cost.forms import Model, exchanges
from minilte.show.drawing import draw


def picture(place: Path, model: Model) -> None:
    """Draw cost.svg and cost.png: a line for each exchange, a head a process; dotted where all-gather is overtaken.

    Raises DiskTrouble.
    """
    until = (forms.allgather_until(model), forms.allgather_until(model, model.T))
    crossings = sorted({forms.server_from(model), *(N + 1 for N in until)})
    last = min(100_000, max(64, 2 * crossings[-1]))
    at = sorted({round(2 * (last / 2) ** (i / 60)) for i in range(61)})

    def paint(axes):
        drawn = (exchange for key, exchange in exchanges(model).items() if key != "full-server")
        for i, exchange in enumerate(drawn):
            sizes = [float(forms.a_step(model._replace(N=n, P=n), exchange)) for n in at]
            words = exchange.words.replace("ring", "ring or server")  # the two lines coincide
            axes.plot(at, sizes, f"C{i}", ls="--" if exchange.full else "-", label=words)
        for N in crossings:
            if 2 <= N <= last:
                axes.axvline(N, color="0.7", ls=":")
                axes.annotate(f" {N:,}", (N, 0.02), xycoords=("data", "axes fraction"), color="0.5")
        axes.set_xscale("log", base=2)
        ticks = [2**i for i in range(1, last.bit_length())]
        axes.set_xticks(ticks, [str(tick) if i % 2 or len(ticks) < 10 else "" for i, tick in enumerate(ticks)])
        axes.set(yscale="log", xlabel="N workers, a head each", ylabel="bytes a step, of all together")
        axes.legend(frameon=False, fontsize="small")

    draw(place, "cost", paint, (7.2, 4.8))
