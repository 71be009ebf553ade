"""C1: without merging one low-rank head gets stuck; merged with a reset, it solves least squares.

The target is a 32 x 32 matrix whose distance from W_0 has 32 singular values of 1. So one adapter of rank 4 leaves
at least 28/32 of the loss at the start (law L6). A merge adds at most 4 directions (law L2): after k merges at least
1 - k/8 is left, so less than half needs five merges.

What is reset decides. With B alone and T = 1, A never moves, for its gradient is zero at B = 0 (law L7): the rows of
W - W_0 stay in four directions for ever. If A is drawn anew at T = 1, a floor of noise remains where Adam's moments are
reset too, for its first step is as long as the rate, however small the gradient; where they are kept it need not.
"""

from functools import cache

import numpy as np

from minilte.data.dataset import Dataset
from minilte.data.synthetic import least_squares, target_matrix
from minilte.experiments.claim import Prediction, claim
from minilte.experiments.runs import records, weights_at_start
from minilte.settings.config import Config

Points = tuple[tuple[int, float], ...]  # (step, fraction of the loss at the start)
SETTINGS = Config(
    data="least-squares", model="linear", bias=False, heads=1, rank=4, alpha=32.0,
    lr=0.02, schedule="constant", warmup=0.0, batch=128, steps=600, eval_every=10,
)  # fmt: skip
ALONE = SETTINGS.replace(method="lora", steps=200)
PLATEAU = 28 / 32
ABOVE = 0.01  # of the start: with a constant rate a run stays a little above the floor, never below
FLAT = 0.3  # powers of ten, a factor of 2 either way: a floor of noise has no trend, but two of its steps differ


def merging(T: int, reset: str) -> Config:
    """One head that merges every T steps and resets "b", or "ab" where A is drawn anew too."""
    return SETTINGS.replace(merge_every=T, reset=reset)


def problem(config: Config) -> Dataset:
    """y = x (W_0 + W*)^T, so that a run has W* to learn, whatever W_0 is.

    The rows of the test set are sqrt(n) times those of I: its loss is |W_0 + W* - W|_F^2, without an error of sampling.
    """
    data = least_squares(config.seed, samples=1024)
    W_0, n = weights_at_start(config, data)["layer1"].W, data.inputs
    x_test, goal = np.sqrt(n) * np.eye(n), W_0 + target_matrix(config.seed)
    return data._replace(y_train=data.x_train @ goal.T, x_test=x_test, y_test=x_test @ goal.T)


def curve(config: Config) -> Points:
    """The fraction of the loss that is left, at every evaluation of a run."""
    return curve_of(tuple(config.own().items()))


@cache
def curve_of(settings: tuple) -> Points:
    """`curve` by the settings of a run, computed once for each."""
    config = Config(**dict(settings))
    evaluated = [record for record in records(config, problem(config)) if record.test_loss is not None]
    return tuple((record.step, record.test_loss / evaluated[0].test_loss) for record in evaluated)


def half_way(points: Points) -> int:
    """The first evaluated step at which less than half is left; the last step + 1 where there is none."""
    return next((step for step, left in points if left < 0.5), points[-1][0] + 1)


def decades(points: Points, since: int = 400) -> float:
    """log10 of what was left at a step over what is left at the end."""
    return float(np.log10(dict(points)[since] / points[-1][1]))


@claim(
    "C1",
    "4.1, Fig. 11",
    "without merging one head plateaus; merged with reset it recovers the solution, the faster the more often",
    Prediction("a", "left by one LoRA of rank 4", "L6", PLATEAU, PLATEAU + ABOVE),
    Prediction("b", "left when A and B are reset, the worst of T = 1, 10, 50", "paper", most=0.01),
    Prediction("c", "left when B alone is reset, the worse of T = 10, 50", "paper", most=0.01),
    Prediction("d", "left when B alone is reset, T = 1", "L2, L6", PLATEAU, PLATEAU + ABOVE),
    Prediction(
        "e", "A and B reset: steps until less than half is left, T = 50; no fewer than 5 T", "L2, L6", least=250
    ),
    Prediction("f", "A and B reset: these steps, T = 50 / T = 10", "paper", least=1),
    Prediction("g", "A and B reset: these steps, T = 1 / T = 10", "paper", least=1),
    Prediction(
        "h", "A and B reset, T = 1: decades nearer from step 400 to 600; at a floor none", "paper", -FLAT, FLAT
    ),
    Prediction("i", "the same with the optimizer reset too", "paper", -FLAT, FLAT),
)
def measure(seed: int) -> dict[str, float]:
    """Nine numbers from eight runs on one problem."""
    at = lambda config: curve(config.replace(seed=seed))  # noqa: E731
    both = {T: at(merging(T, "ab")) for T in (1, 10, 50)}
    only_b, frozen = [at(merging(T, "b")) for T in (10, 50)], at(merging(1, "b").replace(steps=100))
    all_new = at(merging(1, "ab").replace(reset_optimizer=True))
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
