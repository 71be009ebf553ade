"""Every ratio stands the right way up: what is above the line, what is below, and on which side its target is."""

import inspect
import re
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from minilte.bench import figures
from minilte.bench.figures import FIGURES, LARGE, MANY, NARROW, SMALL
from minilte.bench.timing import Pair
from minilte.commands.bench import target
from minilte.core.lte import MEAN
from minilte.core.random import stream
from minilte.rules.telescope import TELESCOPE

PAGE = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
TEN, STACKED = LARGE._replace(every=10), dict(stack=4, rule=TELESCOPE)
OF_A_STEP = {  # the words of a figure -> what is timed above the line, and below it
    "step / torch LTE as the authors'": (("step", LARGE, 2, {}), ("torch LTE", LARGE, False)),
    "same, T 10": (("step", TEN, 2, {}), ("torch LTE", TEN, False)),
    "same, batch 256, T 1": (("step", SMALL, 2, {}), ("torch LTE", SMALL, False)),
    "same, batch 256, T 1, rows stacked": (("step", SMALL, 2, STACKED), ("torch LTE", SMALL, False)),
    "speed-up of rows stacked in groups of 8": (("step", MANY, 2, {}), ("step", MANY, 2, dict(stack=8))),
    "step / torch LTE, one bmm": (("step", LARGE, 2, {}), ("torch LTE", LARGE, True)),
    "step / dense torch": (("step", LARGE, 2, {}), ("dense torch", LARGE)),
    "step / peft LoRA": (("step", LARGE, 2, {}), ("peft LoRA", LARGE)),
    "floor / step, batch 4096, 1024 wide": (("floor", LARGE, 2), ("step", LARGE, 2, {})),
    "floor / step, batch 4096, 256 wide": (("floor", NARROW, 2), ("step", NARROW, 2, {})),
    "floor / step, batch 256": (("floor", SMALL, 2), ("step", SMALL, 2, {})),
    "speed-up of 2 threads": (("step", LARGE, 1, {}), ("step", LARGE, 2, {})),
}


def of_peer(work):
    """What a peer's function stands for, without calling it: it would need torch."""
    kind, held = work.__qualname__.split(".")[0], inspect.getclosurevars(work).nonlocals
    if kind == "stacked_lte":
        return "torch LTE", held["size"], sys.modules["torch"].optim.AdamW.call_args.kwargs["fused"]
    if kind == "dense":
        peft = held["net"] is sys.modules["peft"].get_peft_model.return_value
        return "peft LoRA" if peft else "dense torch", held["size"]
    return {"adamw": "torch AdamW", "naive_merge": "dense merge"}[kind], sys.modules["torch"].randn.call_args_list


@pytest.fixture(autouse=True)
def told(monkeypatch):
    """Nothing is timed: a ratio is (what ran above the line, what ran below it)."""
    monkeypatch.setitem(sys.modules, "torch", mock.MagicMock())
    monkeypatch.setitem(sys.modules, "peft", mock.MagicMock())
    monkeypatch.setattr(figures.peers, "samples", lambda size: (np.zeros(1), np.zeros(1)))
    monkeypatch.setattr(figures.peers, "tensors", lambda size: (mock.MagicMock(), mock.MagicMock()))
    monkeypatch.setattr(
        figures.step, "rounds", lambda size, threads, **changes: lambda: ("step", size, threads, changes)
    )
    monkeypatch.setattr(figures.step, "products", lambda size, threads: lambda: ("floor", size, threads))
    what = lambda work: of_peer(work) if work.__module__ == figures.peers.__name__ else work()  # noqa: E731
    monkeypatch.setattr(figures, "paired", lambda above, below, runs: Pair(None, None, (what(above), what(below))))


def figure(words):
    """The figure whose name begins with these words; of several the shortest."""
    return min((one for one in FIGURES if one.name.startswith(words)), key=lambda one: len(one.name))


@pytest.mark.parametrize("words", OF_A_STEP)
def test_a_ratio_of_steps_has_above_and_below_the_line_what_its_name_says(words):
    assert figure(words).measure(3) == OF_A_STEP[words]


def test_adamw_is_over_that_of_torch():
    above, (below, drawn) = figures.adamw(1, numbers=1000)
    assert below == "torch AdamW" and above is None
    assert [call.args for call in drawn] == [(1000,), (1000,)]


@pytest.mark.parametrize("rule", [MEAN, TELESCOPE], ids=["mean", "telescope"])
def test_a_merge_by_a_rule_is_over_one_by_dense_matrices(rule):
    (merged, _), (below, drawn) = figures.merge(1, rule, width=8, heads=2, rank=3)
    assert merged["layer1"].W.shape == (8, 8) and below == "dense merge"
    assert [call.args for call in drawn] == [(8, 8), *[(2, 3, 8), (2, 8, 3)] * 2]


def test_a_packed_product_is_over_that_of_floats():
    draw = stream(0, "check").standard_normal
    W, x = (draw(shape).astype(np.float32) for shape in ((64, 64), (3, 64)))
    packed, floats = figures.packed_product(1, 3, wide=64)
    for mine, theirs, exact in zip(packed, floats, (x @ W.T, x @ W), strict=True):
        assert np.array_equal(theirs, exact) and not np.array_equal(mine, exact)


def test_a_guarded_round_is_over_a_bare_one(monkeypatch):
    build = figures.build
    monkeypatch.setattr(figures, "build", lambda config: build(config)._replace(method="guarded"))
    monkeypatch.setattr(figures.step, "turns", lambda made, heads, threads: lambda: made)
    above, below = figures.guarded("clip")(1)
    assert above == "guarded" != below


def test_processes_are_over_ddp_and_a_speed_up_is_the_slower_over_the_faster(monkeypatch):
    monkeypatch.setattr(figures.processes, "measured_on", lambda count: (12.0 / count, 0))
    monkeypatch.setattr(figures.ddp, "seconds_on", lambda count: 24.0 / count)
    assert figure("LTE on 2 processes / torch DDP").measure(2).median == 0.5
    assert figure("speed-up of 2 processes over 1").measure(2).median == 2


def test_the_peak_of_a_packed_worker_is_over_that_of_dense_training(monkeypatch):
    monkeypatch.setattr(figures.memory, "peak", lambda command: {"packed": 3, "dense": 4}[command[-1]])
    assert figure("peak memory, packed int4 worker").measure(2).median == 0.75


def test_bytes_are_over_those_of_a_ring_by_the_formula():
    small = figures.bytes_against_ring(1, width=64, heads=4, rank=2, every=5)
    assert small.median == 4 * 2 / (5 * 64)  # N r / (T m)


def test_what_is_ours_over_another_should_be_small_and_a_speed_up_or_a_floor_large():
    for one in FIGURES:
        large = one.name.startswith(("speed-up", "floor"))
        assert (one.most is None) if large else (one.least is None), one.name


# ---------------------------------------------------------------- the page


def shown():
    """(figure, ratio, target) of every row of the page."""
    rows = PAGE.split("| figure | ratio | target |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_page_has_every_target_and_says_which_are_missed():
    named = {words: row for row in shown() for words in [row[0]]}
    assert len(named) == len(FIGURES) - 2  # without those of the guard, which are of the default run
    of_code = sorted(target(one) for one in FIGURES if "guard" not in one.name and "--bad-heads" not in one.name)
    written = [row[2].split(":")[0].strip(" |") for row in shown()]
    signs = {"at most 1/160": "<= 0.00625", "": ""}
    assert sorted(signs[one] if one in signs else number(one) for one in written) == of_code


def number(words):
    """ "at most 0.80" as the command has it."""
    side, bound = re.fullmatch(r"at (most|least) ([\d.]+)", words).groups()
    return f"{'<=' if side == 'most' else '>='} {float(bound):.3g}"


@pytest.mark.parametrize("row", [row for row in shown() if "[" in row[1]], ids=lambda row: row[0][:30])
def test_a_median_of_the_page_is_between_its_ends_and_its_target_is_met_or_said_to_be_missed(row):
    _, ratio, goal = row
    median, least, most = map(float, re.match(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", ratio).groups())
    assert least <= median <= most
    if bound := re.match(r"at (most|least) ([\d.]+)", goal):
        met = median <= float(bound[2]) if bound[1] == "most" else median >= float(bound[2])
        assert met == ("missed" not in goal)
