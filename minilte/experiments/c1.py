"""C1: without merging one low-rank head gets stuck; merged with a reset, it solves least squares.

The matrix to be learnt is 32 x 32, and from where a run starts all singular values of what is missing are 1. So one
adapter of rank 4 leaves at least 28/32 of the start (law L6). A merge brings 4 more directions at most (law L2): after k
merges at least 1 - k/8 is left, and less than half needs five.

What is reset decides. With B alone and T = 1, A never moves, for its gradient is zero at B = 0 (law L7): the rows of
W - W_0 stay in four directions for ever. If A is drawn anew at T = 1, a floor of noise remains where Adam's moments are
reset too, for its first step is as long as the rate, however small the gradient; where they are kept it need not.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from minilte.data.dataset import Dataset
from minilte.data.synthetic import least_squares, target_matrix
from minilte.experiments.claim import Part, claim
from minilte.job.api import rounds
from minilte.run.build import build
from minilte.settings.config import Config

Points = tuple[tuple[int, float], ...]  # (step, share of the start that is left)
SETTINGS = Config(
    data="least-squares", model="linear", bias=False, heads=1, rank=4, alpha=32.0,
    lr=0.02, schedule="constant", warmup=0.0, batch=128, steps=600, eval_every=10,
)  # fmt: skip
ALONE = replace(SETTINGS.without_merging("lora"), steps=200)
PLATEAU = 28 / 32
ABOVE = 0.01  # of the start: with a constant rate a run hovers a little above the floor, never below
FLAT = 0.3  # powers of ten, a factor of 2 either way: a floor of noise has no trend, but it is read at two steps only


def merging(T: int, reset: str) -> Config:
    """One head that merges every T steps and resets "b", or "ab" where A is drawn anew too."""
    return replace(SETTINGS, merge_every=T, reset=reset)


def problem(config: Config) -> Dataset:
    """y = x (W_0 + W*)^T, so that W* is what is missing at the start, whatever W_0 is.

    The rows of the test set are sqrt(n) times those of I: its loss is |W_0 + W* - W|_F^2, without an error of sampling.
    """
    data = least_squares(config.seed, samples=1024)
    W_0, n = build(config, data).task.weights["layer1"].W, data.inputs
    x_test, goal = np.sqrt(n) * np.eye(n), W_0 + target_matrix(config.seed)
    return data._replace(y_train=data.x_train @ goal.T, x_test=x_test, y_test=x_test @ goal.T)


@cache
def curve(config: Config) -> Points:
    """What a run leaves, as often as it is evaluated."""
    seen = [record for record in rounds(config, problem(config)) if record.test_loss is not None]
    return tuple((record.step, record.test_loss / seen[0].test_loss) for record in seen)


def half_way(points: Points) -> int:
    """The first step seen at which less than half is left; the end of the run and one more, if it never comes."""
    return next((step for step, left in points if left < 0.5), points[-1][0] + 1)


def decades(points: Points, since: int = 400) -> float:
    """By how many powers of ten less is left at the end than at a step before."""
    return float(np.log10(dict(points)[since] / points[-1][1]))


@claim(
    "C1",
    "4.1, Fig. 11",
    "without merging one head plateaus; merged with reset it recovers the solution, the faster the more often",
    Part("a", "left by one LoRA of rank 4", "L6", PLATEAU, PLATEAU + ABOVE),
    Part("b", "left when A and B are reset, the worst of T = 1, 10, 50", "paper", most=0.01),
    Part("c", "left when B alone is reset, the worse of T = 10, 50", "paper", most=0.01),
    Part("d", "left when B alone is reset, T = 1", "L2, L6", PLATEAU, PLATEAU + ABOVE),
    Part("e", "A and B reset: steps until less than half is left, T = 50; no fewer than 5 T", "L2, L6", least=250),
    Part("f", "A and B reset: these steps, T = 50 / T = 10", "paper", least=1),
    Part("g", "A and B reset: these steps, T = 1 / T = 10", "paper", least=1),
    Part("h", "A and B reset, T = 1: decades nearer from step 400 to 600; at a floor none", "paper", -FLAT, FLAT),
    Part("i", "the same with the optimizer reset too", "paper", -FLAT, FLAT),
)
def measure(seed: int) -> dict[str, float]:
    """Nine numbers from eight runs on one problem."""
    at = lambda config: curve(replace(config, seed=seed))  # noqa: E731
    both = {T: at(merging(T, "ab")) for T in (1, 10, 50)}
    only_b, frozen = [at(merging(T, "b")) for T in (10, 50)], at(replace(merging(1, "b"), steps=100))
    all_new = at(replace(merging(1, "ab"), reset_optimizer=True))
    left, half = (lambda points: points[-1][1]), {T: half_way(points) for T, points in both.items()}
    return {
        "a": left(at(ALONE)),
        "b": max(map(left, both.values())),
        "c": max(map(left, only_b)),
        "d": left(frozen),
        "e": half[50],
        "f": half[50] / half[10],
        "g": half[1] / half[10],
        "h": decades(both[1]),
        "i": decades(all_new),
    }
