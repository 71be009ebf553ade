"""Nothing that is read is run, and nothing is written outside the run folder."""

import ast
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.numpy import save

import minilte
from minilte.core.errors import BadInput, DiskTrouble
from minilte.disk import folder
from minilte.job import checkpoint, result
from minilte.run.session import State
from minilte.settings import stored
from minilte.settings.config import all_settings

SOURCES = sorted(Path(minilte.__file__).parent.rglob("*.py"))
NAMES = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "code", "pty"}
CALLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "np.fromfile", "torch.load"}
FORBIDDEN = CALLS | {
    f"os.{kind}{form}" for kind in ("exec", "spawn") for form in ("l", "le", "lp", "v", "ve", "vp", "vpe")
}


def dangers(source: str) -> list[str]:
    """What in a source could run data as code, or start a shell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name, options = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            bad = name in NAMES | FORBIDDEN
            bad |= options.get("shell", "False") != "False" or options.get("allow_pickle", "False") != "False"
            bad |= name.endswith(("np.load", "numpy.load")) and options.get("allow_pickle") != "False"
            found += [name] * bad
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [name for name in names if name.split(".")[0] in MODULES]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SOURCES[0].parent)))
def test_no_source_runs_data_or_starts_a_shell(path):
    assert dangers(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec(x)",
        "import os\nos.system('ls')",
        "subprocess.run('ls', shell=True)",
        "import pickle",
        "from pickle import loads",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "np.lib.format.read_array(file, allow_pickle=yes)",
        "os.execvp(a, b)",
    ],
)
def test_the_scan_sees_what_it_looks_for(source):
    assert dangers(source) != []


@pytest.mark.parametrize("source", ["np.load(path, allow_pickle=False)", "subprocess.run(['ls'])", "model.eval()"])
def test_the_scan_lets_the_rest_pass(source):
    assert dangers(source) == []


# ---------------------------------------------------------------- paths


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory with a neighbour that must stay as it is."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    outside, work = tmp_path / "outside", tmp_path / "a" / "b"
    outside.mkdir()
    (outside / "precious").write_text("as it was")
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    yield outside
    assert [(found.name, found.read_text()) for found in outside.iterdir()] == [("precious", "as it was")]
    assert {found.name for found in tmp_path.iterdir()} == {"outside", "a"} and len(list(work.parent.iterdir())) == 1


@pytest.mark.parametrize("name", ["../../x", "../../outside/precious", "/tmp/x", "a\0b", ".."])
def test_a_name_of_a_tensor_is_no_path(name):
    path = checkpoint.save(Path("run"), State(3, {name: np.ones(2)}, (), {}), {})
    got = checkpoint.load(path, {name: np.zeros(2)}, (), {})
    assert got.main[name].tolist() == [1.0, 1.0]
    assert sorted(found.name for found in Path("run").rglob("*") if found.is_file()) == [
        "manifest.json",
        "state.safetensors",
    ]
    with pytest.raises(BadInput, match="state.safetensors: tensor .* is (missing|not of this run)"):
        checkpoint.load(path, {"W": np.zeros(2)}, (), {})


@pytest.mark.parametrize("name", ["../../x", "../../outside/precious", "/tmp/x"])
def test_a_tensor_with_the_name_of_a_path_belongs_to_no_network(name):
    tiny.go_on(tiny.begin(Path("run")))
    Path("run/final.safetensors").write_bytes(save({name: np.ones(2)}))
    with pytest.raises(BadInput, match="final.safetensors: no tensor"):
        result.load("run")


FIELDS = ["data", "data_dir", "init_from", "adapt", "layer_ranks", "method", "versus", "merge_rule", "model"]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["../../x", "../../outside", "; touch ../../x", "$(touch ../../x)"])
def test_no_setting_makes_a_file_outside(field, value):
    many, named = field in ("adapt", "layer_ranks"), dict(data="fashion-mnist") if field == "data_dir" else {}
    try:
        tiny.go_on(tiny.begin(Path("run"), **named, **{field: (value,) if many else value}))
    except BadInput as error:
        assert len(str(error).splitlines()) == 1
    assert {found.name for found in Path().iterdir()} <= {"run"}


def stopped() -> Path:
    """A run that was stopped after a checkpoint."""
    path = tiny.begin(Path("run"))
    tiny.go_on(path, watch=tiny.stop_after(0))
    return path


LINKS = [
    "ckpt",
    "plots",
    "versus-full",
    "final.safetensors",
    "metrics.jsonl",
    "ckpt/step-2",
    "ckpt/step-9",
    "env.json",
]


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_leads_out_of_the_run_folder_is_refused(place, name):
    link = stopped() / name
    if link.exists():
        shutil.rmtree(link) if link.is_dir() else link.unlink()
    link.symlink_to(place / "precious" if link.suffix else place)
    for read in (lambda: stored.read_settings(Path("run")), lambda: result.load("run")):
        with pytest.raises(BadInput, match=f"run/{name}: a link that leads out of the run folder"):
            read()


def test_a_link_inside_the_run_folder_and_a_link_to_it_are_fine():
    path = stopped()
    (path / "newest").symlink_to("ckpt/step-2")
    Path("other").symlink_to(path)
    assert stored.read_settings(Path("other")) == tiny.config()


@pytest.mark.parametrize("name", ["a.json", "metrics.jsonl"])
def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(place, monkeypatch, name):
    Path("run").mkdir()
    names = iter(["taken", "free"])
    monkeypatch.setattr(folder, "temporary", lambda path: path.with_name(next(names)))
    Path("run", "taken").symlink_to(place / "precious")
    with pytest.raises(DiskTrouble, match="File exists"):
        folder.write(Path("run", name), b"new")
    assert Path("run", "taken").is_symlink()  # it is not ours
    folder.write(Path("run", name), b"new")
    assert Path("run", name).read_bytes() == b"new" and not Path("run", name).is_symlink()


@pytest.mark.parametrize("name", ["step-1", ".minilte-3.tmp", "step-3"])
def test_a_save_deletes_a_link_and_not_what_it_names(place, name):
    for step in (1, 2):
        checkpoint.save(Path("run"), State(step, {}, (), {}), {})
    link = Path("run/ckpt", name)
    if link.exists():
        shutil.rmtree(link)
    link.symlink_to(place)
    for step in (3, 4):
        checkpoint.save(Path("run"), State(step, {}, (), {}), {})
    assert sorted(found.name for found in Path("run/ckpt").iterdir()) == ["step-3", "step-4"]


def test_settings_of_a_run_folder_cannot_name_another_folder():
    path = stopped()
    values = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(values | {"out": "../../outside"}))
    with pytest.raises(BadInput, match="unknown key 'out'"):
        stored.read_settings(path)
    assert not {"out", "resume", "config"} & set(all_settings())
