"""The pages hang together: each is in a table of contents, links lead somewhere, examples do what they show."""

import doctest
import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from traffic import merges

import minilte as ml
from minilte.commands import reference, train
from minilte.cost.meetings import merge_bytes
from minilte.run.build import build
from minilte.run.observe import Record
from minilte.settings.knob import flag_name
from minilte.settings.part import every_part, knobs
from minilte.settings.places import PLACES
from minilte.settings.stored import read_toml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
BESIDE = [DOCS / f"{name}.md" for name in re.findall(r"\{doc\}`/?([\w/]+)`", "".join(PAGES.values()))]
MODULES = [path for path in sorted((ROOT / "minilte").rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)


def blocks(page, language):
    """The fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.M | re.S)


def listed():
    """What the tables of contents name, without suffixes."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", "".join(PAGES.values()), re.M | re.S)
    return re.findall(r"^[\w/]+$", "\n".join(trees), re.M)


# ------------------------------------------------------------------------------------------------- pages and links


def test_every_page_and_notebook_is_in_one_table_of_contents_once():
    there = [path.stem for path in DOCS.glob("*.md") if path.stem != "index"]
    there += [f"notebooks/{path.stem}" for path in (DOCS / "notebooks").glob("*.ipynb")]
    assert sorted(listed()) == sorted(there)


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", PAGES[page])):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            assert (DOCS / (file or page)).exists(), target
            assert not anchor or anchor in anchors(PAGES[file or page]), target


def anchors(text):
    """The names that headings can be linked by."""
    titles = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_link_of_a_notebook_leads_to_another(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", text)):
        assert re.match(r"https?:", target) or (path.parent / target).suffix == ".ipynb", target
        assert re.match(r"https?:", target) or (path.parent / target).exists(), target


def test_there_is_something_of_every_kind_to_look_at():
    """An empty list of cases would be a test that cannot fail."""
    links = re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", "".join(PAGES.values())))
    assert len(PAGES) > 20 and len(MODULES) > 3 and len(BESIDE) > 3 and len(links) > 20
    assert len(blocks("mpi.md", "sh")) > 1 and sum(">>> " in text for text in PAGES.values()) > 1


def test_every_page_named_by_doc_exists():
    assert all(page.exists() or page.with_suffix(".ipynb").exists() for page in BESIDE)


@pytest.mark.parametrize("page", PAGES)
def test_every_piece_of_source_and_every_picture_is_there(page):
    shown = re.findall(r"^```\{(literalinclude|include|image)\} (\S+)\n(.*?)^```", PAGES[page], re.M | re.S)
    for kind, name, options in shown:
        assert (DOCS / name).exists(), name
        if found := re.search(r":pyobject: (\w+)", options):
            assert re.search(rf"^(def|class) {found[1]}\b", (DOCS / name).read_text(), re.M), (name, found[1])


# ------------------------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_of_a_module_do_what_they_show(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted and not outcome.failed


@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in PAGES[page]])
def test_the_examples_of_a_page_do_what_they_show(page):
    names, runner = {}, doctest.DocTestRunner()
    for at, text in enumerate(blocks(page, "pycon")):
        block = doctest.DocTestParser().get_doctest(text, names, f"{page}[{at}]", page, 0)
        runner.run(block, clear_globs=False)
        names = block.globs  # a later block goes on from there
    assert runner.tries and not runner.failures


@pytest.mark.parametrize("at", range(len(blocks("mpi.md", "sh"))))
def test_shell_of_the_mpi_page_is_well_formed_and_names_real_options(at):
    text = blocks("mpi.md", "sh")[at]
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    options = {option for action in train.main.flags()._actions for option in action.option_strings}
    for line in text.replace("\\\n", " ").splitlines():
        if "minilte.train" in line or line.strip().startswith("set --"):
            ours = line.split("minilte.train")[-1].removeprefix("    set --")
            assert {word for word in shlex.split(ours, comments=True) if word[:2] == "--"} <= options, line


# ------------------------------------------------------------------------------------------- the page of commands


def test_the_page_of_commands_is_what_the_code_would_write():
    page = DOCS / "commands.md"
    assert PAGES["commands.md"] == reference.page(page), "run: python -m minilte.commands.reference docs/commands.md"


@pytest.mark.parametrize("name", reference.COMMANDS)
def test_every_option_of_a_command_is_on_the_page(name):
    beside = ["train"] if reference.command(name).settings else []  # whose settings it has
    lines = "\n".join(line for each in (name, *beside) for line in reference.section(each))
    for action in reference.command(name).flags()._actions:
        assert action.dest == "help" or reference.written(action) in lines


def settings_of(place):
    """The lines of the page about a place of a run."""
    text = "\n".join(reference.section("train"))
    title = PLACES[place].title
    return re.search(rf"^### {title[0].upper()}{title[1:]}$(.*?)(?=^###|\Z)", text, re.M | re.S)[1]


@pytest.mark.parametrize("place", PLACES)
def test_every_option_says_to_which_parts_it_belongs(place):
    lines, parts = settings_of(place), every_part(place)
    named = {name: [cls.name for cls in parts if name in knobs(cls)] for cls in parts for name in knobs(cls)}
    for name, having in named.items():
        row = re.search(rf"^\| `--{flag_name(name)}[` ].*", lines, re.M)[0]
        owners = row.split(" | ")[1] if len(parts) > 1 else ""
        assert owners in ("", "all") or owners == reference.quoted(having), row
        assert (owners == "all") == (len(parts) > 1 and len(having) == len(parts))


@pytest.mark.parametrize("place", [place for place, spec in PLACES.items() if spec.flag])
def test_every_part_of_a_place_is_named(place):
    assert all(f"| {reference.chosen_by(cls)} |" in settings_of(place) for cls in every_part(place))


@pytest.mark.parametrize("place", [place for place, spec in PLACES.items() if not spec.always])
def test_a_place_that_not_every_run_has_names_the_parts_that_bring_it(place):
    ((flag, names),) = re.findall(r"^For `--(.*?) (.*)`\.$", settings_of(place), re.M)
    bringer = {"method": "method", "merge-rule": "rule"}[flag]
    assert names.split(", ") == [cls.name for cls in every_part(bringer) if place in cls.brings]


# ------------------------------------------------------------------------------------------- the page of methods


def test_every_method_and_every_rule_has_a_section():
    for place in ("method", "rule"):
        for name in PLACES[place].names:
            assert f"\n### `{name}`\n" in PAGES["methods.md"], name


@pytest.mark.parametrize("name", PLACES["method"].names)
def test_the_bytes_of_a_method_are_those_of_the_code(name):
    built = build(ml.Config(method=name))
    main, steps = built.method.begin(), 400  # of the default run
    sent = [merge_bytes(built.method, built.meeting, main, 8, 8, step) for step in merges(built.method, steps)]
    (row,) = re.findall(rf"^\| .*`{name}`.* \| ([\d,.]+) \|$", PAGES["methods.md"], re.M)
    assert float(row.replace(",", "")) == sum(sum(one.values()) for one in sent) / steps


@pytest.mark.parametrize(
    "line", [line for line in PAGES.get("methods.md", "").splitlines() if "minilte.train" in line]
)
def test_the_commands_of_the_page_of_methods_name_settings_that_go_together(line):
    values = train.settings(*train.main.read(shlex.split(line.split("minilte.train")[1], comments=True)))
    assert ml.Config(**values).flat().keys() >= values.keys()


def test_the_settings_file_that_is_shown_is_the_default_run(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(blocks("commands.md", "toml")[0])
    assert ml.Config(**read_toml(str(file))) == ml.Config()


def test_the_run_folder_and_its_summary_are_as_the_page_says(tmp_path):
    small = ["--data", "least-squares", "--model", "linear", "--heads", "2", "--rank", "2", "--alpha", "2"]
    argv = [*small, "--steps", "4", "--merge-every", "2", "--versus", "full", "--measure", "--quiet"]
    assert train.main([*argv, "--out", str(tmp_path / "run")]) == 0
    table = PAGES["commands.md"].split("## The run folder")[1].split("## Exit codes")[0]
    files, keys = table.split("The keys of `summary.json`")
    for path in (tmp_path / "run").iterdir():
        assert f"| `{path.name}{'/' * (path.is_dir() and path.name != 'ckpt')}" in files, path.name
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    first = " ".join(line.split("|")[1] for line in keys.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", first)) == set(summary)
    assert all(f"`{name}`" in files for name in Record(0, 0, 0.0, []).plain())
    assert all(f"`{name}`" in keys for name in summary["bytes_sent"])


# ------------------------------------------------------------------------------------------------------- citation


def test_the_citation_names_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", text, re.M)[1] == ml.__version__
    assert f"version = {{{ml.__version__}}}" in PAGES["cite.md"]
    assert f"## {ml.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
