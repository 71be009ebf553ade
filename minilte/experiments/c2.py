"""C2: one head that merges and resets beats plain LoRA and stays short of full rank; merging often delays it.

With rank 1 the claim holds on a small network; docs/claims.md has what happens at rank 2 and 4. Plain LoRA, which is
also what one head without a reset does (law L1), moves every matrix by rank 1 for ever. With B reset each merge can add
another (law L2): here 10 of them. All runs see the same samples. For each of them the rate is the best of 0.001, 0.003,
0.01 and 0.02 on the seeds 100 to 102, which are not measured.
"""

from minilte.core.types import Weights
from minilte.experiments.claim import Prediction, claim
from minilte.experiments.images import images
from minilte.experiments.runs import trained, weights_at_start
from minilte.measure.ranks import numerical_rank
from minilte.settings.config import Config

SETTINGS = Config(widths=(64,), heads=1, rank=1, alpha=64.0, lr=0.01, reset="b", batch=100, steps=200, eval_every=200)
SELDOM, OFTEN = (SETTINGS.replace(merge_every=T) for T in (20, 5))
PLAIN, FULL = (SETTINGS.replace(method=method) for method in ("lora", "full"))


def rank_of_change(config: Config, weights: Weights) -> int:
    """The rank of W - W_0 in the first layer; what is below 1e-4 of the largest is float32's."""
    start = weights_at_start(config, images())
    return numerical_rank(weights["layer1"].W - start["layer1"].W, 1e-4)


@claim(
    "C2",
    "4.1, Fig. 6",
    "one head, merged with reset, beats plain LoRA and stays short of full rank; frequent merging delays convergence",
    Prediction("a", "rank of the first layer's change under plain LoRA", "L2", 1, 1),
    Prediction("b", "the same, merged every 20 steps, 10 times", "L2", 2, 10),
    Prediction("c", "held-out loss, plain LoRA less merged every 20 steps", "paper", least=0),
    Prediction("d", "held-out loss, merged every 20 steps less full rank", "paper", least=0),
    Prediction("e", "held-out loss, merged every 5 steps less every 20", "paper", least=0),
)
def measure(seed: int) -> dict[str, float]:
    """Five numbers from four runs on the same samples."""
    runs = {"plain": PLAIN, "seldom": SELDOM, "often": OFTEN, "full": FULL}
    runs = {name: config.replace(seed=seed) for name, config in runs.items()}
    done = {name: trained(config, images()) for name, config in runs.items()}
    loss = {name: run.last.test_loss for name, run in done.items()}
    rank = {name: rank_of_change(runs[name], done[name].weights) for name in ("plain", "seldom")}
    return {
        "a": rank["plain"],
        "b": rank["seldom"],
        "c": loss["plain"] - loss["seldom"],
        "d": loss["seldom"] - loss["full"],
        "e": loss["often"] - loss["seldom"],
    }
