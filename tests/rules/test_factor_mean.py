"""The product of averaged factors against its definition; its bias; for whole runs against dense heads."""

import numpy as np
import pytest
import tiny
from dense import dense_start, up_to_merges
from support import OPTIMIZERS, as_lists, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.lte import MEAN, lte
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Sent
from minilte.laws import LAWS, Variant, oracle, try_law
from minilte.laws.exact import redrawn
from minilte.laws.world import Case
from minilte.methods.fedit import fedit
from minilte.rules.factor_mean import FACTOR_MEAN
from minilte.rules.outer import outer
from minilte.steps.adamw import adamw

W, EQUAL = [0.5, 0.2, 0.3], [2, 2, 2]


def dense(task, plan, settings):
    """LTE by matrices, whose merge adds B A - B' A' of the averaged factors."""
    run = oracle.Explorer(*dense_start(task, plan), settings, W, redraw=redrawn(plan))
    before = [0.0 for _ in run.L]
    for t in up_to_merges(run, task.batch):
        layers = []
        for i in run.L:
            A = sum(w * run.A[n][i] for n, w in enumerate(W))
            B = sum(w * run.scales[n][i] * run.B[n][i] for n, w in enumerate(W))
            layers.append(run.W[i] + B @ A - before[i])
            before[i] = B @ A if settings.reset == "none" else 0.0
        run.merge(t)  # V, biases, resets
        run.W = layers
        yield run.weights()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("reset", ["none", "b", "ab"])
def test_it_follows_the_dense_method(reset, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task, EQUAL)
    reference = dense(task, plan, oracle.Settings(task.rate, every=every, reset=reset, **extra))
    assert_same(trajectory(lte(task, plan, every, reset, w=W, rule=FACTOR_MEAN), 3), list(reference))


@pytest.mark.parametrize("rule", [FACTOR_MEAN, outer(rule=FACTOR_MEAN)], ids=["alone", "in an outer step"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(rule):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task, EQUAL), 4, w=W, rule=rule), 3, 10)


def merged(rule, heads, w, s=2.0):
    """The change of a layer that starts at zero, for heads without V; the last at scale s, the others at 2."""
    m, n = len(heads[0].B), heads[0].A.shape[1]
    weights, sent = {"layer": Linear(np.zeros((m, n)), None)}, [Sent({"layer": pair}, {}) for pair in heads]
    scales = [{"layer": 2.0}] * (len(w) - 1) + [{"layer": s}]
    return rule.merge(None, weights, sent, None, scales, w, map)[0]["layer"].W


def test_a_case_by_hand():
    heads = [Adapter(np.array([[1.0, 0.0]]), np.array([[4.0]])), Adapter(np.array([[0.0, 1.0]]), np.array([[8.0]]))]
    # A = [1/4, 3/4], s B = 2 (1/4 4 + 3/4 8) = 14; the mean would be [2, 12]
    assert merged(FACTOR_MEAN, heads, [0.25, 0.75]).tolist() == [[3.5, 10.5]]
    assert merged(MEAN, heads, [0.25, 0.75]).tolist() == [[2.0, 12.0]]
    # scales of their own count in B: 1/4 2 4 + 3/4 4 8 = 26
    assert merged(FACTOR_MEAN, heads, [0.25, 0.75], 4.0).tolist() == [[6.5, 19.5]]


@pytest.mark.parametrize("N", [2, 4, 8])
def test_for_independent_heads_it_misses_the_mean_by_the_root_of_1_minus_1_over_N(N):
    missed = size = 0.0
    for draw in range(40):
        normal = stream(draw, "check", N).standard_normal
        heads = [Adapter(normal((4, 30)), normal((20, 4))) for _ in range(N)]
        mean = merged(MEAN, heads, [1 / N] * N)
        missed += np.sum((mean - merged(FACTOR_MEAN, heads, [1 / N] * N)) ** 2)
        size += np.sum(mean**2)
    assert abs(np.sqrt(missed / size) - np.sqrt(1 - 1 / N)) < 0.02  # 40 draws, each within about 5 %


def test_heads_that_share_a_factor_are_averaged():
    normal = stream(0, "check").standard_normal
    A, B = [normal((2, 5)) for _ in W], [normal((4, 2)) for _ in W]
    for heads in ([Adapter(A[0], b) for b in B], [Adapter(a, B[0]) for a in A]):
        np.testing.assert_allclose(merged(FACTOR_MEAN, heads, W), merged(MEAN, heads, W), atol=1e-13)  # rounding


def test_one_merge_from_one_A_is_that_of_fedit():
    task, _ = make_task(adamw(), 0.01)
    plan = make_plan(task, EQUAL)
    same = plan._replace(draw=lambda n, step: plan.draw(0, step))
    paths = lte(task, same, 50, w=W, rule=FACTOR_MEAN), fedit(task, plan, W, 50)
    assert_same(*(trajectory(method, 3) for method in paths))


def test_without_resets_the_weights_are_those_of_the_averaged_factors():
    task, _ = make_task(adamw(), 0.01)
    plan, mains = make_plan(task, EQUAL), []
    method = lte(task, plan, 5, w=W, rule=FACTOR_MEAN)
    *_, (end, *_) = trajectory(method._replace(hear=lambda main, *a: mains.append(main) or method.hear(main, *a)), 3)
    A, B = (sum(w * V["layer1"][k] for w, V in zip(W, mains[-1].then)) for k in (0, 1))
    expected = as_lists(task.weights)[0][0] + plan.scales[0]["layer1"] * B @ A
    np.testing.assert_allclose(end[0], expected, atol=1e-12)  # rounding of ten merges
    assert tree.size(mains[-1].then) == 3 * tree.size(plan.shape(0))


def of_one_rank(law):
    """The law on heads of one rank."""
    alike = lambda case: case._replace(ranks=case.ranks[:1] * case.heads) if isinstance(case, Case) else case  # noqa: E731
    return law._replace(cases=lambda: law.cases().map(alike))


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        *dict.fromkeys(("L1", "L3", "L4", "L9", "L12", "L13"), False).items(),
        *dict.fromkeys(("L1-one", "L2", "L10", "L10-all", "L15", "L16"), True).items(),
    ],
)
def test_the_laws_that_it_keeps_and_breaks(name, holds):
    assert (
        try_law(of_one_rank(LAWS[name]), examples=10, variant=Variant(rule=FACTOR_MEAN), shrink=False).holds == holds
    )
    assert FACTOR_MEAN.bounded and not FACTOR_MEAN.telescopes


def test_heads_of_unequal_rank_are_refused():
    task, _ = make_task(adamw(), 0.01)
    with pytest.raises(BadInput, match=r"factor-mean: expected one rank for all heads, got \[1, 2\] in layer1"):
        trajectory(lte(task, make_plan(task, [1, 2, 2]), 3, rule=FACTOR_MEAN), 3)


@pytest.mark.parametrize(
    "choice", [{"merge_rule": "factor-mean"}, {"merge_rule": "outer", "outer_over": "factor-mean"}]
)
def test_settings_that_do_not_fit_are_refused(choice):
    flag = list(choice)[-1].replace("_", "-")
    with pytest.raises(BadInput, match=f"{flag} factor-mean: needs one rank for all heads: --head-ranks of equal"):
        tiny.config(**choice, head_ranks=(1, 2))
    with pytest.raises(BadInput, match="merge-rule .*: needs what every head sends"):
        tiny.config(**choice, topology="allreduce")
    assert tiny.config(**choice, head_ranks=(2, 2)).head_ranks == (2, 2)
