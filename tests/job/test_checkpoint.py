"""Checkpoints: what is loaded is what was saved, bit by bit; what is damaged or half written never is."""

import contextlib
import hashlib
import io
import json
import os
import pickle
import shutil

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from minilte.core import tree
from minilte.core.errors import BadInput, DiskTrouble
from minilte.core.random import stream
from minilte.job import checkpoint
from minilte.methods.data_parallel import Worker
from minilte.run.session import State, advance, first_state

CONFIG = {"lr": 0.5, "widths": [3, 4]}
NAMES = st.text("abc", min_size=1)


@st.composite
def arrays(draw):
    """Any shape, from no axes to three, and any dtype that a state has."""
    shape, dtype = draw(st.lists(st.integers(0, 3), max_size=3)), draw(st.sampled_from(["f4", "f8", "i8"]))
    return np.asarray(stream(draw(st.integers(0, 99)), "check").integers(-9, 9, shape)).astype(dtype)


TREES = st.recursive(
    arrays() | st.none(),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without waiting for the disk: no test here pulls the plug."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of a tiny run, and what `load` needs to read it."""
    session = tiny.session()
    *_, (_, state) = advance(session, first_state(session))
    return checkpoint.save(tmp_path, state, CONFIG), state


def load(path, state):
    return checkpoint.load(path, state.main, state.heads, CONFIG)


def refused(path, state, *words):
    with pytest.raises(BadInput) as caught:
        load(path, state)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for word in words:
        assert word in message
    return message


def assert_same(a, b):
    assert [path for path, _ in tree.named(a)] == [path for path, _ in tree.named(b)]
    for one, other in zip(tree.leaves(a), tree.leaves(b)):
        assert (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())


@given(TREES, st.lists(TREES, max_size=3), st.integers(0, 10**9), st.floats(0, 1e9))
def test_any_state_that_is_saved_and_loaded_is_the_same_bits(run, main, heads, step, seconds):
    workers = tuple(Worker(n, head) for n, head in enumerate(heads))
    state = State(step, main, workers, {"seconds": seconds, "sent": {"factors": 2**53 + 1}})
    got = load(checkpoint.save(run, state, CONFIG), state)
    shutil.rmtree(run / "ckpt")
    assert (got.step, got.facts) == (step, state.facts)
    assert [head.index for head in got.heads] == list(range(len(heads)))
    assert_same(got.main, main)
    assert_same([head.grads for head in got.heads], heads)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_run_continued_from_any_checkpoint_is_the_run_that_never_stopped(tmp_path, kind):
    session = tiny.session(**tiny.KINDS[kind])
    states = [state for _, state in advance(session, first_state(session))]
    for state in states[1:-1]:
        loaded = load(checkpoint.save(tmp_path, state, CONFIG), first_state(session))
        *_, (_, last) = advance(session, loaded)
        assert last.step == states[-1].step
        assert_same(last.main, states[-1].main)
        for head, expected in zip(last.heads, states[-1].heads, strict=True):
            assert_same(dict(checkpoint.named_arrays(head)), dict(checkpoint.named_arrays(expected)))


def test_the_newest_two_are_kept_in_the_order_of_their_steps(tmp_path):
    for step in (8, 9, 10, 11):
        checkpoint.save(tmp_path, State(step, {}, (), {}), CONFIG)
    assert [path.name for path in checkpoint.listed(tmp_path)] == ["step-10", "step-11"]


def test_a_step_that_is_saved_already_stays_as_it_is(tmp_path):
    for value in (1.0, 2.0):  # a run never has two states of a step
        path = checkpoint.save(tmp_path, State(3, {"W": np.full(2, value)}, (), {}), CONFIG)
    assert load(path, State(3, {"W": np.zeros(2)}, (), {})).main["W"].tolist() == [1.0, 1.0]
    assert [one.name for one in (tmp_path / "ckpt").iterdir()] == ["step-3"]


def test_a_run_without_checkpoints_has_none(tmp_path):
    assert checkpoint.listed(tmp_path) == []


# ---------------------------------------------------------------- interrupted saves


class Killed(BaseException):
    """What no handler may catch: the process is gone."""


@contextlib.contextmanager
def failing_at(call, error):
    """The `call`-th thing that is asked of the file system fails; tells whether it came to that."""
    asked = iter(range(10**6))
    reached = []

    def wrapped(real):
        def either(*args, **options):
            if next(asked) == call:
                reached.append(call)
                raise error
            return real(*args, **options)

        return either

    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "open", "fsync", "replace", "rename", "rmdir", "unlink"):
            patch.setattr(os, name, wrapped(getattr(os, name)))
        patch.setattr("builtins.open", wrapped(open))
        yield reached


@pytest.mark.parametrize("error", [Killed(), OSError(28, "No space left")], ids=["killed", "disk-full"])
def test_a_save_cut_off_anywhere_leaves_whole_checkpoints_and_the_next_one_succeeds(tmp_path, error):
    states = [State(step, {"W": np.full(3, step)}, (), {}) for step in (1, 2, 3, 4)]
    for call in range(200):
        shutil.rmtree(tmp_path / "ckpt", ignore_errors=True)
        for state in states[:2]:
            checkpoint.save(tmp_path, state, CONFIG)
        with failing_at(call, error) as reached, contextlib.suppress(Killed, DiskTrouble):
            checkpoint.save(tmp_path, states[2], CONFIG)
        steps = [load(path, states[2]).step for path in checkpoint.listed(tmp_path)]  # each is whole
        assert steps in ([1, 2], [1, 2, 3], [2, 3])
        if not reached:
            break
        checkpoint.save(tmp_path, states[3], CONFIG)
        assert sorted(path.name for path in (tmp_path / "ckpt").iterdir()) == [f"step-{steps[-1]}", "step-4"]
    assert call > 15 and steps == [2, 3]


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -8, -1])
def test_a_state_cut_anywhere_is_refused(saved, length):
    path, state = saved
    file = path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    refused(path, state, "state.safetensors: damaged", "--resume-latest-good goes on from step 0")


@pytest.mark.parametrize("name", ["state.safetensors", "manifest.json"])
def test_a_missing_file_is_named(saved, name):
    path, state = saved
    (path / name).unlink()
    refused(path, state, name)


@pytest.fixture(scope="session")
def small(run):
    """A checkpoint of four numbers, which a test may damage if it mends it."""
    state = State(3, {"W": np.arange(4.0)}, (), {"seconds": 1.5, "sent": {"factors": 7}})
    return checkpoint.save(run / "small", state, CONFIG), state


def flip(file, bit):
    """Turn over one bit of a file in place."""
    with open(file, "r+b", buffering=0) as stream:
        stream.seek(bit // 8)
        byte = stream.read(1)[0] ^ 1 << bit % 8
        stream.seek(bit // 8)
        stream.write(bytes([byte]))


@settings(max_examples=1000)
@given(st.sampled_from(["state.safetensors", "manifest.json"]), st.data())
def test_a_flipped_bit_is_refused_or_changes_nothing(small, name, data):
    (path, state), file = small, small[0] / name
    bit = data.draw(st.integers(0, 8 * os.path.getsize(file) - 1))
    flip(file, bit)
    try:
        got = load(path, state)
    except BadInput as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:  # a blank of the manifest
        assert name == "manifest.json" and (got.step, got.facts) == (3, state.facts)
        assert_same(got.main, state.main)
    finally:
        flip(file, bit)


def sealed(path, content, **manifest):
    """Put `content` in place of the state, as if it had been saved so."""
    (path / "state.safetensors").write_bytes(content)
    told = json.loads((path / "manifest.json").read_text()) | manifest
    told["sha256"] = {"state.safetensors": hashlib.sha256(content).hexdigest()}
    (path / "manifest.json").write_text(json.dumps(told | {"seal": checkpoint.seal(told)}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda W: {"main.weights.layer1.W": None}, ["tensor 'main.weights.layer1.W' is missing"]),
        (lambda W: {"main.extra": W}, ["tensor 'main.extra' is not of this run"]),
        (lambda W: {"main.weights.layer1.W": W.T}, ["float32(6, 4), expected float32(4, 6)"]),
        (lambda W: {"main.weights.layer1.W": W.astype(float)}, ["float64(4, 6), expected float32(4, 6)"]),
        (lambda W: {"main.weights.layer1.W": W * np.nan}, ["main.weights.layer1.W is not all finite"]),
    ],
    ids=["missing", "extra", "shape", "dtype", "nan"],
)
def test_a_tensor_that_does_not_fit_is_named(saved, change, words):
    path, state = saved
    stored = load_file(path / "state.safetensors")
    stored |= change(np.ascontiguousarray(stored["main.weights.layer1.W"]))
    sealed(path, save({name: np.ascontiguousarray(a) for name, a in stored.items() if a is not None}))
    refused(path, state, "state.safetensors: ", *words)


def npy():
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    return content.getvalue()


class Planted:
    def __reduce__(self):
        return os._exit, (3,)


@pytest.mark.parametrize(
    "content", [npy(), pickle.dumps(Planted()), b"PK\x05\x06" + bytes(18)], ids=["npy", "pickle", "zip"]
)
def test_another_file_in_place_of_the_state_is_refused_and_nothing_in_it_is_run(saved, content):
    path, state = saved
    (path / "state.safetensors").write_bytes(content)
    refused(path, state, "damaged")
    sealed(path, content)
    refused(path, state, "not a whole .safetensors file")


def test_a_newer_format_is_refused_with_both_numbers(saved):
    path, state = saved
    sealed(path, b"", format=checkpoint.FORMAT + 1)
    refused(path, state, f"expected format {checkpoint.FORMAT}, got {checkpoint.FORMAT + 1}")


def test_a_checkpoint_made_with_other_settings_is_refused_with_both_values(saved):
    path, state = saved
    with pytest.raises(BadInput, match="made with lr 0.5, but the run has 0.25"):
        checkpoint.load(path, state.main, state.heads, CONFIG | {"lr": 0.25})


def test_a_checkpoint_under_another_step_is_refused(saved):
    path, state = saved
    refused(path.rename(path.with_name("step-7")), state, "damaged")


@given(
    st.binary(max_size=40)
    | st.text(max_size=40).map(str.encode)
    | st.sampled_from([b"[]", b"{}", b'{"format": 1}', b'{"format": 1, "sha256": null, "seal": null}'])
)
def test_any_content_of_the_manifest_is_refused_in_one_line(small, content):
    (path, state), file, whole = small, small[0] / "manifest.json", (small[0] / "manifest.json").read_bytes()
    file.write_bytes(content)
    try:
        refused(path, state, "manifest.json")
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("name", ["step-", "step-x", "step--1", "step-1.5", "step-3.tmp", ".step-3", "x"])
def test_only_a_step_is_the_name_of_a_checkpoint(tmp_path, name):
    (tmp_path / "ckpt" / name).mkdir(parents=True, exist_ok=True)
    assert checkpoint.listed(tmp_path) == []


def test_a_checkpoint_made_before_a_setting_existed_has_its_default(tmp_path):
    config = json.loads(json.dumps(tiny.config().flat()))
    before = {name: value for name, value in config.items() if name != "loss_reduction"}
    checkpoint.refuse_other_run(tmp_path, before, config)
    with pytest.raises(BadInput, match="made with loss-reduction 'shard', but the run has 'batch'"):
        checkpoint.refuse_other_run(tmp_path, before, config | {"loss_reduction": "batch"})


@pytest.mark.parametrize(
    "change",
    [
        dict(health=7),
        dict(health=[1.0, 2, 3.0, 4.0]),
        dict(health=["x", 0, None]),
        dict(health=[1.0, -1, None]),
        dict(health=[10**400, 0, None]),
        dict(resized="yes"),
        dict(seconds=10**400),
        dict(sent={"factors": -1}),
        dict(zzz=1),
    ],
    ids=lambda change: f"{change}"[:40],
)
def test_facts_that_minilte_never_writes_are_refused_though_they_are_sealed(saved, change):
    path, state = saved
    sealed(path, (path / "state.safetensors").read_bytes(), facts=state.facts | change)
    refused(path, state, "manifest.json: facts is ", "which minilte never writes")


@pytest.mark.parametrize("name", ["seconds", "sent"])
def test_a_run_does_not_go_on_from_facts_that_lack_something(tmp_path, name):
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path, watch=tiny.stop_after(0))
    (newest,) = checkpoint.listed(path)
    facts = json.loads((newest / "manifest.json").read_text())["facts"]
    sealed(newest, (newest / "state.safetensors").read_bytes(), facts={k: v for k, v in facts.items() if k != name})
    with pytest.raises(BadInput, match=f"step-2/manifest.json: its facts lack {name}, which minilte always writes"):
        tiny.go_on(path)
