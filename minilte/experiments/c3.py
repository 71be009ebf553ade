"""C3: multi-head LoRA recovers full-rank training, and so does LTE at T = 1.

That LTE at T = 1 is multi-head LoRA when all heads see the same batch is law L3, exact under SGD with a head's rate
eta / N. Whether either learns what full rank learns is a matter of measurement. Both classify the same 2,000 images,
of which exactly one method is right on d. If chance decides which, their difference of accuracy has a deviation of
sqrt(d) / 2000 (McNemar's test). At the seeds below d is 116 to 171, that is 0.6 points, and the margin is twice that.

N r = 64 is the smaller side of the larger matrix, so no direction is out of reach (law L2). Each method has the best of
the rates 0.001, 0.003, 0.01 and 0.02 on the seeds 100 to 102, which are not measured.
"""

import numpy as np

from minilte.experiments.claim import Prediction, claim
from minilte.experiments.images import images
from minilte.experiments.runs import trained, weights_at_start
from minilte.settings.config import Config

SETTINGS = Config(
    widths=(64,), heads=4, rank=16, alpha=256.0, lr=0.003, merge_every=1, batch=128, steps=120, eval_every=120
)  # fmt: skip
MULTI_HEAD = SETTINGS.replace(method="mhlora")
FULL = SETTINGS.replace(method="full", lr=0.01)
EXACT = Config(  # in double precision and without kinks, whose side rounding could change
    widths=(16,), heads=4, rank=4, alpha=8.0, activation="tanh", dtype="float64", optimizer="sgd", lr=0.1,
    merge_every=1, head_data="same", replicas="frozen", batch=32, steps=10, eval_every=10,
)  # fmt: skip
MARGIN, ROUNDING = 0.012, 1e-8  # see above; the tolerance of law L3, for a dozen steps


def apart(config: Config, other: Config) -> float:
    """The largest distance between two runs' matrices, relative to how far the other run moved them."""
    start = weights_at_start(other, images())
    ends = [trained(each, images()).weights for each in (config, other)]
    distance = lambda a, b, name: float(np.linalg.norm(a[name].W - b[name].W))  # noqa: E731
    return max(distance(*ends, name) / distance(ends[1], start, name) for name in start)


@claim(
    "C3",
    "3.1",
    "multi-head LoRA recovers full-rank training; so does LTE at T = 1",
    Prediction("a", "LTE at T = 1, rate eta / N, from multi-head LoRA: distance / way gone", "L3", 0, ROUNDING),
    Prediction("b", "held-out accuracy, full rank less multi-head LoRA", "paper", most=MARGIN),
    Prediction(
        "c", "held-out accuracy, full rank less LTE at T = 1, heads on shards of the batch", "paper", most=MARGIN
    ),
)
def measure(seed: int) -> dict[str, float]:
    """One exact comparison, and two differences of accuracy on the same samples."""
    exact = EXACT.replace(seed=seed)
    accuracy = {
        name: trained(config.replace(seed=seed), images()).last.test_accuracy
        for name, config in {"full": FULL, "multi-head": MULTI_HEAD, "lte": SETTINGS}.items()
    }
    return {
        "a": apart(exact.replace(lr=exact.lr / exact.heads), exact.replace(method="mhlora")),
        "b": accuracy["full"] - accuracy["multi-head"],
        "c": accuracy["full"] - accuracy["lte"],
    }
