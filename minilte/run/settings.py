"""The settings of the run itself: how long, in what precision, what is looked at and kept."""

from minilte.core.errors import BadInput
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part


@part("run", "run")
class Run:
    """How long a run is, in what precision, what is looked at and what is kept."""

    steps: int = knob(400, "local steps of every head", least=0, most=MOST)
    seed: int = knob(0, "of everything random", least=0, below=2**63)
    dtype: str = knob("float32", "of all arithmetic", choices=("float32", "float64"))
    init_from: str = knob("", "start from the weights in this .safetensors file", path=True)
    eval_every: int = knob(
        0, "steps between evaluations, rounded up to merges; 0: a twentieth of the run", least=0, most=MOST
    )
    save_every: int = knob(
        0, "steps between checkpoints, rounded up to merges; 0: a tenth of the run", least=0, most=MOST
    )
    validate: float = knob(
        0.0,
        "training rows held out for evaluation and choice, a number or a share below 1; the test set is then looked at"
        " once, at the end",
        least=0.0,
        most=MOST,
    )
    measure: bool = knob(False, "at evaluations: ranks of W_t - W_0, alignment of heads, gradient noise scale")
    versus: str = knob("none", "train this baseline too, on the same samples", choices=("none", "full"))

    def check(self):
        if self.validate > 1 and self.validate != int(self.validate):
            raise BadInput(f"validate: expected a number of rows, or a share below 1, got {self.validate:g}")

    def check_with(self, config):
        if self.versus != "none" and config.topology.quorum:
            raise BadInput(
                f"versus: expected none with a --quorum, for which the baseline has no use, got {self.versus}"
            )

    @property
    def eval_steps(self) -> int:
        """Steps between evaluations."""
        return self.eval_every or max(1, self.steps // 20)

    @property
    def save_steps(self) -> int:
        """Steps between checkpoints."""
        return self.save_every or max(1, self.steps // 10)
