"""Export of a finished run: npz, safetensors with torch names, or a Hugging Face PEFT adapter.

Without resets, W_T = W_0 + sum_n w_n s_n B_n A_n (law L1), and that sum is a single adapter whose rank is the sum of
the heads' ranks (law L5). So a run of any number of heads and merges can be exported as an ordinary LoRA.
"""

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilte.core import lora
from minilte.core.errors import BadInput
from minilte.core.types import Adapter, Adapters, Array, Weights
from minilte.data.dataset import blank
from minilte.disk import folder
from minilte.disk.files import shown
from minilte.disk.outputs import refuse_place
from minilte.disk.weights import tensors
from minilte.job import resume
from minilte.job.atomic import write_folder
from minilte.job.result import SCALING, load, read_sizes
from minilte.job.start import inputs_of
from minilte.run.inputs import refuse_others
from minilte.run.session import open_session
from minilte.settings import stored
from minilte.settings.config import Config

SUFFIXES = (".npz", ".safetensors")  # of files in the formats of their names


class Lora(NamedTuple):
    """An adapter in PEFT's terms: the layer computes with W + (alpha / r) B A."""

    pair: Adapter
    alpha: float


# --------------------------------------------------------------------------------------------- formats, as bytes


def npz_bytes(named: dict[str, Array]) -> bytes:
    """Arrays by name as an .npz file, without pickles."""
    content = io.BytesIO()
    np.savez(content, **named)
    return content.getvalue()


def safetensors_bytes(named: dict[str, Array]) -> bytes:
    """Arrays by name as a .safetensors file that says it is for torch, as PEFT's own files do."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in named.items()}, metadata={"format": "pt"})


def peft_files(
    start: Weights,
    final: Weights,
    heads: Sequence[Adapters],
    scales: Sequence[dict[str, float]],
    w: Sequence[float],
    merges: int = 1,
    extra: dict[str, Array] | None = None,
) -> dict[str, bytes]:
    """The files of a PEFT adapter, by name, whose base and adapter together compute with the final weights.

    `start` and `final` are the main weights before and after, `heads` their last factors, `scales` the s_n and `w` the
    shares w_n. The base is W_0 in every adapted layer and the final value of all else (biases, norms, other
    matrices). `extra` arrays go with the base. Raises BadInput where the run's change is not that of its factors.
    """
    adapters = one_lora(heads, scales, w)
    refuse_other_change(start, final, adapters, merges)
    base = dict(final) | {name: final[name]._replace(W=start[name].W) for name in adapters}
    factors = {
        f"base_model.model.{name}.lora_{field}.weight": factor
        for name, adapter in adapters.items()
        for field, factor in adapter.pair._asdict().items()
    }
    return {
        "base.safetensors": safetensors_bytes(tensors(base) | (extra or {})),
        "adapter_model.safetensors": safetensors_bytes(factors),
        "adapter_config.json": (json.dumps(peft_config(adapters), indent=2, allow_nan=False) + "\n").encode(),
    }


# --------------------------------------------------------------------------------------------- many heads, one LoRA


def one_lora(heads: Sequence[Adapters], scales: Sequence[dict[str, float]], w: Sequence[float]) -> dict[str, Lora]:
    """sum_n w_n s_n B_n A_n of each layer as a single adapter (law L5), A stacked by rows and B by columns.

    alpha / r is the largest w_n s_n, so that equal heads keep their factors bit for bit (and N heads of rank r, with
    s = alpha / r and w = 1/N, keep their alpha). Where heads differ, B_n is scaled by w_n s_n over the largest.
    """
    made = {}
    for name in heads[0]:
        parts = [float(w_n * s[name]) for w_n, s in zip(w, scales, strict=True)]
        pair = lora.stack([head[name] for head in heads], [part / max(parts) for part in parts])
        made[name] = Lora(pair, neat(max(parts) * len(pair.A)))
    return made


def neat(x: float) -> float:
    """x, or a short decimal that differs from it by rounding alone, as (1/N)(alpha/r) N r may differ from alpha."""
    short = float(f"{x:.12g}")
    return short if math.isclose(short, x, rel_tol=5e-16) else x


def refuse_other_change(start: Weights, final: Weights, adapters: dict[str, Lora], merges: int) -> None:
    """Raises BadInput where W - W_0 is not (alpha / r) B A, as after a reset, or a merge rule other than the mean.

    Every merge rounds W once; where moves are far smaller than W, these errors may all have the same sign. Scales
    round B a few times, and the roundings inside a product of R terms add up as a random walk.
    """
    for name, (pair, alpha) in adapters.items():
        W_0, W = start[name].W.astype(np.float64), final[name].W.astype(np.float64)
        A, B = pair.A.astype(np.float64), alpha / len(pair.A) * pair.B.astype(np.float64)
        size = sum(map(np.linalg.norm, (W_0, W))) + np.linalg.norm(B) * np.linalg.norm(A)
        rounding = np.finfo(final[name].W.dtype).eps * (merges + 4 + np.sqrt(len(A))) * size
        if not (off := np.linalg.norm(W - W_0 - B @ A)) <= rounding:
            raise BadInput(
                f"peft: expected {name} to have moved by its factors alone, got a difference of {off:.2g} where "
                f"rounding explains {rounding:.2g}; such a change is not one LoRA, use npz or safetensors"
            )


def peft_config(adapters: dict[str, Lora]) -> dict:
    """adapter_config.json: the first layer's r and alpha for all, and a pattern for each layer that differs."""
    ranks = {name: len(adapter.pair.A) for name, adapter in adapters.items()}
    alphas = {name: adapter.alpha for name, adapter in adapters.items()}
    r, alpha = next((ranks[name], alphas[name]) for name in adapters)
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": r,
        "lora_alpha": alpha,
        "rank_pattern": {name: rank for name, rank in ranks.items() if rank != r},
        "alpha_pattern": {name: other for name, other in alphas.items() if other != alpha},
        "target_modules": list(adapters),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_rslora": False,
        "use_dora": False,
    }


# --------------------------------------------------------------------------------------------- from a run folder


def export(run: Path, to: str, out: Path) -> Path:
    """Write the weights of a finished run to `out`: a file, or a folder for peft. Raises BadInput, DiskTrouble.

    `to` is npz, safetensors or peft. All formats carry the scaling of the inputs beside the weights, as input.mean and input.deviation.
    """
    refuse_place(out)
    config = stored.read_settings(run)
    if not (run / "summary.json").exists():
        raise BadInput(f"{run}: the run is not finished; end it with --resume {run}")
    result = load(run)
    extra = dict(zip(SCALING, result.scaling))
    if to == "peft":
        write_folder(out, adapter_of_run(run, config, result.weights, extra))
    else:
        in_bytes = {"npz": npz_bytes, "safetensors": safetensors_bytes}[to]
        folder.write(out, in_bytes(tensors(result.weights) | extra))
    return out


def format_of(out: Path, to: str) -> str:
    """The format that `to` names, or for "suffix" the name of the file. Raises BadInput where the two do not agree."""
    by_name = out.suffix[1:].lower() if out.suffix.lower() in SUFFIXES else ""
    if to not in ("suffix", by_name or to):
        raise BadInput(f"out {shown(out)}: the name of a file --to {by_name}, got --to {to}; change either")
    if to == "suffix" and not by_name:
        raise BadInput(f"out {shown(out)}: expected a name in {' or '.join(SUFFIXES)}, or --to and a format")
    return by_name or to


def adapter_of_run(run: Path, config: Config, final: Weights, extra: dict[str, Array]) -> dict[str, bytes]:
    """The PEFT files of a finished run, from the factors of its last merge. Raises BadInput."""
    sizes = blank(*read_sizes(run / "summary.json"), config.batch, config.dtype)
    session = open_session(config.holding(data=sizes))._replace(config=config)
    method, start = session.built.method, session.built.task.weights
    given = {
        name: digest for name, digest in session.built.inputs.items() if name != "data"
    }  # W_0 needs its widths alone
    refuse_others(config, inputs_of(run / "env.json"), given)
    if method.facts.one_lora is None:
        raise BadInput(
            f"peft: {config.method.name} with these settings does not move W by factors that are still there (a reset, a rule, "
            "codes, decay within an outer step, more bases than a low rank holds, or no adapters); use npz or safetensors"
        )
    state = resume.latest(run, session)
    if state.step != config.steps:
        raise BadInput(f"{run}: expected a checkpoint of step {config.steps} for the factors, got step {state.step}")
    heads, scales, w = method.facts.one_lora(state.main, state.heads)
    k = method.facts.decayed(state.main)
    start = {
        name: layer._replace(W=(k * layer.W).astype(layer.W.dtype)) if name in heads[0] else layer
        for name, layer in start.items()
    }
    return peft_files(start, final, heads, scales, w, -(-config.steps // method.every), extra)
