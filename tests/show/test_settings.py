"""A report has every setting once, grouped by part, and the command that asks for the same settings again."""

import shlex

import pytest
import seen
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.lte import MEAN
from minilte.run.machine import plain
from minilte.settings.config import Config
from minilte.settings.flags import parse, parser
from minilte.settings.places import PLACES
from minilte.show import settings as shown
from minilte.show.past import Named, read_run
from minilte.show.settings import command, settings, words_of

FLAGS = parser("prog", "", settings=True)


@given(tiny.configs(), st.integers(0, 64))
def test_the_command_gives_the_settings_back(config, processes):
    words = shlex.split(command(config, {"processes": processes}))
    start = ["mpirun", "-n", str(processes)] if processes > 1 else []
    assert words[: len(start) + 3] == [*start, "python", "-m", "minilte.train"]
    assert Config(**parse(FLAGS, words[len(start) + 3 :])) == config


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_path_of_any_letters_comes_back(path):
    config = Config(data="mine/" + path, init_from=path)
    words = shlex.split(command(config, {}))
    assert Config(**parse(FLAGS, words[3:])) == config


def test_the_number_of_processes_must_be_a_number():
    assert command(Config(), {"processes": "8; rm"}) == command(Config(), {}) == "python -m minilte.train"


@given(tiny.configs())
def test_every_setting_is_there_once_and_the_defaults_are_folded(config):
    first, *rest = settings(config)
    rest = "".join(part.text for part in rest)
    for name in config.flat():
        mark = f"<code>--{name.replace('_', '-')}</code>"
        assert (first.text.count(mark), rest.count(mark)) == ((1, 0) if name in config.own() else (0, 1))
    assert (
        f"The other {len(config.flat()) - len(config.own())} settings" in rest or "All are the defaults" in first.text
    )


def test_the_defaults_stand_in_a_table_for_each_part():
    _, rest = settings(Config())
    for place in Config().parts:
        assert rest.text.count(f'<th scope="col">{PLACES[place].title}</th>') == 1
    assert "LoRA-the-Explorer (Huh et al. 2024)" in rest.text  # a choice means what its part says of itself


def test_a_setting_that_a_run_does_not_have_is_a_dash(place):
    run = read_run(place / "plain")
    other = Config(method="full", data="least-squares", inputs=6, heads=2, batch=8, steps=6, outputs=4, samples=64)
    named = [Named(run, "A", 0), Named(run._replace(config=other.replace(model="linear")), "B", 1)]
    text = "".join(part.text for part in shown.differences(named))
    assert "<code>--method</code></th><td>lte</td><td>full</td>" in text
    assert "<code>--rank</code></th><td>2</td><td>—</td>" in text
    assert "--inputs" not in text and "--batch" not in text and "Where they ran" not in text


def test_a_setting_that_only_some_runs_have_is_left_out_at_its_default(place):
    run = read_run(place / "plain")
    other = run._replace(config=run.config.replace(method="full", topology="server"))
    for changed, there in ((run.config, False), (run.config.replace(alpha=3.0), True)):
        named = [Named(run._replace(config=changed), "A", 0), Named(other, "B", 1)]
        text = "".join(part.text for part in shown.differences(named))
        assert ("--alpha" in text) == there and "--topology" in text and "--quorum" not in text


def test_runs_that_differ_in_nothing_say_so(place):
    run = read_run(place / "plain")
    assert "No setting" in "".join(part.text for part in shown.differences([Named(run, "A", 0), Named(run, "B", 1)]))


def test_machines_that_differ_are_compared(place):
    run = read_run(place / "plain")
    other = run._replace(env=run.env | {"numpy": "1.0", "kernel": None} | {"more": 3})
    page = seen.parsed(*shown.differences([Named(run, "A", 0), Named(other, "B", 1)]))
    table = seen.table(page, "What differs between the machines")
    assert table.head == ["", "A", "B"] and "Where they ran" in seen.words(page)
    assert table.cell("numpy", "A") == run.env["numpy"] and table.cell("numpy", "B") == "1.0"
    assert table.rows["more"] == ["not known", "3"] and "processes" not in table.rows


def test_settings_that_differ_stand_under_the_letter_of_their_own_run(place):
    one, two = read_run(place / "plain"), read_run(place / "reset")
    page = seen.parsed(*shown.differences([Named(one, "A", 0), Named(two, "B", 1)]))
    table = seen.table(page, "Settings that differ")
    assert table == (["", "A", "B"], {"--batch": ["8", "16"], "--reset": ["none", "b"]})


def test_settings_are_their_values_and_the_machine_is_its_own(place):
    run = read_run(place / "reset")
    page = seen.parsed(*shown.settings(run.config), *shown.again(run))
    tables = [seen.table(page, one.get("aria-label")) for one in page.iter("table")]
    told = {name: cells[0] for table in tables if table.head[1:2] == ["value"] for name, cells in table.rows.items()}
    expected = {f"--{name.replace('_', '-')}": words_of(value) for name, value in run.config.flat().items()}
    assert told == expected and (told["--batch"], told["--rank"], told["--reset"]) == ("16", "2", "b")
    machine = seen.table(page, "The machine").rows
    assert machine == {key.replace("_", " "): [plain(value)] for key, value in run.env.items()}
    hashes = [seen.words(one) for one in page.iter("pre")]
    assert hashes == [command(run.config, run.env), run.summary["weights_sha256"]]


def test_what_makes_other_bits_is_said(place):
    run = read_run(place / "plain")
    assert list(shown.other_bits(run)) == []
    late = run._replace(config=run.config.replace(topology="server", quorum=1, bad_heads="skip"))
    own = run._replace(config=run.config.holding(rule=MEAN))
    assert [list(shown.other_bits(one)) for one in (run._replace(resized=True), late, own)] == [
        ["the number of heads changed on the way"],
        ["which processes were late is no setting"],
        ["the program that made the run brought its own merge rule"],
    ]


@pytest.mark.parametrize(("kind", "words"), [("lte", "does not matter"), ("stacked", "matters, too")])
def test_the_number_of_processes_matters_where_heads_are_stacked(tmp_path, kind, words):
    tiny.go_on(tiny.begin(tmp_path / "run", **tiny.KINDS[kind]))
    text = "".join(part.text for part in shown.again(read_run(tmp_path / "run")))
    assert f"The number of processes {words}" in text


def test_values_read_as_a_person_writes_them():
    assert [words_of(value) for value in ((), (3, 4), True, False, "", 0.001, 8)] == [
        "none", "3, 4", "yes", "no", "none", "0.001", "8",
    ]  # fmt: skip
