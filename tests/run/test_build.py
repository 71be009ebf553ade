"""From settings to parts: every setting reaches its part, and what fits no network or data is refused."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm.meetings import EVERYONE, MASTER
from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.networks import Dense, Residual
from minilte.core.pairs import ACTIVATIONS
from minilte.core.random import stream
from minilte.data.dataset import Dataset
from minilte.disk.weights import sha256, write_weights
from minilte.run.build import build, make_net
from minilte.run.session import advance, first_state, open_session
from minilte.settings.config import Config

DEEP = dict(model="mlp", widths=(5, 3))


def built(**changes):
    return build(tiny.config(**changes))


def refused(given=None, **changes):
    with pytest.raises(BadInput) as caught:
        build(tiny.config(**changes).holding(data=given))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labelled(**changes):
    x = stream(0, "check").standard_normal((12, 4))
    return Dataset(x, np.arange(12) % 3, x[:5], np.arange(5) % 3, 3, "made")._replace(**changes)


@given(st.integers(1, 8), st.integers(1, 30), st.sampled_from(["own", "same"]))
def test_the_shards_of_the_heads_are_those_of_their_samples(heads, batch, head_data):
    batch = max(batch, heads)
    task = built(heads=heads, batch=batch, head_data=head_data).task
    sizes = [len(task.batch(n, 0)[0]) for n in range(heads)]
    assert task.shards == tuple(size / sum(sizes) for size in sizes)
    assert sum(sizes) == (batch if head_data == "own" else batch * heads)


@pytest.mark.parametrize(
    ("settings", "chain"),
    [
        (dict(model="linear"), ["layer1"]),
        (dict(model="deep-linear", widths=(5,)), ["layer1", "layer2"]),
        (dict(model="mlp", widths=(5,), activation="tanh"), ["layer1", ACTIVATIONS["tanh"], "layer2"]),
        (dict(model="mlp", widths=(5,), norm=True), ["layer1", "norm1", ACTIVATIONS["relu"], "layer2"]),
    ],
    ids=["linear", "deep-linear", "tanh", "norm"],
)
def test_the_network_is_the_one_asked_for(settings, chain):
    assert list(make_net(tiny.config(**settings), 6, 4, None).chain) == chain


def test_a_residual_network_has_its_residuals():
    net = make_net(tiny.config(model="residual-mlp", widths=(5, 5)), 6, 4, None)
    assert sum(isinstance(step, Residual) for step in net.chain) >= 1


@pytest.mark.parametrize(("classes", "loss", "smoothing"), [(None, "squared-error", 0.0), (4, "cross-entropy", 0.25)])
def test_the_loss_is_that_of_the_data(classes, loss, smoothing):
    net = make_net(tiny.config(label_smoothing=smoothing), 6, 4, classes)
    assert (net.loss, net.smoothing) == (loss, smoothing)


@pytest.mark.parametrize(
    ("settings", "widths"),
    [
        (dict(widths=(5, 3)), [6, 5, 3, 4]),
        (dict(model="linear"), [6, 4]),
        (dict(widths=(5, 3), model="deep-linear"), [6, 5, 3, 4]),
    ],
    ids=str,
)
def test_widths_are_those_of_the_data_around_the_hidden_ones(settings, widths):
    shapes = make_net(Config(**settings), 6, 4, 4).layers.values()
    assert [(one.n, one.m) for one in shapes if isinstance(one, Dense)] == list(zip(widths, widths[1:]))


def test_biases_and_dtype_are_those_asked_for():
    weights = built(bias=False, dtype="float64").task.weights
    assert weights["layer1"].c is None and weights["layer1"].W.dtype == np.float64


def test_the_same_seed_gives_the_same_weights_and_another_gives_others():
    assert sha256(built(seed=1).task.weights) == sha256(built(seed=1).task.weights)
    assert sha256(built(seed=1).task.weights) != sha256(built(seed=2).task.weights)


def test_weights_from_a_file_are_where_training_starts(tmp_path):
    other = built(seed=9).task.weights
    write_weights(tmp_path / "w.safetensors", other)
    made = built(init_from=str(tmp_path / "w.safetensors"))
    assert sha256(made.task.weights) == sha256(made.method.weights(made.method.begin())) == sha256(other)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, built(inputs=5).task.weights)
    assert f"{path}: layer1.weight has shape (4, 5)" in refused(init_from=str(path))


# ---------------------------------------------------------------- ranks


@pytest.mark.parametrize(
    ("settings", "bounds"),
    [
        (dict(rank=1), dict(layer1=2)),
        (dict(rank=3, heads=2), dict(layer1=6)),  # above min(m, n): nothing is bound
        (dict(head_ranks=(1, 3)), dict(layer1=4)),
        (dict(method="mhlora", rank=1), dict(layer1=2)),
        (dict(method="lora", rank=1), dict(layer1=1)),
        (dict(method="lora", head_ranks=(2, 2)), dict(layer1=2)),
        (dict(rank=1, reset="b"), {}),
        (dict(rank=1, reset="ab"), {}),
        (dict(rank=1, merge_rule="telescope"), dict(layer1=2)),
        (dict(rank=1, merge_rule="ties"), {}),
        (dict(method="full"), {}),
        (dict(method="fedavg"), {}),
        (dict(DEEP, rank=2, layer_ranks=("layer3=1",)), dict(layer1=4, layer2=4, layer3=2)),
        (dict(DEEP, rank=2, adapt=("layer3", "layer1")), dict(layer1=4, layer3=4)),
        (dict(DEEP, rank=4), dict(layer1=8, layer2=6, layer3=6)),
    ],
    ids=str,
)
def test_the_rank_bound_is_the_sum_over_heads_where_nothing_is_reset(settings, bounds):
    assert built(**settings).method.facts.bound == bounds


@pytest.mark.parametrize(
    "settings",
    [
        dict(rank=1),
        dict(rank=1, method="lora"),
        dict(rank=1, method="mhlora"),
        dict(DEEP, rank=1, heads=2),
        dict(tiny.SGD, rank=1),
    ],
    ids=str,
)
def test_the_change_of_the_weights_keeps_the_rank_bound(settings):
    session = open_session(tiny.config(**settings, dtype="float64", inputs=8, outputs=8))
    *_, (_, last) = advance(session, first_state(session))
    method, start = session.built.method, session.built.task.weights
    assert method.facts.bound
    for name, bound in method.facts.bound.items():
        moved = method.weights(last.main)[name].W - start[name].W
        sigma = np.linalg.svd(moved, compute_uv=False)
        # 1e-12: W_t - W_0 is a difference of rounded numbers
        assert bound >= len(sigma) or sigma[bound] < 1e-12 * sigma[0]


def test_a_layer_too_small_for_the_rank_is_told_once():
    assert built(**DEEP, rank=4).notes == (
        "layer2 is 3 x 5: rank 3 there, with the scale of rank 4",
        "layer3 is 4 x 3: rank 3 there, with the scale of rank 4",
    )
    assert built(rank=4).notes == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(rank=5), "rank: expected 1 to 4 (the largest min(m, n) of the adapted layers), got 5 in layer1"),
        (dict(head_ranks=(1, 5)), "got 5 in layer1"),
        (dict(layer_ranks=("layer1=5",)), "got 5 in layer1"),
        (dict(layer_ranks=("layer1=0",)), "got 0 in layer1"),
        (dict(layer_ranks=("layer1",)), "layer-ranks: expected NAME=RANK once for a name of layer1, got "),
        (dict(layer_ranks=("layer2=1",)), "got 'layer2=1'"),
        (dict(layer_ranks=("layer1=1_0",)), "layer-ranks: "),
        (dict(layer_ranks=("layer1=\u0663",)), "layer-ranks: "),
        (dict(layer_ranks=("layer1=-1",)), "layer-ranks: "),
        (dict(layer_ranks=("layer1=" + "1" * 5000,)), "layer-ranks: "),
        (dict(layer_ranks=("layer1=1", "layer1=2")), "layer-ranks: expected NAME=RANK once"),
        (dict(adapt=("layer2",)), "adapt: no dense layer is called 'layer2'; there are layer1"),
        (dict(label_smoothing=0.1), "label-smoothing: expected 0 for a regression"),
        (dict(samples=4), "batch 8 for 2 heads"),
        (dict(target_rank=5), "target rank 5, expected 1 to 4"),
        (dict(data="nowhere"), "dataset 'nowhere'"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_settings_that_fit_no_network_or_data_are_refused(settings, message):
    assert message in refused(**settings)


# ---------------------------------------------------------------- data of one's own


def test_data_passed_in_stands_in_for_what_is_named():
    made = build(tiny.config(data="nowhere").holding(data=labelled()))
    assert made.data.classes == 3 and made.task.weights["layer1"].W.shape == (3, 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_passed_in_is_brought_to_the_dtype_of_the_run(dtype):
    config = tiny.config(dtype=dtype).holding(data=labelled())
    made = build(config)
    assert made.data.x_train.dtype == made.data.x_test.dtype == np.dtype(dtype)
    session = open_session(config)
    *_, (_, last) = advance(session, first_state(session))
    assert {leaf.dtype for leaf in tree.leaves(last.main.weights)} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (labelled(y_train=np.full(12, 3)), "y_train[0]: label 3, expected 0 to 2"),
        (labelled(y_train=np.zeros(11, int)), "x_train has 12 rows and y_train 11"),
        (labelled(x_train=np.full((12, 4), np.nan)), "expected a finite number"),
        (labelled(x_test=np.zeros((5, 3))), "x_test has rows of shape (3,), expected (4,)"),
        (labelled(x_train=np.zeros(12)), "x_test has rows of shape (4,), expected (1,)"),
    ],
    ids=["label", "counts", "nan", "width", "shape"],
)
def test_data_passed_in_is_checked_like_any_other(data, message):
    assert message in refused(data)


@pytest.mark.parametrize(
    "data",
    [
        labelled(y_train=np.arange(12) % 3 + 0.5),
        labelled(y_train=np.arange(12) % 3 * 1.0, y_test=np.arange(5) % 3 * 1.0),
        labelled(classes=None),
    ],
    ids=["half-labels", "float-labels", "labels-without-classes"],
)
def test_labels_that_are_no_whole_numbers_and_those_of_a_regression_are_refused(data):
    refused(data)


def test_masked_arrays_are_refused_and_lists_are_arrays_wherever_they_come_from():
    assert "data: x_test: a masked array" in refused(labelled(x_test=np.ma.ones((5, 4))))
    made = build(tiny.config().holding(data=labelled(x_test=np.ones((5, 4)).tolist())))
    assert made.data.x_test.shape == (5, 4)


# ---------------------------------------------------------------- what is said of data


@pytest.fixture
def table(tmp_path):
    """A file of 100 rows with these targets -> the notes of a run on it."""

    def of(y, **settings):
        np.savez(tmp_path / "t.npz", x=np.arange(200.0).reshape(100, 2) ** 2, y=y)
        return build(Config(data=str(tmp_path / "t.npz"), model="linear", rank=1, batch=8, **settings)).notes

    return of


def test_a_file_is_said_to_be_what_it_was_taken_for(table):
    assert table(np.arange(100) % 3) == (
        "t: 80 rows to train on, 20 held out, 2 inputs, 3 classes",
        "t: inputs are standardised column by column",
    )
    assert "2 inputs, regression, 1 output" in table(np.arange(100.0))[0]


def test_the_page_on_data_shows_what_a_run_says(tmp_path):
    rows = [
        f"{i % 7}.5,{i % 11}.5,{i % 5}.5,{i % 3}.5,{('setosa', 'versicolor', 'virginica')[i % 3]}" for i in range(150)
    ]
    (tmp_path / "flowers.csv").write_text("\n".join(rows))
    config = Config(data=str(tmp_path / "flowers.csv"), widths=(16,), rank=3, heads=4, batch=16)
    page = Path(__file__).parents[2].joinpath("docs", "data.md").read_text()
    assert [f"note: {note}" for note in build(config).notes] == [
        line for line in page.splitlines() if line.startswith("note: ")
    ]


def test_labels_that_are_nearly_all_the_same_are_said(table):
    assert any("% of the training rows have the same label" in note for note in table(np.arange(100) // 98))
    assert not any("same label" in note for note in table(np.arange(100) // 60))


@pytest.mark.parametrize(("unit", "said"), [(1e-6, True), (1.0, False), (1e6, True)])
def test_targets_far_from_a_deviation_of_1_are_said(table, unit, said):
    assert any("the targets have deviation" in note for note in table(np.arange(100.0) * unit / 30)) == said


def test_rows_that_validate_are_said_with_when_the_test_set_is_looked_at(table):
    first, *_, last = table(np.arange(100) % 3, validate=0.1)
    assert first == "t: 72 rows to train on, 8 to validate, 20 to test, 2 inputs, 3 classes"
    assert last == "the test set is looked at once, at the end of the run"
    notes = build(Config(data="fashion-mini", model="linear", rank=1, validate=500)).notes
    assert notes[0].startswith("fashion-mini: 4,500 rows to train on, 500 to validate, 2,000 to test, 784 inputs")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (dict(heads=2, rank=1), "allgather"),
        (dict(heads=2, rank=8), "allreduce"),
        (dict(heads=8, rank=2), "server"),
        (dict(heads=2, rank=8, bad_heads="skip"), "server"),  # dense changes cannot leave a head out
        (dict(heads=2, rank=6, wire="bfloat16"), "allgather"),
        (dict(heads=2, rank=4, quant="nf4"), "server"),
    ],
    ids=str,
)
def test_auto_takes_the_fewest_bytes_that_the_settings_allow_and_is_that_topology_in_everything(changes, name):
    config = tiny.config(inputs=8, outputs=8, bias=False, topology="auto", **changes)
    made, plain = build(config), build(config.replace(topology=name))
    assert made.master == plain.master == (name == "server") and made.meeting is plain.meeting
    assert made.meeting is (MASTER if name == "server" else EVERYONE)
    assert made.method.adds == plain.method.adds == (name == "allreduce")
    assert sum(f"topology {name}:" in note for note in made.notes) == (config.quant.name == "none")
    worker = build(config, process=1).task.weights["layer1"].W
    assert (0 in worker.strides) == made.master  # a worker under a master holds no matrix


def test_a_run_that_quantizes_in_place_has_no_rank_bound_and_says_what_it_loses():
    made = built(quant="int4", topology="allgather")
    assert made.method.facts.bound == {} and any("without a master" in note for note in made.notes)
    assert built(quant="int4").method.facts.bound == {"layer1": 4}
