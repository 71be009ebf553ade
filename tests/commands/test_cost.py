"""The command of costs as a person uses it."""

import json
import os
import subprocess
import sys

import pytest

from minilte.commands import cost
from minilte.cost.forms import BASIS, LTE


def values(capsys, *argv):
    """What the command writes as JSON, and nothing else."""
    assert cost.main([*argv, "--json"]) == 0
    written = capsys.readouterr()
    assert not written.err
    return json.loads(written.out)


def lines(capsys, *argv):
    assert cost.main(list(argv)) == 0
    written = capsys.readouterr()
    assert not written.err
    return written.out.splitlines()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--figure10"],
        ["--quant=nf4", "--dtype=bfloat16", "--heads=32"],
        ["--processes=3"],
        ["--processes=1"],
        ["--heads=1"],
        ["--heads=3", "--processes=12"],
        ["--numbers=7000000000", "--lte-numbers=40000000", "--heads=100", "--merge-every=500"],
        ["--numbers=10", "--lte-numbers=1000"],
        ["--workers=1"],
        ["--workers-link=0.001"],
    ],
    ids=" ".join,
)
def test_the_report_fits_a_screen_and_its_columns(capsys, argv):
    text = lines(capsys, *argv)
    assert len(text) <= 40 and max(map(len, text)) <= 118
    values(capsys, *argv)


def test_the_default_is_in_numbers_and_in_words(capsys):
    of = values(capsys)
    M, M_lte, biases = 784 * 1024 + 1024**2 + 10240, 32 * (784 + 3 * 1024) + 10 * 1034, 2058
    assert (of["model"]["M"], of["model"]["M_lte"], of["model"]["replicas"]) == (M, M_lte, biases)
    traffic = {one["exchange"]: one for one in of["traffic"]}
    assert traffic["lte-allgather"]["meeting"] == 7 * 8 * (M_lte + biases) * 4
    assert traffic["lte-allreduce"]["meeting"] == traffic["full-ring"]["step"] == 2 * 7 * (M + biases) * 4
    assert traffic["lte-server"]["meeting"] == 7 * (M_lte + M + 2 * biases) * 4
    assert traffic["full-all-to-all"]["step"] == 7 * 8 * (M + biases) * 4
    assert of["fewest"] == "lte-allgather"
    basis, rest = 32 * (784 + 1024), 10240 + biases  # of side a; the last layer is too small for a basis
    assert traffic["basis-sum"]["meeting"] == 2 * 7 * (2 * basis + rest) * 4
    assert traffic["lte-server"]["crowd_seconds"] == pytest.approx(999 * (M_lte + M + 2 * biases) * 32 / 1e8)
    assert traffic["lte-allgather"]["crowd_seconds"] == pytest.approx(999 * (M_lte + biases) * 32 / 1e8)
    text = "\n".join(lines(capsys))
    assert "up to N = 27" in text and "from N = 15" in text and "up to N = 274" in text


@pytest.mark.parametrize(("heads", "best"), [(14, "lte-allgather"), (15, "lte-server"), (1000, "lte-server")])
def test_the_fewest_changes_where_the_crossover_says(capsys, heads, best):
    assert values(capsys, f"--heads={heads}")["fewest"] == best


@pytest.mark.parametrize("quant", ["int8", "int4", "nf4"])
def test_with_a_code_only_a_server_is_possible(capsys, quant):
    of = values(capsys, f"--quant={quant}")
    low = [one for one in of["traffic"] if one["exchange"].startswith("lte")]
    assert [one["exchange"] for one in low if one["possible"]] == ["lte-server"] == [of["fewest"]]
    assert {one["worker"] for one in of["memory"]} == {"full", "lte-server", "lte-master"}
    needy = [line[2:32].rstrip() for line in lines(capsys, f"--quant={quant}") if "needs all of W" in line]
    assert needy == [LTE["allgather"].words, LTE["allreduce"].words, BASIS.words]


def test_the_parts_of_memory_add_up(capsys):
    for one in values(capsys, "--quant=nf4")["memory"]:
        parts = ("paper", "gradients", "merged_factors", "scales", "replicas")
        assert one["total"] == sum(one[part] for part in parts)
        assert one["paper"] == one["weights"] + one["adapters"] + one["optimizer"]


def test_counts_may_stand_in_for_widths(capsys):
    by_widths, by_counts = (
        values(capsys, "--widths=6,4", "--rank=2"),
        values(capsys, "--numbers=24", "--lte-numbers=20"),
    )
    fields = ("M", "M_lte", "q", "N", "P")
    assert [by_widths["model"][name] for name in fields] == [by_counts["model"][name] for name in fields]
    assert by_counts["model"]["replicas"] == 0


def test_figure_10_comes_with_its_misprints(capsys):
    of = values(capsys, "--figure10")
    assert [one["computed"] for one in of["figure10"]] == [67_500_000, 28_725_000, 1.26e9, 22.32e9, 763_840_000, 0.35]
    assert of["unsaid"]["ring_of_8"] == 315_000_000
    text = "\n".join(lines(capsys, "--figure10"))
    assert "misprint for 28.7M" in text and "1/3 less" in text and "0.35" in text
    assert "2.42 times as much as the ring of 8" in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--heads=0"], "heads: expected a whole number of at least 1, got 0"),
        (["--rank=2000"], "rank: expected 1 to 1024"),
        (["--widths=5"], "widths: expected inputs and outputs"),
        (["--widths=5,x"], "widths: expected a whole number, got 'x'"),
        (["--quant=int2"], "quant: expected one of none, int8, int4, nf4, got 'int2'"),
        (["--dtype=int8"], "dtype: expected one of float64"),
        (["--workers-link=0"], "workers-link: expected a number above 0"),
        (["--numbers=5"], "numbers: expected --numbers M and --lte-numbers M_lte together"),
        (["--lte-numbers=5"], "numbers: expected --numbers M and --lte-numbers M_lte together"),
        (["--numbers=0", "--lte-numbers=5"], "each above 0"),
        (["--numbers=5", "--lte-numbers=5", "--rank=2"], "numbers: got --rank beside it"),
        (["--lte-numbers=5", "--widths=2,2"], "lte-numbers: got --widths beside it"),
        (["--figure10", "--heads=4"], "figure10: got --heads beside it"),
        (["--figure10", "--processes=4"], "figure10: got --processes beside it"),
        (["--head=4"], "--head: unknown option, did you mean --heads?"),
        (["surprise"], "surprise"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_that_names_it(capsys, argv, words):
    assert cost.main(argv) == 2
    written = capsys.readouterr()
    assert not written.out and written.err.count("\n") == 1
    assert written.err.startswith("minilte: error:") and words in written.err


def test_the_module_is_a_command():
    ran = subprocess.run(
        [sys.executable, "-m", "minilte.cost", "--heads=3"], capture_output=True, text=True, check=True
    )
    assert "N = 3 heads, P = 3 processes" in ran.stdout and not ran.stderr


def test_a_traceback_comes_with_debug_alone(capsys):
    assert cost.main(["--heads=0", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [[], ["--figure10"], ["--numbers=9", "--lte-numbers=2000"], ["--quant=nf4"]], ids=str
)
def test_the_picture_is_drawn_beside_the_report(tmp_path, capsys, recwarn, argv):
    plain = lines(capsys, *argv)
    assert lines(capsys, *argv, f"--plot={tmp_path / 'here'}") == plain
    assert {found.name for found in (tmp_path / "here").iterdir()} == {"cost.svg", "cost.png"}
    assert not recwarn.list


def test_a_folder_that_cannot_be_made_is_refused_and_costs_no_numbers(tmp_path, capsys):
    plain = lines(capsys)
    (tmp_path / "file").touch()
    assert cost.main([f"--plot={tmp_path / 'file'}"]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == plain and err.count("\n") == 1


def test_a_backend_that_there_is_not_costs_no_numbers(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "minilte.cost", "--plot", tmp_path / "here"],
        capture_output=True,
        text=True,
        env=os.environ | {"MPLBACKEND": "nonsense"},
    )
    assert ran.returncode == 2 and "N = 8 heads" in ran.stdout and ran.stderr.count("\n") == 1
    assert "minilte: error: matplotlib cannot be loaded: " in ran.stderr and "MPLBACKEND" in ran.stderr


def test_help_and_the_report_load_neither_mpi_nor_matplotlib():
    code = "import sys, minilte.commands.cost as c; c.main(['--help']); c.main([]); print(sorted({'matplotlib', 'mpi4py', 'scipy'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--figure10" in ran.stdout and ran.stdout.splitlines()[-1] == "[]"
