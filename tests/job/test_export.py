"""What is exported computes what the run computes: read back by hand, and by peft itself where it is installed."""

import json
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, load_file

import minilte as ml
from minilte.comm.solo import Solo
from minilte.core import lora
from minilte.core.errors import BadInput
from minilte.core.pairs import ACTIVATIONS
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear
from minilte.disk.weights import tensors
from minilte.job import job
from minilte.job.export import export, neat, one_lora, peft_files

BASED = dict(method="shared-basis", basis_rank=2)
DEEP = dict(model="mlp", widths=(5, 5))
ONE_LORA = {  # runs of each kind that is one LoRA
    **{name: tiny.KINDS[name] for name in ("lte", "lora", "mhlora", "telescope", "frozen", "float64", "adamix")},
    "kept-but-optimizer-reset": tiny.KINDS["keep-but-reset-optimizer"],
    "unequal-heads": DEEP | dict(head_ranks=(1, 3)),
    "norms": DEEP | dict(norm=True, bias=False),
    "root-of-the-rank": DEEP | dict(scaling="sqrt-rank", head_ranks=(1, 3)),
    "rank-above-a-layer": DEEP | dict(rank=5, heads=3),
    "a-rank-per-layer": DEEP | dict(layer_ranks=("layer1=1", "layer3=4")),
    "one-layer-without": DEEP | dict(adapt=("layer1", "layer3"), method="lte"),
    "untrained": dict(steps=0),
    **{
        name: tiny.KINDS[name]
        for name in ("shares", "auto", "allreduce", "half-wire", "brain-wire", "nf4", "int4-fake")
    },
    **{name: tiny.KINDS[name] for name in ("skip-bad-heads", "quorum", "stacked", "absorbed")},
    "shares-ranks-and-wire": DEEP | dict(shares=(0.75, 0.25), head_ranks=(1, 3), wire="float16"),
    "shares-and-telescope": dict(shares=(0.75, 0.25), merge_rule="telescope"),
    "a-share-of-nothing": dict(shares=(1.0, 0.0)),
    "one-basis": DEEP | BASED | dict(keep_basis=9, weight_decay=0.3),
    "one-basis-on-the-right": DEEP | BASED | dict(keep_basis=9, basis_side="b", topology="server", bad_heads="skip"),
    "two-bases": DEEP | BASED | dict(basis_rank=1, keep_basis=2, weight_decay=0.3, basis_side="alternating"),
    "two-bases-and-an-outer-step": DEEP
    | BASED
    | dict(basis_rank=1, keep_basis=2, weight_decay=0.0, outer_momentum=0.5),
    "one-basis-on-a-thin-wire": DEEP | BASED | dict(keep_basis=9, wire="int4", merge_every=4),
    "shares-and-codes": dict(shares=(0.75, 0.25), head_ranks=(1, 3), quant="int8", quant_block=16),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def a_run(path, **changes):
    tiny.go_on(tiny.begin(path, **changes))
    return path


def read_back(files):
    """Torch name -> array of base plus adapter, by PEFT's rule alone: W + (alpha / r) B A."""
    config = json.loads(files["adapter_config.json"])
    named, factors = load(files["base.safetensors"]), load(files["adapter_model.safetensors"])
    assert not (config["use_rslora"] or config["fan_in_fan_out"])
    for layer in config["target_modules"]:
        A, B = (factors.pop(f"base_model.model.{layer}.lora_{letter}.weight") for letter in "AB")
        r = config["rank_pattern"].get(layer, config["r"])
        assert A.shape[0] == B.shape[1] == r
        W = named[f"{layer}.weight"]
        scale = config["alpha_pattern"].get(layer, config["lora_alpha"]) / r
        named[f"{layer}.weight"] = W + scale * (B.astype("float64") @ A.astype("float64"))
    assert not factors
    return named


def read_folder(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def assert_same_weights(named, weights):
    for name, array in tensors(weights).items():
        # a few roundings of W a merge; entries are below 100
        np.testing.assert_allclose(named[name], array, rtol=0, atol=1e3 * np.finfo(array.dtype).eps)


# ---------------------------------------------------------------- many heads, one LoRA


@st.composite
def runs(draw):
    """(start, final, heads, scales, shares): a change made of random heads, merged in float64."""
    rng, heads = stream(draw(st.integers(0, 2**32)), "check"), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    shapes = {f"layer{i}": (draw(st.integers(1, 5)), draw(st.integers(1, 5))) for i in (1, 2, 11)}
    rank = st.integers(1, 5)
    ranks = [{name: min(draw(rank), *shape) for name, shape in shapes.items()} for _ in range(heads)]
    start = {
        name: Linear(rng.standard_normal(mn).astype(dtype), np.zeros(mn[0], dtype)) for name, mn in shapes.items()
    }
    sent = [
        {
            name: Adapter(
                rng.standard_normal((r, shapes[name][1])).astype(dtype),
                rng.standard_normal((shapes[name][0], r)).astype(dtype),
            )
            for name, r in head.items()
        }
        for head in ranks
    ]
    scales = [{name: draw(st.sampled_from([0.01, 1.0, 3.0, 64.0])) for name in shapes} for _ in sent]
    shares = np.array(draw(st.lists(st.integers(0, 4), min_size=heads, max_size=heads).filter(any)), float)
    shares = list(shares / shares.sum())
    final = {}
    for name, (W, c) in start.items():
        moves = (w * s[name] * lora.product(head[name]).astype("float64") for w, s, head in zip(shares, scales, sent))
        final[name] = Linear((W + sum(moves)).astype(dtype), c + 1)
    return start, final, sent, scales, shares


@given(runs())
def test_base_plus_adapter_is_the_final_weight_for_any_heads_ranks_scales_and_shares(run):
    start, final, *_ = run
    files = peft_files(*run)
    base, whole = load(files["base.safetensors"]), read_back(files)
    factors = load(files["adapter_model.safetensors"])
    assert {factor.dtype for factor in factors.values()} == {final["layer1"].W.dtype}
    for name, layer in final.items():
        assert np.array_equal(base[f"{name}.weight"], start[name].W) and np.array_equal(base[f"{name}.bias"], layer.c)
        # every B entry is rounded once when heads differ, and W once: a few ulp of sums of about 64 x 20 terms' size
        np.testing.assert_allclose(whole[f"{name}.weight"], layer.W, rtol=0, atol=3e3 * np.finfo(layer.W.dtype).eps)


@given(st.integers(1, 9), st.integers(1, 7), st.sampled_from([1.0, 2048.0, 4096.0, 0.3]), st.integers(0, 99))
def test_equal_heads_keep_their_factors_bit_for_bit_and_their_alpha(n, r, alpha, seed):
    normal = stream(seed, "check").standard_normal
    pairs = [Adapter(normal((r, 8)).astype("float32"), normal((9, r)).astype("float32")) for _ in range(n)]
    made = one_lora([{"layer1": pair} for pair in pairs], [{"layer1": alpha / r}] * n, [1 / n] * n)["layer1"]
    assert made.alpha == alpha  # though (1/N)(alpha/r) N r often misses it by a bit
    assert np.array_equal(made.pair.A, np.concatenate([pair.A for pair in pairs]))
    assert np.array_equal(made.pair.B, np.concatenate([pair.B for pair in pairs], axis=1))


def test_a_scale_that_is_no_short_decimal_keeps_its_digits():
    assert neat(2048.0000000000005) == 2048 and neat(0.1 + 0.2) == 0.3 and neat(0.0) == 0
    assert neat(1 / 3) == 1 / 3 and neat(1 + 2**-48) == 1 + 2**-48  # rounding alone does not go so far


@given(runs(), st.sampled_from([1, 2, 11]))
def test_a_change_that_the_factors_do_not_explain_is_refused(run, layer):
    start, final, *rest = run
    W, c = final[f"layer{layer}"]
    other = final | {f"layer{layer}": Linear(W * np.asarray(1.01, W.dtype), c)}
    with pytest.raises(BadInput, match=f"expected layer{layer} to have moved by its factors alone"):
        peft_files(start, other, *rest)


def test_layers_that_differ_from_the_first_are_in_the_patterns(tmp_path):
    export(a_run(tmp_path / "run", **ONE_LORA["a-rank-per-layer"]), "peft", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 2048)
    assert config["rank_pattern"] == {"layer2": 4, "layer3": 8} and config["alpha_pattern"] == {}
    export(a_run(tmp_path / "other", **ONE_LORA["rank-above-a-layer"]), "peft", tmp_path / "out2")
    config = json.loads((tmp_path / "out2" / "adapter_config.json").read_text())
    # layer3 is 4 x 5: rank 4 in each of three heads, with the scale of rank 5
    assert config["rank_pattern"] == {"layer3": 12} and config["alpha_pattern"] == {"layer3": 2048 * 4 / 5}


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize("kind", ONE_LORA)
def test_a_run_leaves_as_one_lora(tmp_path, kind):
    run = a_run(tmp_path / "run", **ONE_LORA[kind])
    assert export(run, "peft", tmp_path / "out") == tmp_path / "out"
    whole, done = read_back(read_folder(tmp_path / "out")), ml.load(run)
    assert_same_weights(whole, done.weights)
    assert set(whole) - set(tensors(done.weights)) == {"input.mean", "input.deviation"}
    assert sorted(read_folder(tmp_path / "out")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "base.safetensors",
    ]


def test_the_adapter_carries_the_whole_change(tmp_path):
    run = a_run(tmp_path / "run", steps=20)
    export(run, "peft", tmp_path / "out")
    base, start = load_file(tmp_path / "out" / "base.safetensors"), tiny.session().built.task.weights
    final = ml.load(run).weights["layer1"]
    assert np.array_equal(base["layer1.weight"], start["layer1"].W) and np.array_equal(base["layer1.bias"], final.c)
    assert np.linalg.norm(final.W - base["layer1.weight"]) > 0.01 and final.c.any()


@pytest.mark.parametrize("kind", ["lte", "reset-ab", "full", "norms-without-biases", "float64"])
def test_npz_and_safetensors_hold_what_the_run_folder_holds_bit_for_bit(tmp_path, kind):
    run = a_run(tmp_path / "run", **tiny.KINDS[kind])
    held = load_file(run / "final.safetensors")
    export(run, "safetensors", tmp_path / "out.safetensors")
    export(run, "npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        for got in (dict(arrays), load_file(tmp_path / "out.safetensors")):
            assert {name: (a.dtype, a.tobytes()) for name, a in got.items()} == {
                name: (a.dtype, a.tobytes()) for name, a in held.items()
            }


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("reset-b", "lte with these settings"),
        ("reset-ab", "lte with these settings"),
        ("ties", "lte with these settings"),
        ("outer", "lte with these settings"),
        ("in-place", "lte with these settings"),
        ("full", "full with these settings"),
        ("fedavg", "fedavg with these settings"),
        ("shared-basis", "shared-basis with these settings"),  # as many bases as the layer has directions
        ("shared-basis-at-home", "shared-basis with these settings"),  # decay inside an outer step
    ],
)
def test_a_run_that_is_no_lora_is_refused(tmp_path, kind, message):
    run = a_run(tmp_path / "run", **tiny.KINDS[kind])
    with pytest.raises(
        BadInput, match=f"^peft: {message} does not move W by factors that are still there .*; use npz"
    ):
        export(run, "peft", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def from_files(**changes):
    """A run on files of relative paths, which are then taken away; its folder."""
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.standard_normal((40, 3)), y=np.arange(40) % 2)
    settings = dict(data="data.npz", widths=(4,), heads=2, rank=2, alpha=4.0, batch=8, steps=4, merge_every=2)
    net = ml.fit(ml.Config(**settings, seed=1)).save("start.safetensors")
    ml.fit(ml.Config(**settings, init_from=str(net), **changes), out="run")
    os.remove("data.npz")
    return Path("run").resolve()


@pytest.mark.parametrize("to", ["npz", "safetensors", "peft"])
def test_a_run_leaves_from_any_folder_and_without_its_data(tmp_path, monkeypatch, to):
    monkeypatch.setattr("minilte.library.run_pictures", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    run = from_files(shares=(0.75, 0.25))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    export(run, to, tmp_path / "out")
    if to == "peft":
        assert_same_weights(read_back(read_folder(tmp_path / "out")), ml.load(run).weights)


def test_an_adapter_on_other_weights_than_the_run_began_with_is_refused_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("minilte.library.run_pictures", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    run = from_files()
    (tmp_path / "start.safetensors").write_bytes((run / "final.safetensors").read_bytes())
    with pytest.raises(BadInput, match="^init-from .*start.safetensors: not what the run began with"):
        export(run, "peft", tmp_path / "out")


@pytest.mark.parametrize("changes", [{}, DEEP | BASED | dict(keep_basis=9, weight_decay=0.3, merge_every=4)], ids=str)
def test_a_run_that_went_on_for_more_steps_leaves_as_one_lora(tmp_path, changes):
    run = a_run(tmp_path / "run", **changes)  # whose last round may be shorter
    job.run(run, job.opened(job.settings(run, Solo(), steps=20), Solo()), job.SILENT)
    export(run, "peft", tmp_path / "out")
    assert_same_weights(read_back(read_folder(tmp_path / "out")), ml.load(run).weights)


def test_a_run_whose_heads_changed_moved_by_more_than_the_factors_of_those_it_has(tmp_path):
    run = tiny.begin(tmp_path / "run")
    tiny.go_on(run, watch=tiny.stop_after(2))
    job.run(run, job.opened(job.settings(run, Solo(), heads=1), Solo()), job.SILENT)
    with pytest.raises(BadInput, match="layer1 to have moved by its factors alone"):
        export(run, "peft", tmp_path / "out")


def test_factors_of_other_weights_are_refused(tmp_path):
    run = a_run(tmp_path / "run")
    a_run(tmp_path / "longer", steps=20)
    for name in ("final.safetensors", "summary.json"):
        (run / name).write_bytes((tmp_path / "longer" / name).read_bytes())
    with pytest.raises(BadInput, match="layer1 to have moved by its factors alone"):
        export(run, "peft", tmp_path / "out")


def test_a_run_without_its_last_checkpoint_has_no_factors(tmp_path):
    run = a_run(tmp_path / "run")
    (run / "ckpt" / "step-6").rename(tmp_path / "away")
    with pytest.raises(BadInput, match="expected a checkpoint of step 6 for the factors, got step 4"):
        export(run, "peft", tmp_path / "out")


@pytest.mark.parametrize("to", ["npz", "safetensors", "peft"])
def test_an_unfinished_run_is_refused(tmp_path, to):
    run = tiny.begin(tmp_path / "run")
    tiny.go_on(run, watch=tiny.stop_after(2))
    with pytest.raises(BadInput, match="not finished; end it with --resume"):
        export(run, to, tmp_path / "out")
    with pytest.raises(BadInput, match="no such folder"):
        export(tmp_path / "nothing", to, tmp_path / "out")


@pytest.mark.parametrize("to", ["npz", "safetensors", "peft"])
def test_what_exists_is_not_written_over(tmp_path, to):
    run = a_run(tmp_path / "run")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "folder", "link"):
        with pytest.raises(BadInput, match="exists already"):
            export(run, to, tmp_path / name)
    with pytest.raises(BadInput, match="no folder"):
        export(run, to, tmp_path / "missing" / "out")
    assert (tmp_path / "file").read_text() == "mine" and not list((tmp_path / "folder").iterdir())


# ---------------------------------------------------------------- torch and peft themselves


def torch_network(torch, net, weights):
    """The run's network as a torch module, its parts named as in the run, on inputs in their own unit."""

    class Standardise(torch.nn.Module):
        def __init__(self, features):
            super().__init__()
            self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
            self.register_buffer("deviation", torch.ones(features, dtype=torch.float64))

        def forward(self, x):
            return ((x - self.mean) / self.deviation).to(dtype)

    dtype = getattr(torch, str(next(iter(weights.values())).W.dtype))
    parts = OrderedDict(input=Standardise(next(iter(weights.values())).W.shape[1]))
    for place, name in enumerate(net.chain):
        if not isinstance(name, str):
            activation = next(word for word, pair in ACTIVATIONS.items() if pair is name)
            parts[f"{activation}{place}"] = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[activation]()
        elif isinstance(layer := weights[name], Linear):
            m, n = layer.W.shape
            parts[name] = torch.nn.Linear(n, m, layer.c is not None, dtype=dtype)
        else:
            parts[name] = torch.nn.LayerNorm(len(layer.g), dtype=dtype)
    return torch.nn.Sequential(parts)


@pytest.mark.parametrize("kind", [*ONE_LORA, "pictures"])
def test_peft_computes_what_the_run_computes(tmp_path, kind, record_property):
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    from safetensors.torch import load_file

    pictures = dict(
        data="fashion-mini", model="mlp", widths=(32, 16), heads=4, batch=64, steps=20, alpha=64.0, rank=8
    )
    run = a_run(tmp_path / "run", **ONE_LORA.get(kind, pictures))
    done = ml.load(run)
    export(run, "peft", tmp_path / "adapter")
    export(run, "safetensors", tmp_path / "whole.safetensors")
    inputs = next(iter(done.weights.values())).W.shape[1]
    x = stream(0, "check").standard_normal((20, inputs)) + (100 if kind == "pictures" else 0)
    base, whole = (torch_network(torch, done.net, done.weights) for _ in range(2))
    whole.load_state_dict(load_file(tmp_path / "whole.safetensors"))  # strict: every name has its place
    base.load_state_dict(load_file(tmp_path / "adapter" / "base.safetensors"))
    adapted = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    expected = done.predict(x)
    unit = np.abs(expected).max()
    with torch.no_grad():
        for model in (whole, adapted, adapted.merge_and_unload()):
            error = np.abs(model(torch.from_numpy(x)).numpy() - expected).max() / unit
            record_property("error", error)
            # 1e-5: products in another order, and W rounded at every merge; the largest seen was 1e-6
            assert error < (1e-12 if expected.dtype == np.float64 else 1e-5)
