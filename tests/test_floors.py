"""The house stands: imports only go down, the core stays small, heavy packages stay in their rooms."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent / "minilte"
FLOORS = {
    "core": 0,
    "disk": 1,
    "settings": 2,
    **dict.fromkeys(("quant", "comm", "networks", "steps", "schedules", "measure"), 3),
    **dict.fromkeys(("data", "optimizers"), 4),
    "rules": 5,
    "methods": 6,
    "around": 7,
    "cost": 8,
    "run": 9,
    "job": 10,
    **dict.fromkeys(("laws", "experiments", "compare", "bench", "show"), 11),
    "commands": 12,
}
DOORS = 13
ROOMS = {"mpi4py": {"comm/mpi.py"}, "matplotlib": {"show/drawing.py"}}
FILES = sorted(ROOT.rglob("*.py"))


def imported(path):
    """Every module that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(folder):
    return FLOORS.get(folder, DOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path):
    here = "door" if path.name == "__main__.py" else path.relative_to(ROOT).parts[0]
    for name in imported(path):
        if name.startswith("minilte."):
            there = name.split(".")[1]
            same_or_command = there == here or floor(here) == floor(there) == DOORS
            assert same_or_command or floor(there) < floor(here), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_stay_in_their_rooms(path):
    for name in imported(path):
        if (top := name.split(".")[0]) in ROOMS:
            assert str(path.relative_to(ROOT)) in ROOMS[top]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.parent.name not in (ROOT.name, "commands")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_only_commands_print(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    printing = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert not printing or path.name in ("cut_fashion_mini.py", "__main__.py")  # a script of its own


def test_the_core_stays_small():
    assert sum(len(path.read_text().splitlines()) for path in (ROOT / "core").glob("*.py")) < 1300


@pytest.mark.parametrize("path", [HERE / "support.py", *(HERE / "core").glob("*.py")], ids=lambda path: path.name)
def test_the_tests_of_the_core_need_nothing_but_the_core(path):
    inside = [name for name in imported(path) if name.startswith("minilte")]
    assert all(name.split(".")[1] == "core" for name in inside), inside


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_and_public_function_says_what_it_is(path):
    module = ast.parse(path.read_text(encoding="utf-8"))
    if path.name != "__init__.py":
        assert ast.get_docstring(module)
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"
