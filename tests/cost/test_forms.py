"""The model of cost against messages counted one by one, and its crossovers against trying every N and T."""

from collections import Counter
from fractions import Fraction

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm.meetings import MASTER
from minilte.core.errors import BadInput
from minilte.cost import account
from minilte.cost import forms as cost
from minilte.cost.forms import BASIS, EXCHANGES, FULL, LTE, SIZES, Model, based, coded, counted
from minilte.cost.meetings import merge_bytes
from minilte.cost.memory import basis_memory, full_memory, lte_memory
from minilte.cost.traffic import ring, slices

ALL = EXCHANGES | {"basis-sum": BASIS}


@st.composite
def models(draw):
    size = draw(st.sampled_from(sorted(set(SIZES.values()))))
    q, scales = coded(draw(st.sampled_from(["none", "int8", "int4", "nf4"])), size)
    count = st.integers(1, 12)
    M = draw(st.integers(1, 12) | st.integers(1, 300))  # few numbers make unequal slices
    M_lte, replicas = draw(st.integers(1, 80)), draw(st.integers(0, 5))
    basis = draw(st.just((0, 0, 0)) | st.tuples(st.integers(1, 50), st.integers(1, 9), st.integers(0, 9)))
    return Model(M, M_lte, replicas, draw(count), draw(count), draw(st.integers(1, 20)), q, scales, size, *basis)


def a_head_a_process(model, N):
    return model._replace(N=N, P=N)


# ---------------------------------------------------------------- messages, one by one


def phases(model, name):
    """Every message of a meeting as (from, to, numbers), in phases that follow one another."""
    processes = range(model.P)
    pairs = [(a, b) for a in processes for b in processes if a != b]
    own = slices(model.N, model.P)
    head, whole = model.M_lte + model.replicas, model.M + model.replicas
    piece = slices(whole, model.P)
    sums = slices(2 * model.basis + model.beside, model.P)
    coded_down = model.q * model.M + model.replicas
    return {
        "lte-allgather": [[(a, b, own[a] * head) for a, b in pairs]],
        "lte-allreduce": [[(a, b, own[a] * piece[b]) for a, b in pairs], [(a, b, piece[a]) for a, b in pairs]],
        "lte-server": [[(a, 0, own[a] * head) for a in processes if a], [(0, b, coded_down) for b in processes if b]],
        "basis-sum": [[(a, b, own[a] * sums[b]) for a, b in pairs], [(a, b, sums[a]) for a, b in pairs]],
        "full-ring": [
            [(a, (a + 1) % model.P, piece[(a - turn) % model.P]) for a in processes]
            for _ in ("add", "share")
            for turn in range(model.P - 1)
        ],
        "full-all-to-all": [[(a, b, whole) for a, b in pairs]],
        "full-server": [[(a, 0, whole) for a in processes if a], [(0, b, whole) for b in processes if b]],
    }[name]


def busiest(messages):
    """What the most loaded link carries, in the direction in which it carries more."""
    up, down = Counter(), Counter()
    for a, b, numbers in messages:
        up[a] += numbers
        down[b] += numbers
    return max([*up.values(), *down.values()], default=0)


@pytest.mark.parametrize("name", ALL)
@given(model=models())
def test_an_exchange_sends_what_its_messages_hold(name, model):
    everything = sum(numbers for phase in phases(model, name) for _, _, numbers in phase)
    assert cost.sent(model, ALL[name]) == everything * model.size
    assert cost.a_step(model, ALL[name]) == Fraction(everything * model.size, 1 if "full" in name else model.T)


@pytest.mark.parametrize("name", ALL)
@given(model=models())
def test_the_busiest_link_carries_what_its_messages_hold(name, model):
    assert ALL[name].busiest(model) == sum(busiest(phase) for phase in phases(model, name))


@pytest.mark.parametrize("name", ALL)
@given(model=models(), mbit=st.floats(0.1, 1e5))
def test_seconds_are_bits_over_bits_a_second(name, model, mbit):
    bits = float(ALL[name].busiest(model) * model.size * 8)
    assert cost.seconds(model, ALL[name], mbit) == pytest.approx(bits / (mbit * 1e6), rel=1e-12)


@given(models())
def test_a_lone_process_sends_nothing_and_no_exchange_wins(model):
    alone = model._replace(P=1)
    assert all(cost.sent(alone, one) == 0 == one.busiest(alone) for one in EXCHANGES.values())
    assert cost.cheapest(alone) is None and cost.least_every(alone, LTE["server"]) is None


# ---------------------------------------------------------------- more of one thing


@pytest.mark.parametrize("name", ALL)
@given(model=models(), field=st.sampled_from(["M", "M_lte", "replicas", "N"]))
def test_more_to_train_never_sends_less(name, model, field):
    more = model._replace(**{field: getattr(model, field) + 1})
    if name == "lte-server" and field == "N" and more.N % more.P == 1:
        return  # the new head lives with the master, and sends nothing
    assert cost.a_step(more, ALL[name]) >= cost.a_step(model, ALL[name])


@pytest.mark.parametrize("name", ALL)
@given(models())
def test_more_workers_with_a_head_each_send_more_and_never_sooner(name, model):
    one = ALL[name]
    fewer, more = (a_head_a_process(model, N) for N in (model.N, model.N + 1))
    assert cost.sent(more, one) > cost.sent(fewer, one) or (name == "basis-sum" and not model.basis)
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
def test_a_dense_sum_is_a_ring_where_every_process_has_a_head(model):
    model = a_head_a_process(model, model.N)
    assert cost.sent(model, LTE["allreduce"]) == cost.sent(model, FULL["ring"])


@given(models(), st.integers(1, 3))
def test_all_gather_beats_a_ring_until_n_and_no_longer(model, rings):
    until = cost.allgather_until(model, rings)
    for N in {*range(2, 60), max(2, until - 1), max(2, until), max(2, until + 1)}:
        at = a_head_a_process(model, N)
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
        at = a_head_a_process(model, N)
        assert (cost.sent(at, LTE["server"]) < cost.sent(at, LTE["allgather"])) == (N >= start)


@given(models(), st.integers(2, 40))
def test_a_server_beats_a_dense_sum_at_every_n_or_none(model, N):
    at = a_head_a_process(model, N)
    assert (cost.sent(at, LTE["server"]) < cost.sent(at, LTE["allreduce"])) == cost.server_beats_allreduce(model)


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
    for one in EXCHANGES.values():
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


# ---------------------------------------------------------------- the same of runs, by their templates

RUNS = st.fixed_dictionaries(
    dict(
        inputs=st.integers(1, 6).map(lambda k: 8 * k),  # m n is a multiple of 64: no block of codes is short
        outputs=st.integers(1, 6).map(lambda k: 8 * k),
        rank=st.integers(1, 8),
        heads=st.integers(1, 5),
        merge_every=st.integers(1, 4),
        dtype=st.sampled_from(["float32", "float64"]),
        quant=st.sampled_from(["none", "int8", "int4", "nf4"]),
        topology=st.sampled_from(list(LTE)),
    )
)
BOOK = {"int8": 256, "int4": 16, "nf4": 16}  # levels that a code stands for, kept beside it


def a_run(changes: dict, processes: int | None = None):
    """(a run, the model of its cost); by default with a head on every process."""
    changes = changes | ({} if changes["topology"] == "server" else dict(quant="none"))
    session = tiny.session(**changes | dict(batch=16))
    config, heads = session.config, session.config.heads
    size = SIZES[config.dtype]
    counts = counted((config.inputs, config.outputs), config.rank)
    return session, Model(
        *counts, heads, processes or heads, config.merge_every, *coded(config.quant.name, size), size
    )


@given(RUNS)
def test_memory_is_that_of_a_run_part_by_part(changes):
    session, model = a_run(changes)
    built, quant, topology = session.built, session.config.quant, session.config.topology.name
    held = account.memory(built.task, built.method, built.method.begin(), built.method.enter(0), topology == "server")
    worker, size, R = lte_memory(model, LTE[topology]), model.size, model.replicas
    beside = 3 * 8 + size * BOOK[quant.name] if quant.coded else 0  # the layout of codes, and what they stand for
    assert held["weights"] == (worker.weights + worker.scales + R) * size + beside
    assert held["adapters"] == (worker.adapters + R) * size
    assert held["gradients"] == (worker.gradients + R) * size
    assert held["optimizer"] == (worker.optimizer + 2 * R) * size + 8  # AdamW counts its steps
    assert held["merged_factors"] == worker.merged_factors * size
    assert held["total"] == sum(worker) * size + beside + 8
    assert held["full_rank_total"] == sum(full_memory(model)) * size + 8


@given(RUNS, st.integers(1, 6))
def test_bytes_sent_are_those_of_a_run(changes, processes):
    session, model = a_run(changes, processes)
    built, topology = session.built, session.config.topology.name
    assert (built.meeting is MASTER) == (topology == "server")
    sent = merge_bytes(built.method, built.meeting, built.method.begin(), model.N, processes)
    assert sum(sent.values()) == cost.sent(model, LTE[topology])


@given(RUNS, st.integers(1, 6))
def test_bytes_sent_at_full_rank_are_those_of_a_run(changes, processes):
    sizes = {name: changes[name] for name in ("inputs", "outputs", "dtype")}
    _, model = a_run(changes | dict(heads=processes))
    for topology, exchange in (("default", FULL["ring"]), ("server", FULL["server"])):
        built = tiny.session(method="full", heads=processes, batch=16, topology=topology, **sizes).built
        sent = merge_bytes(built.method, built.meeting, built.method.begin(), processes, processes)
        assert sum(sent.values()) == cost.sent(model, exchange)


BASED = st.fixed_dictionaries(
    dict(
        inputs=st.integers(2, 9),
        widths=st.sampled_from([(5,), (4, 2), (8, 3)]),
        outputs=st.integers(1, 6),
        basis_rank=st.integers(1, 2),
        heads=st.integers(1, 5),
        dtype=st.sampled_from(["float32", "float64"]),
    )
)


@given(BASED, st.integers(1, 6))
def test_bytes_and_memory_of_the_shared_basis_are_those_of_a_run(changes, processes):
    built = tiny.session(method="shared-basis", model="mlp", batch=20, **changes).built
    r, N, size = changes["basis_rank"], changes["heads"], SIZES[changes["dtype"]]
    widths = (changes["inputs"], *changes["widths"], changes["outputs"])
    model = Model(*counted(widths, r), N, N, 2, size=size)._replace(
        **dict(zip(("basis", "drawn", "beside"), based(widths, r)))
    )
    sent = merge_bytes(built.method, built.meeting, built.method.begin(), N, processes)
    assert sum(sent.values()) == cost.sent(model._replace(P=processes), cost.BASIS)
    held = account.memory(built.task, built.method, built.method.begin(), built.method.enter(0), False)
    assert held["total"] == sum(basis_memory(model)) * size + 8  # AdamW counts its steps
    assert held["merged_factors"] == 0 == basis_memory(model).merged_factors


@given(models())
def test_memory_parts_are_the_papers_and_what_it_leaves_out(model):
    full = full_memory(model)
    assert full.paper == 3 * model.M and full.gradients == model.M and full.merged_factors == full.scales == 0
    one_head = model._replace(P=max(model.N, model.P))
    for key in LTE:
        worker = lte_memory(one_head, LTE[key])
        codes = model.q - model.scales if key == "server" else 1
        own = 0 if key == "server" and model.N == 1 < one_head.P else 1  # the only head is the master's
        assert worker.paper == codes * model.M + 3 * own * model.M_lte
        assert worker.gradients == own * model.M_lte
        assert worker.merged_factors == model.M_lte * (model.N if key == "allgather" else own)
        assert worker.scales == (model.scales * model.M if key == "server" else 0)


@given(models())
def test_a_master_holds_the_full_weight_beside_a_code_and_all_factors(model):
    master, worker = lte_memory(model, LTE["server"], master=True), lte_memory(model, LTE["server"])
    assert master.weights - worker.weights == (model.M if model.q < 1 else 0)
    assert master.merged_factors == model.N * model.M_lte


def test_the_worker_of_a_server_has_the_heads_of_a_process_that_is_no_master():
    model = Model(M=1000, M_lte=80, replicas=0, N=9, P=8, T=1)  # process 0 holds two heads, every other one
    assert lte_memory(model, LTE["server"]).merged_factors == 80
    assert lte_memory(model, LTE["server"], master=True).merged_factors == 9 * 80
    assert lte_memory(model._replace(P=1), LTE["server"]).adapters == 9 * 80
    assert lte_memory(model, LTE["allreduce"]).merged_factors == 160


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("widths", "rank", "words"), [((5,), 1, "784,10"), ((5, 3), 4, "1 to 3"), ((5, 3), 0, "1 to 3")]
)
def test_a_stack_that_cannot_be_is_named(widths, rank, words):
    with pytest.raises(BadInput, match=words):
        counted(widths, rank)
