"""The model of cost against messages counted one by one, and its crossovers against trying every N and T."""

from collections import Counter
from fractions import Fraction

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.commands.cost import forms as cost
from minilte.cost.forms import FULL, LTE, SIZES, Model, coded, counted
from minilte.comm.traffic import ring, share
from minilte.core.errors import BadInput
from minilte.commands.cost import account
from minilte.run.session import advance, first_state

TOPOLOGIES = {f"lte-{key}": one for key, one in LTE.items()} | {f"full-{key}": one for key, one in FULL.items()}


@st.composite
def models(draw):
    size = draw(st.sampled_from(sorted(set(SIZES.values()))))
    q, scales = coded(draw(st.sampled_from(["none", "int8", "int4", "nf4"])), size)
    count = st.integers(1, 12)
    M = draw(st.integers(1, 12) | st.integers(1, 300))  # few numbers make unequal slices
    M_lte, replicas = draw(st.integers(1, 80)), draw(st.integers(0, 5))
    return Model(M, M_lte, replicas, draw(count), draw(count), draw(st.integers(1, 20)), q, scales, size)


def a_head_a_rank(model, N):
    return model._replace(N=N, P=N)


# ---------------------------------------------------------------- messages, one by one


def phases(model, name):
    """Every message of a meeting as (from, to, numbers), in phases that follow one another."""
    ranks = range(model.P)
    pairs = [(a, b) for a in ranks for b in ranks if a != b]
    own = [len(share(model.N, model.P, rank)) for rank in ranks]
    head, whole = model.M_lte + model.replicas, model.M + model.replicas
    piece = [len(share(whole, model.P, rank)) for rank in ranks]
    coded_down = model.q * model.M + model.replicas
    return {
        "lte-allgather": [[(a, b, own[a] * head) for a, b in pairs]],
        "lte-dense": [[(a, b, own[a] * piece[b]) for a, b in pairs], [(a, b, piece[a]) for a, b in pairs]],
        "lte-server": [[(a, 0, own[a] * head) for a in ranks if a], [(0, b, coded_down) for b in ranks if b]],
        "full-ring": [
            [(a, (a + 1) % model.P, piece[(a - turn) % model.P]) for a in ranks]
            for _ in ("add", "share")
            for turn in range(model.P - 1)
        ],
        "full-all-to-all": [[(a, b, whole) for a, b in pairs]],
        "full-server": [[(a, 0, whole) for a in ranks if a], [(0, b, whole) for b in ranks if b]],
    }[name]


def busiest(messages):
    """What the most loaded link carries, in the direction in which it carries more."""
    up, down = Counter(), Counter()
    for a, b, numbers in messages:
        up[a] += numbers
        down[b] += numbers
    return max([*up.values(), *down.values()], default=0)


@pytest.mark.parametrize("name", TOPOLOGIES)
@given(model=models())
def test_a_topology_sends_what_its_messages_hold(name, model):
    told = phases(model, name)
    everything = sum(numbers for phase in told for _, _, numbers in phase)
    assert cost.sent(model, TOPOLOGIES[name]) == everything * model.size
    assert cost.a_step(model, TOPOLOGIES[name]) == Fraction(everything * model.size, 1 if "full" in name else model.T)


@pytest.mark.parametrize("name", TOPOLOGIES)
@given(model=models())
def test_the_busiest_link_carries_what_its_messages_hold(name, model):
    assert TOPOLOGIES[name].busiest(model) == sum(busiest(phase) for phase in phases(model, name))


@pytest.mark.parametrize("name", TOPOLOGIES)
@given(model=models(), mbit=st.floats(0.1, 1e5))
def test_seconds_are_bits_over_bits_a_second(name, model, mbit):
    bits = float(TOPOLOGIES[name].busiest(model) * model.size * 8)
    assert cost.seconds(model, TOPOLOGIES[name], mbit) == pytest.approx(bits / (mbit * 1e6), rel=1e-12)


@given(models())
def test_one_rank_alone_sends_nothing_and_no_topology_wins(model):
    alone = model._replace(P=1)
    assert all(cost.sent(alone, one) == 0 == one.busiest(alone) for one in TOPOLOGIES.values())
    assert cost.cheapest(alone) is None and cost.least_every(alone, LTE["server"]) is None


# ---------------------------------------------------------------- more of one thing


@pytest.mark.parametrize("name", TOPOLOGIES)
@given(model=models(), field=st.sampled_from(["M", "M_lte", "replicas", "N"]))
def test_more_to_train_never_sends_less(name, model, field):
    more = model._replace(**{field: getattr(model, field) + 1})
    if name == "lte-server" and field == "N" and more.N % more.P == 1:
        return  # the new head lives with the master, and sends nothing
    assert cost.a_step(more, TOPOLOGIES[name]) >= cost.a_step(model, TOPOLOGIES[name])


@pytest.mark.parametrize("name", TOPOLOGIES)
@given(models())
def test_more_workers_with_a_head_each_send_more_and_never_sooner(name, model):
    one = TOPOLOGIES[name]
    fewer, more = (a_head_a_rank(model, N) for N in (model.N, model.N + 1))
    assert cost.sent(more, one) > cost.sent(fewer, one)
    if name in ("lte-allgather", "lte-server", "full-all-to-all", "full-server"):  # a ring's blocks round up
        assert one.busiest(more) > one.busiest(fewer)


@given(models())
def test_rarer_merges_send_less_and_only_lte_gains(model):
    rarer = model._replace(T=2 * model.T)
    assert all(2 * cost.a_step(rarer, one) == cost.a_step(model, one) for one in LTE.values())
    assert all(cost.a_step(rarer, one) == cost.a_step(model, one) for one in FULL.values())


@given(models())
def test_a_code_matters_to_the_server_alone(model):
    plain = model._replace(q=Fraction(1), scales=Fraction(0))
    for key, one in LTE.items():
        assert cost.sent(model, one) <= cost.sent(plain, one)
        assert key == "server" or cost.sent(model, one) == cost.sent(plain, one)


# ---------------------------------------------------------------- crossovers, by trying


@given(models())
def test_a_dense_sum_is_a_ring_where_every_rank_has_a_head(model):
    model = a_head_a_rank(model, model.N)
    assert cost.sent(model, LTE["dense"]) == cost.sent(model, FULL["ring"])


@given(models(), st.integers(1, 3))
def test_all_gather_beats_a_ring_until_n_and_no_longer(model, rings):
    until = cost.allgather_until(model, rings)
    for N in {*range(2, 60), max(2, until - 1), max(2, until), max(2, until + 1)}:
        at = a_head_a_rank(model, N)
        fewer = cost.sent(at, LTE["allgather"]) < rings * ring(N, model.M + model.replicas) * model.size
        assert fewer == (N <= until)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(2, 200))
def test_for_one_matrix_the_rule_is_n_r_below_the_harmonic_mean(m, n, r, N):
    r = min(r, m, n)
    until = cost.allgather_until(Model(m * n, r * (m + n), 0, N, N, 1))
    assert (N <= until) == (N * r < Fraction(2 * m * n, m + n))


@given(models())
def test_a_server_beats_all_gather_from_n_on(model):
    start = cost.server_from(model)
    for N in {*range(2, 60), max(2, start - 1), start, start + 1}:
        at = a_head_a_rank(model, N)
        assert (cost.sent(at, LTE["server"]) < cost.sent(at, LTE["allgather"])) == (N >= start)


@given(models(), st.integers(2, 40))
def test_a_server_beats_a_dense_sum_at_every_n_or_none(model, N):
    at = a_head_a_rank(model, N)
    assert (cost.sent(at, LTE["server"]) < cost.sent(at, LTE["dense"])) == cost.server_beats_dense(model)


@pytest.mark.parametrize("against", FULL)
@pytest.mark.parametrize("key", LTE)
@given(models())
def test_lte_beats_data_parallel_from_t_on(key, against, model):
    model = model._replace(P=model.P + 1)
    least = cost.least_every(model, LTE[key], FULL[against])
    for T in {1, 2, 3, max(1, least - 1), least, least + 1}:
        at = model._replace(T=T)
        assert (cost.a_step(at, LTE[key]) < cost.a_step(at, FULL[against])) == (T >= least)


@given(models())
def test_the_cheapest_is_possible_and_no_possible_one_sends_less(model):
    model = model._replace(P=model.P + 1)
    best = cost.cheapest(model)
    assert cost.possible(model, best)
    for one in TOPOLOGIES.values():
        assert cost.a_step(model, one) >= cost.a_step(model, best) or not cost.possible(model, one)


def test_workers_without_the_full_weight_need_a_server_or_full_rank():
    coded_model = Model(100, 10, 0, 4, 4, 10, *coded("nf4", 4))
    assert [key for key, one in LTE.items() if cost.possible(coded_model, one)] == ["server"]
    assert all(cost.possible(coded_model, one) for one in FULL.values())
    assert all(cost.possible(coded_model._replace(q=Fraction(1)), one) for one in LTE.values())


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("quant", "size", "q"),
    [
        ("none", 4, 1),
        ("int8", 4, Fraction(17, 64)),
        ("int4", 4, Fraction(9, 64)),
        ("nf4", 4, Fraction(9, 64)),
        ("int8", 2, Fraction(17, 32)),
        ("nf4", 2, Fraction(9, 32)),  # 0.281
    ],
)
def test_a_code_takes_its_bits_and_a_sixteenth_of_a_byte(quant, size, q):
    assert coded(quant, size)[0] == q
    assert coded(quant, size)[1] == (0 if quant == "none" else Fraction(4, 64 * size))


@given(st.lists(st.integers(1, 30), min_size=2, max_size=5), st.data())
def test_sizes_are_those_of_the_matrices_factors_and_biases(widths, data):
    rank = data.draw(st.integers(1, max(map(min, zip(widths, widths[1:])))))
    M, M_lte, replicas = counted(widths, rank)
    assert M == sum(1 for n, m in zip(widths, widths[1:]) for _ in range(m) for _ in range(n))
    ranks = [min(rank, m, n) for n, m in zip(widths, widths[1:])]
    assert M_lte == sum(r * n + m * r for r, n, m in zip(ranks, widths, widths[1:]))
    assert replicas == sum(widths) - widths[0]


@pytest.mark.parametrize("kind", ["lte", "float64"])
@pytest.mark.parametrize("heads", [1, 3])
def test_memory_is_that_of_a_run(kind, heads):
    session = tiny.session(**tiny.KINDS[kind], heads=heads)
    *_, (_, state) = advance(session, first_state(session))
    held = account.memory(session.parts, state.main, state.heads[0])
    M, M_lte, replicas = counted((6, 4), 2)
    model = Model(M, M_lte, replicas, heads, heads, 2, size=SIZES[session.config.dtype])
    worker = cost.lte_memory(model, "allgather")
    assert held["merged_factors"] == worker.merged * model.size
    assert held["gradients"] == (worker.gradients + replicas) * model.size
    assert held["adapters"] == (worker.adapters + replicas) * model.size
    counters = held["optimizer"] - (worker.moments + 2 * replicas) * model.size
    assert 0 <= counters <= 16  # AdamW counts its steps
    assert held["total"] == sum(worker) * model.size + counters
    assert held["full_rank_total"] == sum(cost.full_memory(model)) * model.size + counters


@given(models())
def test_memory_parts_are_the_papers_and_what_it_leaves_out(model):
    full = cost.full_memory(model)
    assert full.paper == 3 * model.M and full.gradients == model.M and full.merged == full.scales == 0
    one_head = model._replace(P=max(model.N, model.P))
    for key in LTE:
        worker = cost.lte_memory(one_head, key)
        codes = model.q - model.scales if key == "server" else 1
        assert worker.paper == codes * model.M + 3 * model.M_lte
        assert worker.gradients == model.M_lte
        assert worker.merged == model.M_lte * (model.N if key == "allgather" else 1)
        assert worker.scales == (model.scales * model.M if key == "server" else 0)


@given(models())
def test_a_master_holds_the_full_weight_beside_a_code_and_all_factors(model):
    master, worker = cost.lte_memory(model, "server", master=True), cost.lte_memory(model, "server")
    assert master.weights - worker.weights == (model.M if model.q < 1 else 0)
    assert master.merged == model.N * model.M_lte


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize("name", ["M", "M_lte", "N", "P", "T", "size"])
def test_a_size_that_cannot_be_is_named(name):
    good = Model(10, 5, 0, 2, 2, 1)
    assert cost.check(good) is good
    with pytest.raises(BadInput, match=f"expected {name} of at least 1, got 0"):
        cost.check(good._replace(**{name: 0}))


@pytest.mark.parametrize(
    ("q", "scales"), [(Fraction(0), Fraction(0)), (Fraction(2), Fraction(0)), (Fraction(1, 2), Fraction(1, 2))]
)
def test_a_code_that_cannot_be_is_named(q, scales):
    with pytest.raises(BadInput, match="expected 0 <= scales < q <= 1"):
        cost.check(Model(10, 5, 0, 2, 2, 1, q, scales))


@pytest.mark.parametrize(
    ("widths", "rank", "words"), [((5,), 1, "784,10"), ((5, 3), 4, "1 to 3"), ((5, 3), 0, "1 to 3")]
)
def test_a_stack_that_cannot_be_is_named(widths, rank, words):
    with pytest.raises(BadInput, match=words):
        counted(widths, rank)
