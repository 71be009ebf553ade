"""What the README shows is what happens."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minilte as ml
from minilte.comm.launch import job
from minilte.commands import cost, experiments, export, report, train, verify
from minilte.core import tree
from minilte.data.sources import load
from minilte.experiments import CLAIMS
from minilte.job.summary import describe
from minilte.laws import LAWS
from minilte.run.build import build
from minilte.settings.places import PLACES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
COMMANDS = [
    line[2:].split("  #")[0].strip()
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.splitlines()
    if line[:2] == "$ "
]


def test_every_option_that_is_shown_exists():
    commands = (train, cost, verify, export, experiments, report)
    known = {module.__name__.replace(".commands", ""): module.main.flags for module in commands}
    shown = [words for words in map(shlex.split, COMMANDS) if "-m" in words and words[words.index("-m") + 1] in known]
    inline = [
        shlex.split(one) for one in re.findall(r"`(\./run train [^`]*|python -m minilte\.train [^`]*)`", README)
    ]
    assert len(shown) >= 6 and len(inline) >= 3
    for words in shown + inline:
        name = words[words.index("-m") + 1] if "-m" in words else "minilte.train"
        options = {option for action in known[name]()._actions for option in action.option_strings}
        assert {
            word for word in words[words.index(name) + 1 if "-m" in words else 2 :] if word[:2] == "--"
        } <= options, words


def test_the_numbers_of_the_default_run_are_those_of_the_code():
    config = ml.Config()
    built = build(config)
    assert describe(config, built) in README
    assert all(f"note: {note}" in README for note in built.notes)
    merges, numbers = (
        config.steps // config.merge_every,
        sum(r * (m + n) for m, n, r in ((256, 784, 32), (256, 256, 32), (10, 256, 10))),
    )
    sent = 8 * 7 * 4 * merges * (numbers + 256 + 256 + 10) / 8
    assert f"sent            {sent / 1e6:.1f} MB a process" in README


def test_the_python_that_is_shown_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = next(text for kind, text in BLOCKS if kind == "python" and "ml.rounds" in text)
    assert train.main(["--quiet", "--steps", "10", "--out", "runs/20261124-114700-lte"]) == 0
    data = load("fashion-mini", None, 0, "float32")
    names = dict(images=data.x_test[:50], labels=data.y_test[:50])
    exec(code.replace("steps=200", "steps=10"), names)  # noqa: S102  our own README
    assert names["scores"].shape == (50, 10) and 0 <= names["accuracy"] <= 1


def test_the_rule_that_is_shown_trains_and_breaks_what_it_is_said_to(capsys):
    code = next(text for kind, text in BLOCKS if kind == "python" and "rule=rule" in text)
    names = {}
    exec(code.replace("steps=200", "steps=10"), names)  # noqa: S102  our own README
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("L1 falls: ") and second == "L2 holds: none of 20 cases broke it"
    begun = build(names["result"].config).task.weights
    half, whole = names["result"].weights, ml.fit(ml.Config(steps=10)).weights  # after one merge
    for (name, W_0), W, there in zip(tree.named(begun), tree.leaves(half), tree.leaves(whole), strict=True):
        assert W.any() and not np.array_equal(W, W_0), name  # biases too
        assert np.allclose(W - W_0, (there - W_0) / 2, rtol=0, atol=1e-6), name  # rounding of float32


def test_every_method_and_every_rule_is_named():
    for place in ("method", "rule"):
        assert all(f"`{name}`" in README for name in PLACES[place].names)


def test_every_folder_of_the_package_is_in_the_table():
    table = README.split("## Where to read")[1]
    folders = {path.parent.name for path in (ROOT / "minilte").glob("*/__init__.py")}
    assert folders == {name.removeprefix("minilte/") for name in re.findall(r"`([\w/]+)`", table)} & folders


def test_the_laws_that_are_shown_are_all_of_them():
    assert f"{len(LAWS)} of {len(LAWS)} laws hold" in README
    shown = dict(re.findall(r"^(L\d+) +20 +\S+ +\S+ +holds +(.*?)[…;]", README, re.M))
    assert list(shown) == ["L1", "L2", "L3"]
    for name, statement in shown.items():
        assert LAWS[name].statement.startswith(statement.strip(" ,")) and len(statement) > 30


def test_the_cost_that_is_shown_can_be_had(capsys):
    (words,) = [shlex.split(one) for one in COMMANDS if "-m minilte.cost" in one]
    assert cost.main(words[words.index("minilte.cost") + 1 :]) == 0
    assert "N = 32 heads" in capsys.readouterr().out


def test_the_claims_that_are_shown_are_those_that_are_measured():
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    verdicts = {name: verdict for name, verdict in re.findall(r"^\| (C\d+[a-z]) \|.*\| (\w+) \|$", page, re.M)}
    assert list(verdicts) == [claim.name + part.key for claim in CLAIMS.values() for part in claim.predictions]
    counts = [list(verdicts.values()).count(word) for word in ("holds", "fails", "undecided")]
    assert f"{counts[0]} of {len(verdicts)} predictions hold, {counts[1]} fail, {counts[2]} undecided" in README
    assert re.findall(r"^\| (C\d+):", README, re.M) == list(CLAIMS)
    first = CLAIMS["C1"]
    assert f"C1  {first.says} ({first.where})" in README


@pytest.mark.long
def test_the_hash_and_the_accuracy_of_the_default_run_are_those_of_this_machine_or_another_kernel(tmp_path):
    out = subprocess.run(
        [sys.executable, "-m", "minilte.train", "--quiet", "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout
    accuracy = float(re.search(r"test accuracy +([\d.]+) %", out)[1])
    assert abs(accuracy - 85.9) < 1.5  # another BLAS kernel gives other bits


@pytest.mark.long
def test_the_bytes_of_the_quantized_run_are_those_of_the_code(tmp_path):
    command = [*job(8, "minilte.train"), "--quant", "nf4", "--out", str(tmp_path / "run")]
    out = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT).stdout
    block = next(text for kind, text in BLOCKS if kind == "console" and "--quant nf4" in text)
    shown = [line for line in block.splitlines() if line.startswith(("sent", "memory"))]
    assert len(shown) == 2
    for line in shown:
        assert all(part in out for part in line.split("…")[0].split("; ")[:1]), line
