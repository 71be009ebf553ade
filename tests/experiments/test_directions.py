"""Which way round a claim's numbers are, and at which seeds: measured on runs whose outcome is made up.

For each claim there is a world in which all holds that the paper, a law or a formula says. There every prediction holds; and a
prediction fails as soon as what it speaks of is the other way round.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from minilte.core.types import Linear
from minilte.experiments import CLAIMS, c1, c2, c3, c7, c15, picture
from minilte.experiments.claim import judged
from minilte.experiments.runs import Done
from minilte.measure.alignment import cosine

SEED = 7


def verdicts(name, numbers):
    """What two seeds with these numbers would say of a claim."""
    claim = CLAIMS[name]
    assert set(numbers) == {said.key for said in claim.predictions}
    return {said.key: judged(claim, said, [numbers[said.key]] * 2).verdict for said in claim.predictions}


def check(measured, expected, wrong):
    """`measured(**outcome)` are the numbers of a claim: as expected in a world that obeys, and each wrong alone.

    `wrong` maps an outcome, by name and value, to the keys of the predictions that must fall with it.
    """
    name, measure = measured
    right = measure()
    assert right == pytest.approx(expected) and set(verdicts(name, right).values()) == {"holds"}
    for changed, keys in wrong:
        found = verdicts(name, measure(**changed))
        assert {key for key, verdict in found.items() if verdict == "fails"} == set(keys), changed
    assert {key for _, keys in wrong for key in keys} == set(expected)  # every prediction can fall


def seeded(configs):
    """The runs of a measure were all of its own seed, and those of one measure differ in settings alone."""
    assert configs and {config.seed for config in configs} == {SEED}


# ---------------------------------------------------------------- C1


def points(left, half, last=600, at_400=None):
    """A curve that is at `left` at the end, falls below one half at step `half`, and has `at_400` there."""
    steps = sorted({0, half - 1, half, 400, last})
    return tuple((t, left if t == last else at_400 or left if t == 400 else 1.0 if t < half else 0.4) for t in steps)


ENDS = dict(alone=0.88, ab1=0.001, ab10=0.001, ab50=0.005, b10=0.002, b50=0.003, b1=0.88, new=0.001)


def measured_c1(monkeypatch):
    def measure(half1=110, half10=100, half50=260, before=0.001, new_before=0.001, **ends):
        runs, end = [], ENDS | ends

        def curve(config):
            runs.append(config)
            if config.method.name == "lora":
                return points(end["alone"], 100, 200)
            kind, T = config.method.reset, config.method.merge_every
            if config.method.reset_optimizer:
                return points(end["new"], 100, at_400=new_before)
            if kind == "b":
                return points(end[f"b{T}"], 50, 100 if T == 1 else 600)
            half = {1: half1, 10: half10, 50: half50}[T]
            return points(end[f"ab{T}"], half, at_400=before if T == 1 else None)

        monkeypatch.setattr(c1, "curve", curve)
        found = c1.measure(SEED)
        seeded(runs)
        return found

    return "C1", measure


def test_c1_takes_the_worst_of_its_ends_and_the_slower_over_the_faster(monkeypatch):
    expected = dict(a=0.88, b=0.005, c=0.003, d=0.88, e=260, f=2.6, g=1.1, h=0.0, i=0.0)
    wrong = [
        (dict(alone=0.5), "a"),
        (dict(ab50=0.2), "b"),
        (dict(ab1=0.2, before=0.2), "b"),
        (dict(b10=0.2), "c"),
        (dict(b50=0.2), "c"),
        (dict(b1=0.5), "d"),
        (dict(half50=200), "e"),
        (dict(half10=300), "fg"),
        (dict(half1=90), "g"),
        (dict(before=0.1), "h"),
        (dict(before=1e-5), "h"),
        (dict(new_before=0.1), "i"),
    ]
    check(measured_c1(monkeypatch), expected, wrong)


# ---------------------------------------------------------------- C2


def made_up_runs(monkeypatch, module, key, scores, attribute):
    """`trained` of a claim's module, that looks a run's outcome up by key(config)."""
    runs = []

    def trained(config, data):
        runs.append(config)
        return Done(SimpleNamespace(**{attribute: scores[key(config)]}), key(config))

    monkeypatch.setattr(module, "trained", trained)
    monkeypatch.setattr(module, "images", lambda: None)
    return runs


def of_c2(config):
    return {"lora": "plain", "full": "full"}.get(config.method.name) or {20: "seldom", 5: "often"}[
        config.method.merge_every
    ]


def measured_c2(monkeypatch):
    def measure(plain=0.9, seldom=0.7, often=0.8, full=0.4, rank_plain=1, rank_seldom=9):
        losses, ranks = dict(plain=plain, seldom=seldom, often=often, full=full), []
        runs = made_up_runs(monkeypatch, c2, of_c2, losses, "test_loss")

        def rank(config, weights):
            assert weights == of_c2(config)  # of the same run
            ranks.append(config)
            return {"plain": rank_plain, "seldom": rank_seldom}[weights]

        monkeypatch.setattr(c2, "rank_of_change", rank)
        found = c2.measure(SEED)
        seeded([*runs, *ranks])
        assert len({(one.batch, one.steps, one.widths, one.schedule.name) for one in runs}) == 1
        return found

    return "C2", measure


def test_c2_compares_losses_of_one_seed_the_worse_less_the_better(monkeypatch):
    wrong = [
        (dict(rank_plain=2), "a"),
        (dict(rank_seldom=1), "b"),
        (dict(rank_seldom=11), "b"),
        (dict(plain=0.6), "c"),
        (dict(full=0.75), "d"),
        (dict(often=0.65), "e"),
    ]
    check(measured_c2(monkeypatch), dict(a=1, b=9, c=0.2, d=0.3, e=0.1), wrong)


# ---------------------------------------------------------------- C3


def measured_c3(monkeypatch):
    def measure(full=0.80, mhlora=0.795, lte=0.79, way=1e-10):
        runs = made_up_runs(
            monkeypatch, c3, lambda c: c.method.name, dict(full=full, mhlora=mhlora, lte=lte), "test_accuracy"
        )

        def apart(config, other):
            assert (config.method.name, other.method.name) == ("lte", "mhlora") and config.lr * 4 == other.lr
            runs.extend((config, other))
            return way

        monkeypatch.setattr(c3, "apart", apart)
        found = c3.measure(SEED)
        seeded(runs)
        assert len({(one.batch, one.steps, one.widths, one.schedule.name) for one in runs[:3]}) == 1
        return found

    return "C3", measure


def test_c3_asks_how_much_more_accurate_full_rank_is(monkeypatch):
    wrong = [(dict(way=1e-3), "a"), (dict(mhlora=0.7), "b"), (dict(lte=0.7), "c"), (dict(full=0.9), "bc")]
    check(measured_c3(monkeypatch), dict(a=1e-10, b=0.005, c=0.01), wrong)


def test_c3_measures_the_distance_by_the_way_that_the_other_run_went(monkeypatch):
    weights = lambda *numbers: {"layer1": Linear(np.array([numbers], float), None)}  # noqa: E731
    ends = {"one": weights(3.5, 4.0), "other": weights(3.0, 4.0)}
    monkeypatch.setattr(c3, "trained", lambda config, _: Done(None, ends[config]))
    monkeypatch.setattr(c3, "weights_at_start", lambda *_: weights(0.0, 0.0))
    monkeypatch.setattr(c3, "images", lambda: None)
    assert c3.apart("one", "other") == pytest.approx(0.5 / 5)


# ---------------------------------------------------------------- C7


def measured_c7(monkeypatch):
    def measure(own=3.8, data=3.6, start=3.0, twins=1.0):
        runs = []

        def along(config, how):
            runs.append(config)
            same = config.head_data == "same"
            if config.head_init == "same" and same:
                assert how is cosine
                return [1.0, twins]
            assert how is not cosine
            return [4.0, data if same else start if config.head_init == "same" else own]

        monkeypatch.setattr(c7, "along", along)
        monkeypatch.setattr(c7, "at_random", lambda: 4.0)
        found = c7.measure(SEED)
        seeded(runs)
        return found

    return "C7", measure


def test_c7_takes_the_least_and_asks_by_how_much_own_starts_and_data_are_farther_apart(monkeypatch):
    wrong = [
        (dict(twins=0.5), "a"),
        (dict(own=2.0, data=1.0, start=1.0), "b"),
        (dict(data=3.9), "c"),
        (dict(start=3.9), "d"),
    ]
    check(measured_c7(monkeypatch), dict(a=1.0, b=0.95, c=0.05, d=0.2), wrong)


# ---------------------------------------------------------------- C15


def measured_c15(monkeypatch):
    def measure(gather=600, server=500, held=1096, printed="28.8M", lte=700, all_to_all=1200, ring=0.9, slow=1.2):
        runs, quantized = [], lambda config: config.quant.name == "nf4"
        monkeypatch.setattr(
            c15.counting,
            "run",
            lambda config: runs.append(config) or ((server, held) if quantized(config) else (gather, 0)),
        )
        monkeypatch.setattr(c15.counting, "bytes_sent", lambda config, key: {"allgather": 600, "server": 500}[key])
        monkeypatch.setattr(c15.counting, "bytes_held", lambda config, key: 1000)
        row = lambda printed, computed: SimpleNamespace(printed=printed, computed=computed)  # noqa: E731
        rows = [row(printed, 28.8e6), row("x", 0), row("y", all_to_all), row("z", 0), row("w", lte)]
        monkeypatch.setattr(c15.figure10, "rows", lambda: rows)
        monkeypatch.setattr(c15.figure10, "unsaid", lambda: {"lte_to_ring_of_8": ring})

        def slower(config, other):
            assert quantized(config) and not quantized(other)
            runs.extend((config, other))
            return slow

        monkeypatch.setattr(c15, "slower", slower)
        found = c15.measure(SEED)
        seeded(runs)
        return found

    return "C15", measure


def test_c15_divides_what_is_counted_by_the_formula_and_lte_by_data_parallel(monkeypatch):
    wrong = [
        (dict(gather=601), "a"),
        (dict(server=499), "b"),
        (dict(held=1000), "c"),
        (dict(printed="28.7M"), "d"),
        (dict(lte=1300), "e"),
        (dict(ring=1.5), "f"),
        (dict(slow=1.05), "g"),
        (dict(slow=1.5), "g"),
    ]
    check(measured_c15(monkeypatch), dict(a=1.0, b=1.0, c=96.0, d=0.0, e=700 / 1200, f=0.9, g=1.2), wrong)


def test_slower_is_the_time_of_the_first_over_that_of_the_second_without_their_first_rounds(monkeypatch):
    clock = [0.0]

    def rounds(seconds, _):
        for turn in range(6):
            clock[0] += seconds if turn >= 2 else 100.0
            yield turn

    monkeypatch.setattr(c15, "records", rounds)
    monkeypatch.setattr(c15, "images", lambda: None)
    monkeypatch.setattr(c15.time, "process_time", lambda: clock[0])
    assert c15.slower(3.0, 2.0) == pytest.approx(1.5)


# ---------------------------------------------------------------- the picture


def test_every_curve_of_the_picture_is_that_of_its_name(monkeypatch):
    monkeypatch.setattr(picture, "curve", lambda config: config)
    single, many = picture.curves()
    assert single["one LoRA"].method.name == "lora" and {one.heads for one in single.values()} == {1}
    assert [single[f"merged every {T} steps"].method.merge_every for T in (10, 50)] == [10, 50]
    assert {one.steps for one in [*single.values(), *many.values()]} == {600}
    assert {N: (one.heads, one.batch // N) for N, one in many.items()} == {N: (N, 128) for N in picture.HEADS}
    assert list(picture.floors()) == list(many) and picture.floors()[1] == c1.PLATEAU
