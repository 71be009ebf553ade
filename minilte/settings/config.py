"""The settings of a run: one flat, frozen, validated dataclass. Flags, TOML files and `ml.Config(...)` all end here."""

import dataclasses
from dataclasses import dataclass

from minilte.comm.wire import WIRES
from minilte.core.errors import BadInput
from minilte.core.layers import ACTIVATIONS
from minilte.core.lora import INITS, scale
from minilte.core.lte import REDUCTIONS, REPLICAS, RESETS
from minilte.core.merge import MEAN, shares
from minilte.core.schedules import SHAPES
from minilte.around.guarded import POLICIES
from minilte.rules.telescope import TELESCOPE
from minilte.quant.codes import LEVELS, ROUNDINGS, SCALES
from minilte.settings.knob import MOST, check_fields, flag_name, knob

RULES = {"mean": MEAN, "telescope": TELESCOPE}


MERGING = (  # settings that say something to a method that merges factors alone
    "merge_rule", "shares", "topology", "wire", "bad_heads", "quorum", "grace", "correction",
    "stack",
    "quant", "quant_mode", "quant_scale", "quant_block", "quant_rounding",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers of a run. Raises BadInput, naming the field, when it is created."""

    # data
    data: str = knob(
        "fashion-mini", "fashion-mini, fashion-mnist, least-squares, or a path: folder of IDX, .npz, .csv"
    )
    data_dir: str = knob("", "folder of fashion-mnist; default $MINILTE_DATA, then where Debian puts it")
    inputs: int = knob(32, "least-squares: inputs n", least=1, most=100_000)
    outputs: int = knob(32, "least-squares: outputs m", least=1, most=100_000)
    samples: int = knob(4096, "least-squares: training samples", least=1, most=100_000_000)
    spectrum: str = knob("flat", "least-squares: singular values of the target", choices=("flat", "gaussian"))
    target_rank: int = knob(0, "least-squares: rank of the target; 0 for full", least=0, most=MOST)
    noise: float = knob(0.0, "least-squares: deviation of the noise", least=0.0)
    # network
    model: str = knob(
        "mlp", "mlp; linear (one layer) or deep-linear, without activation", choices=("mlp", "linear", "deep-linear")
    )
    widths: tuple[int, ...] = knob((256, 256), "hidden widths, as 256,256", least=1, most=1_000_000)
    activation: str = knob(
        "relu", "between the layers of an mlp", choices=tuple(n for n in ACTIVATIONS if n != "identity")
    )
    norm: bool = knob(False, "layer norm before each activation")
    bias: bool = knob(True, "biases in the dense layers")
    label_smoothing: float = knob(0.0, "of the cross-entropy's targets", least=0.0, below=1.0)
    # method
    method: str = knob("lte", "full (data parallel), lora, mhlora, lte", choices=("full", "lora", "mhlora", "lte"))
    heads: int = knob(8, "heads N, the workers among which the batch is split", least=1, most=100_000)
    rank: int = knob(32, "rank r of every adapter; a layer uses min(rank, m, n)", least=1, most=MOST)
    head_ranks: tuple[int, ...] = knob((), "a rank for each head, as 32,32,8,8; overrides --rank", least=1, most=MOST)
    layer_ranks: tuple[str, ...] = knob((), "ranks of single layers, as layer1=64,layer3=4; override the others")
    adapt: tuple[str, ...] = knob((), "names of the layers that get adapters, as layer1,layer2; default all")
    alpha: float = knob(2048.0, "numerator of the scale s", above=0.0)
    scaling: str = knob("rank", "s = alpha / rank, or alpha / sqrt(rank)", choices=("rank", "sqrt-rank"))
    init: str = knob("bernstein", "how A starts (B starts at zero)", choices=tuple(INITS))
    head_init: str = knob("own", "A of its own for each head, or the same for all", choices=("own", "same"))
    head_data: str = knob("own", "each head its block of the batch, or all the whole batch", choices=("own", "same"))
    merge_every: int = knob(10, "T, local steps between merges (lte)", least=1, most=MOST)
    merge_rule: str = knob(
        "mean", "the paper's mean; telescope: the same from W_0, half the work, without resets", choices=tuple(RULES)
    )
    reset: str = knob("none", "after a merge: nothing, B, or A and B", choices=RESETS)
    reset_optimizer: bool = knob(False, "forget the optimizer state at every merge")
    loss_reduction: str = knob(
        "shard", "a head's loss: mean over its shard, or its part of the batch's mean", choices=REDUCTIONS
    )
    shares: tuple[float, ...] = knob((), "w_n of each head in a merge, as 0.5,0.25,0.25; default the same", least=0.0)
    topology: str = knob(
        "default",
        "who hears what at a merge; default allgather, or server where --quant is given; auto: the fewest bytes",
        choices=("default", "auto", "allgather", "allreduce", "server"),
    )
    wire: str = knob("full", "how factors travel", choices=tuple(WIRES))
    quant: str = knob("none", "how the heads see W", choices=("none", *LEVELS))
    quant_mode: str = knob("packed", "decode inside every product, or once into floats", choices=("packed", "fake"))
    quant_scale: str = knob("block", "one scale for each", choices=SCALES)
    quant_block: int = knob(64, "numbers that share a scale, a power of two", least=2, most=65536)
    quant_rounding: str = knob("nearest", "to a code", choices=ROUNDINGS)
    bad_heads: str = knob(
        "stop", "a head that is not finite, or (skip, clip) moved 3 times as far as the median", choices=POLICIES
    )
    quorum: int = knob(
        0, "heads that suffice for a merge under a master; who misses it is left out; 0: all", least=0, most=100_000
    )
    grace: float = knob(5.0, "seconds to wait for the others once a quorum is there", least=0.0, most=1e6)
    correction: str = knob(
        "factors", "V as factors beside W, or absorbed into a dense W of each head", choices=("factors", "absorbed")
    )
    stack: int = knob(
        1,
        "heads of a rank that share their dense products: faster for few rows a head, other bits",
        least=1,
        most=MOST,
    )
    replicas: str = knob("average", "biases and norms: trained and averaged at merges, or frozen", choices=REPLICAS)
    # optimisation
    optimizer: str = knob("adamw", "of every head", choices=("adamw", "sgd"))
    lr: float = knob(1e-3, "largest learning rate", above=0.0)
    momentum: float = knob(0.0, "of sgd", least=0.0, below=1.0)
    nesterov: bool = knob(False, "Nesterov's form of the momentum")
    beta1: float = knob(0.9, "of adamw", least=0.0, below=1.0)
    beta2: float = knob(0.999, "of adamw", least=0.0, below=1.0)
    eps: float = knob(1e-8, "of adamw", above=0.0)
    weight_decay: float = knob(0.0, "coupled for sgd, decoupled for adamw", least=0.0)
    clip: float = knob(0.0, "largest norm of a gradient; 0 for none", least=0.0)
    schedule: str = knob("cosine", "of the learning rate after the warm-up", choices=tuple(SHAPES))
    warmup: float = knob(0.05, "fraction of the steps with a rising rate", least=0.0, most=1.0)
    batch: int = knob(512, "samples a step, over all heads together", least=1, most=MOST)
    steps: int = knob(400, "local steps of every head", least=0, most=MOST)
    # the run
    eval_every: int = knob(
        0, "steps between evaluations, rounded up to merges; 0: a twentieth of the run", least=0, most=MOST
    )
    save_every: int = knob(
        0, "steps between checkpoints, rounded up to merges; 0: a tenth of the run", least=0, most=MOST
    )
    measure: bool = knob(False, "at evaluations: ranks of W_t - W_0, alignment of heads, gradient noise scale")
    seed: int = knob(0, "of everything random", least=0, below=2**63)
    dtype: str = knob("float32", "of all arithmetic", choices=("float32", "float64"))
    init_from: str = knob("", "start from the weights in this .safetensors file")
    versus: str = knob("none", "train this baseline too, on the same samples", choices=("none", "full"))

    def __post_init__(self):
        check_fields(self)
        self.check_together()

    def check_together(self):
        """What no single field can know. Raises BadInput."""
        if self.head_ranks and len(self.head_ranks) != self.heads:
            raise BadInput(f"head-ranks: expected one for each of {self.heads} heads, got {len(self.head_ranks)}")
        scale(self.alpha, min(self.head_ranks or (self.rank,)), self.scaling)
        if self.merge_rule == "telescope" and self.reset != "none":
            raise BadInput(f"merge-rule: expected mean with --reset {self.reset}, got telescope, which starts at W_0")
        self.check_merge()
        if self.batch < self.heads and self.head_data == "own":
            raise BadInput(f"batch: expected at least one sample for each of {self.heads} heads, got {self.batch}")
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum):
            raise BadInput("nesterov: expected --optimizer sgd and a --momentum above 0")

    def check_merge(self):
        """How the settings of merging, quantization and travel fit together. Raises BadInput."""
        if self.shares:
            shares(self.heads, self.shares)
        if self.quant_block & (self.quant_block - 1):
            raise BadInput(f"quant-block: expected a power of two, got {self.quant_block}")
        for name in MERGING:
            if self.method != "lte" and getattr(self, name) != self.default(name):
                raise BadInput(
                    f"{flag_name(name)}: {self.method} sums gradients and merges no factors; leave it out, or use lte"
                )
        for name in ("quant_mode", "quant_scale", "quant_block", "quant_rounding"):
            if self.quant == "none" and getattr(self, name) != self.default(name):
                raise BadInput(f"{flag_name(name)}: expected a --quant, without which it says nothing")
        factors_only = {"wire": "full", "quant": "none", "merge_rule": "mean", "bad_heads": "stop"}
        for name, needed in factors_only.items():
            if self.topology == "allreduce" and (got := getattr(self, name)) != needed:
                raise BadInput(
                    f"topology: allreduce sends dense changes, which needs {flag_name(name)} {needed}, got {got}"
                )
        if self.merge_rule == "telescope" and self.bad_heads != "stop":
            raise BadInput(
                "merge-rule: expected mean with --bad-heads skip or clip, got telescope, which leaves nobody out"
            )
        for name, needed in {"correction": "factors", "merge_rule": "mean"}.items():
            if self.quant != "none" and (got := getattr(self, name)) != needed:
                raise BadInput(
                    f"{flag_name(name)}: expected {needed} with --quant, where W is the heads' common copy, got {got}"
                )
        if self.wire == "float16" and self.bad_heads != "stop":
            raise BadInput(
                "wire: expected full or bfloat16 with --bad-heads skip or clip: float16 cannot carry a bad head"
            )
        self.check_quorum()
        if self.correction == "absorbed" and (self.reset != "none" or self.stack > 1):
            raise BadInput(
                "correction: expected factors with a reset or --stack; absorbed is for --reset none, head by head"
            )

    def check_quorum(self):
        """A quorum needs a master, who decides who is late, and a guard that leaves heads out. Raises BadInput."""
        if not self.quorum:
            if self.grace != self.default("grace"):
                raise BadInput("grace: expected a --quorum, without which all are waited for")
            return
        if self.quorum > self.heads:
            raise BadInput(f"quorum: expected at most the {self.heads} heads there are, got {self.quorum}")
        for name, fit in {
            "bad_heads": ("skip", "clip"),
            "topology": ("default", "server"),
            "versus": ("none",),
        }.items():
            if (got := getattr(self, name)) not in fit:
                raise BadInput(f"quorum: expected --{flag_name(name)} {' or '.join(fit)}, got {got}")

    def without_merging(self, method: str) -> "Config":
        """The same run by a method that merges nothing."""
        plain = {name: self.default(name) for name in MERGING}
        return dataclasses.replace(self, method=method, versus="none", **plain)

    @classmethod
    def default(cls, name: str):
        """What a setting is where nothing is said."""
        return cls.__dataclass_fields__[name].default

    @property
    def eval_steps(self) -> int:
        """Steps between evaluations."""
        return self.eval_every or max(1, self.steps // 20)

    @property
    def save_steps(self) -> int:
        """Steps between checkpoints."""
        return self.save_every or max(1, self.steps // 10)
