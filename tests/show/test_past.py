"""What a folder keeps of W and the heads is found; what it does not keep is left out with the reason."""

import shutil

import numpy as np
import pytest
import tiny

import minilte as ml
from minilte.comm.solo import Solo
from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.job import job
from minilte.show import change, past, settings
from minilte.show.past import read_run

OF_LEAST_SQUARES = ("inputs", "outputs", "samples", "spectrum", "target_rank", "noise")


def with_settings(path, **changes):
    """A run folder with other settings in its config.json."""
    config = folder.read_json(path / "config.json") | changes | {"seal": None}  # as of before there were seals
    folder.write_json(path / "config.json", {name: value for name, value in config.items() if value is not None})


def text_of(parts):
    return "".join(part.text for part in parts)


def test_moments_are_the_checkpoints_and_the_end(place):
    run = read_run(place / "plain")
    assert [moment.step for moment in run.moments] == sorted({*tiny.steps_saved(place / "plain"), 6})
    sigma, ranks = (run.moments[-1].layers["layer1"][key] for key in ("sigma", "rank"))
    assert len(sigma) == ranks and all(sigma[:-1] >= sigma[1:])


def test_the_last_moment_is_of_the_final_weights_less_those_of_the_start(place):
    run, final = read_run(place / "plain"), ml.load(place / "plain").weights["layer1"].W
    start = tiny.session().built.task.weights["layer1"].W
    sigma = np.linalg.svd(final.astype(float) - start, compute_uv=False)
    np.testing.assert_allclose(run.moments[-1].layers["layer1"]["sigma"], sigma, rtol=1e-6, atol=1e-7)


def test_the_end_is_of_the_final_weights_where_the_last_checkpoint_is_gone(place, tmp_path):
    path = shutil.copytree(place / "plain", tmp_path / "run")
    shutil.rmtree(path / "ckpt" / "step-6")
    whole, without = (read_run(one).moments for one in (place / "plain", path))
    assert [one.step for one in without] == [one.step for one in whole]
    assert np.array_equal(without[-1].layers["layer1"]["sigma"], whole[-1].layers["layer1"]["sigma"])


def test_what_was_measured_is_taken_and_what_was_not_is_computed_alike(place):
    measured, plain = (read_run(place / name).moments[-1].layers["layer1"] for name in ("measured", "plain"))
    for key in ("cosine", "grassmann", "effective_rank", "stable_rank"):
        # the run measured the main weights and factors in memory; the report reads the same bits from files
        assert measured[key] == pytest.approx(plain[key], rel=1e-12)


def test_weights_that_are_not_those_of_the_summary_are_refused(place, tmp_path):
    path = shutil.copytree(place / "plain", tmp_path / "run")
    summary = tiny.the_summary(path)
    folder.write_json(path / "summary.json", summary | {"weights_sha256": "0" * 64})
    with pytest.raises(BadInput, match="final.safetensors: its weights have SHA-256 .* but summary.json says"):
        read_run(path)


def test_a_checkpoint_that_is_damaged_is_noted_and_the_rest_is_known(place, made, tmp_path):
    path = shutil.copytree(place / "plain", tmp_path / "run")
    for state in path.glob("ckpt/*/state.safetensors"):
        state.write_bytes(state.read_bytes()[:-1])
    text = made(path)
    assert "a checkpoint could not be read" in text and "damaged" in text
    assert "at step 6: all that the folder keeps" in text  # final.safetensors
    assert "the factors of the heads are not at hand" in text


def test_the_data_of_a_finished_run_is_not_needed(tmp_path):
    rows = np.random.default_rng(0).standard_normal((40, 10)).astype("float32")
    np.savez(tmp_path / "data.npz", x=rows[:, :6], y=rows[:, 6:])
    tiny.go_on(tiny.begin(tmp_path / "run", data=str(tmp_path / "data.npz")))
    with_data = read_run(tmp_path / "run")
    (tmp_path / "data.npz").unlink()
    without = read_run(tmp_path / "run")
    assert without.troubles == [] and len(without.moments) == len(with_data.moments) > 1
    assert not any("rows to train on" in note for note in without.built.notes)  # they would be the stand-in's
    assert str(tmp_path / "data.npz") in change_and_settings(without)


def change_and_settings(run):
    """Two sections of a page."""
    return text_of([*change.change(past.Named(run, "A", 0)), *settings.settings(run.config)])


def test_a_data_set_of_a_program_is_not_needed_either(place, tmp_path):
    path = shutil.copytree(place / "plain", tmp_path / "run")
    with_settings(path, data="own", **dict.fromkeys(OF_LEAST_SQUARES))
    run = read_run(path)
    assert run.built is not None and run.moments[-1].step == 6
    assert "brought its own data" in text_of(settings.again(run))


def test_what_cannot_be_built_is_left_out_with_the_reason(place, made, tmp_path):
    path = shutil.copytree(place / "plain", tmp_path / "run")
    with_settings(path, init_from="gone.safetensors")
    text = made(path)
    assert "W₀ cannot be drawn again here" in text and "gone.safetensors: cannot be read" in text


def test_a_method_of_a_program_is_left_out_with_the_reason(place, made, tmp_path):
    path = shutil.copytree(place / "versus" / "versus-full", tmp_path / "run")
    with_settings(path, method="own")
    text = made(path)
    assert "W₀ cannot be drawn again here" in text and "this run has one of its own" in text


def test_many_heads_are_not_compared_pair_by_pair(monkeypatch, place):
    monkeypatch.setattr(past, "PAIRED", 1)
    layers = read_run(place / "plain").moments[-1].layers
    assert layers["layer1"]["cosine"] == {"undefined": "not measured: run with --measure"}


@pytest.mark.parametrize("heads", [1, 3])
def test_a_run_that_changed_its_heads_says_what_no_longer_holds(tmp_path, made, heads):
    path, alone = tiny.begin(tmp_path / "run", save_every=2), Solo()
    tiny.go_on(path, watch=tiny.stop_after(2))
    assert isinstance(job.run(path, job.opened(job.settings(path, alone, heads), alone), tiny.quiet()), dict)
    run = read_run(path)
    assert run.resized and not run.troubles and change.bounds_of(run) == {}
    text = made(path)
    assert "the number of heads changed on the way, which ended L1 and L2" in text and "L2 allows" not in text
    assert "The command alone gives other bits: the number of heads" in text and "could not be read" not in text


def test_a_checkpoint_of_other_heads_is_read_in_its_own_number(tmp_path):
    path, alone = tiny.begin(tmp_path / "run", save_every=2), Solo()
    tiny.go_on(path, watch=tiny.stop_after(2))
    before = read_run(path).moments[-1]
    job.run(path, job.opened(job.settings(path, alone, 3), alone), tiny.quiet())
    run = read_run(path)
    assert before.step == 4 and [moment.step for moment in run.moments][-2:] == [4, 6]
    after = run.moments[-2]
    assert all(np.array_equal(after.layers["layer1"][key], of) for key, of in before.layers["layer1"].items())
