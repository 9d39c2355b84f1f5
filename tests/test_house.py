"""House rules that the linters cannot check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from unmask.recipe import Recipe, load, presets

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "unmask"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TEXTS = [
    path
    for folder in ("src", "tests", "docs", "benchmarks", "examples", ".ci", ".github")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".html", ""}
    and path.is_file()
    and "__pycache__" not in path.parts
] + [path for path in sorted(ROOT.iterdir()) if path.is_file() and path.name != ".git"]

# Lines of a function with its docstring, and parameters; a command's options are its parameters.
LONGEST_FUNCTION = 60
MOST_PARAMETERS = 10
MANY_PARAMETERS = {
    PACKAGE / "api" / "learning.py",
    PACKAGE / "api" / "prediction.py",
    PACKAGE / "models" / "vit.py",
    PACKAGE / "pretraining" / "glmae.py",
    # Kernels of numba take flat arrays, no objects.
    PACKAGE / "phantoms" / "painting.py",
}
# A kernel whose state is in local arrays, which its parts would have to pass around; and a verb
# that is older than the rule, to be divided.
STILL_LONG = {"contract", "cluster"}
DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common"}
LONGEST = 450
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home|Users|mnt|scratch)/\w")
AXES = re.compile(r"^(?:n_?dim|dim|n_?axes|axes)s?$")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def may_know_ndim(path: Path) -> bool:
    return path == PACKAGE / "models" / "nd.py" or PACKAGE / "io" in path.parents


def counts_axes(node: ast.expr) -> bool:
    """Whether an expression is a number of axes: ``ndim``, ``x.ndim``, ``len(shape)``."""
    if isinstance(node, ast.Name):
        return bool(AXES.match(node.id))
    if isinstance(node, ast.Attribute):
        return bool(AXES.match(node.attr))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr == "dim" and not node.args
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        return bool(re.search(r"shape|space|spacing|crop|tile|patch|stride", ast.unparse(node)))
    return False


def axis_branches(module: ast.Module) -> list[int]:
    """Lines of ``if ndim == 2``, ``x if len(shape) != 3 else y``, ``match ndim``."""
    tests: list[ast.expr] = []
    lines: list[int] = []
    for node in ast.walk(module):
        if isinstance(node, ast.If | ast.IfExp):
            tests.append(node.test)
        if isinstance(node, ast.Match) and counts_axes(node.subject):
            lines.append(node.lineno)
    for test in tests:
        for node in ast.walk(test):
            if not isinstance(node, ast.Compare):
                continue
            sides = [node.left, *node.comparators]
            fixed = any(isinstance(s, ast.Constant) and s.value in (2, 3) for s in sides)
            equal = any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
            if fixed and equal and any(counts_axes(side) for side in sides):
                lines.append(node.lineno)
    return lines


def test_the_rules_see_the_package():
    assert PACKAGE / "errors.py" in SOURCES
    assert ROOT / "README.md" in TEXTS
    assert axis_branches(ast.parse("if image.ndim == 3: pass")) == [1]
    assert axis_branches(ast.parse("x = 1 if len(shape) != 2 else 2")) == [1]
    assert axis_branches(ast.parse("if len(shape) == len(crop) or n == 3: pass")) == []
    assert MACHINE_PATH.search("see /" + "home/someone/data")
    assert not MACHINE_PATH.search("https://host.org/" + "home/page")


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_source_file(path):
    assert path.stem not in DRAWERS, "a file is named after the one idea it holds"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST, f"{len(lines)} lines; divide it"
    module = tree(path)
    if lines and (path.name == "__init__.py" or not path.stem.startswith("_")):
        assert ast.get_docstring(module), "the first lines say what, for which shapes, after whom"
    if not may_know_ndim(path):
        assert not axis_branches(module), "written once for n axes; see models/nd.py"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.js")), ids=name)
def test_program_of_the_page(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST, f"{len(lines)} lines; divide it"
    assert lines[0].startswith("// "), "the first line says what it is for"


def functions(module: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    every = function.args
    names = [each.arg for each in (*every.posonlyargs, *every.args, *every.kwonlyargs)]
    return [name for name in names if name not in {"self", "cls"}]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_functions_are_short(path):
    found = functions(tree(path))
    lengths = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in found}
    long = {
        title: lines
        for title, lines in lengths.items()
        if lines > LONGEST_FUNCTION and title not in STILL_LONG
    }
    assert not long, "divide them"
    # The options of a verb and the sizes of a published network have names of their own.
    promised = (PACKAGE / "cli") in path.parents or path in MANY_PARAMETERS
    wide = [f"{f.name}: {len(p)}" for f in found if len(p := parameters(f)) > MOST_PARAMETERS]
    assert promised or wide == [], "hold them together in a dataclass"


def test_tests_name_documents_that_exist():
    """A page that was moved or removed takes its tests along."""
    spelled = re.compile(r"[\"'\s/(]((?:[\w-]+/)*[\w-]+\.md)\b")
    pages = {path.name for path in TEXTS if path.suffix == ".md"}
    missing = [
        f"{name(path)}: {page}"
        for path in TEXTS
        if path.suffix == ".py" and (ROOT / "tests") in path.parents
        for page in spelled.findall(path.read_text(encoding="utf-8"))
        if Path(page).name not in pages
    ]
    assert missing == []


def test_contributing_lists_every_table_and_folder():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tables = dict(re.findall(r"^\|.*\| `([A-Z]+)` in `([\w/.]+)` \|$", text, re.MULTILINE))
    expected = {
        "TASKS", "METHODS", "BACKBONES", "DECODERS", "HEADS", "AUGMENTATIONS", "NORMALIZERS",
        "METRICS", "FORMATS", "UNLABELED",
    }  # fmt: skip
    assert set(tables) == expected
    for table, file in tables.items():
        assert re.search(rf"^{table}\b", (PACKAGE / file).read_text(), re.MULTILINE), file
    contracts = re.findall(r"^\|[^|]*\| `([\w/.]+)`: `(\w+)` \|", text, re.MULTILINE)
    assert len(contracts) >= 7
    for file, contract in contracts:
        assert re.search(rf"^class {contract}\b", (PACKAGE / file).read_text(), re.MULTILINE), file
    (layers,) = re.findall(r"```\n(cli >.*?)```", text, re.DOTALL)
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders - set(re.findall(r"\w+", layers)) == set()


def test_nothing_speaks_of_one_machine():
    this = Path(__file__).resolve()
    found = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in TEXTS
        if path.resolve() != this
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
        )
        if MACHINE_PATH.search(line)
    ]
    assert found == []


def test_every_folder_with_code_is_a_package():
    folders = {path.parent for path in SOURCES}
    assert [name(f) for f in sorted(folders) if not (f / "__init__.py").is_file()] == []


def test_tests_have_no_init_files():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_classes_of_ours_inherit_one_level():
    """Our own classes build on a library's class or on one of ours, not on a chain."""
    bases: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [ast.unparse(base).split(".")[-1] for base in node.bases]
    protocols = {own for own, parents in bases.items() if "Protocol" in parents}
    deep = [
        f"{own} < {parent} < {grand}"
        for own, parents in bases.items()
        for parent in parents
        for grand in bases.get(parent, [])
        if grand in bases and own not in protocols
    ]
    assert deep == []


@pytest.mark.parametrize("preset", presets())
def test_preset_is_valid_and_complete(preset):
    recipe = load(preset)
    assert isinstance(recipe, Recipe)
    assert recipe.name == preset
    assert recipe.description
    assert load(preset) == load(preset).with_settings([])


def test_all_promised_presets_ship():
    assert {"mae2d", "mae3d", "cells", "cells3d", "semantic2d", "semantic3d"} <= set(presets())


def test_command_line_starts_without_heavy_libraries():
    program = (
        "import sys, unmask.cli; "
        "heavy = ['torch', 'numba', 'scipy', 'skimage', 'zarr', 'matplotlib', 'lightning_fabric']; "
        "print(*[name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_command_line_prints_in_one_place():
    """Names of files and texts of cards are escaped there."""
    printers = [
        name(path)
        for path in SOURCES
        if (PACKAGE / "cli") in path.parents
        and path.name != "terminal.py"
        and re.search(r"\btyper\.(?:echo|secho)\b|\bprint\(", path.read_text(encoding="utf-8"))
    ]
    assert printers == []


def test_no_package_has_the_name_of_a_verb():
    """Its import would replace the function ``unmask.<verb>``."""
    stub = (PACKAGE / "__init__.pyi").read_text(encoding="utf-8")
    functions = re.findall(r"\b(\w+)\b", stub.partition("from .api import")[2].partition(")")[0])
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert {"train", "cluster"} <= set(functions)
    assert folders & set(functions) == set()


UNDECIDED = re.compile(r"[a-z]\((?:s|es)\)")


def undecided_plurals(module: ast.Module) -> list[str]:
    """Texts such as "1 file(s)", in messages and docstrings."""
    texts = [node.value for node in ast.walk(module) if isinstance(node, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and UNDECIDED.search(text)]


def test_messages_count_in_singular_and_plural():
    """``unmask.wording.format_count`` writes "1 file" and "2 files"."""
    assert undecided_plurals(ast.parse("f'{n} file(s) found'")) == [" file(s) found"]
    assert undecided_plurals(ast.parse("f'{n} class(es)'")) == [" class(es)"]
    found = {name(path): undecided_plurals(tree(path)) for path in SOURCES}
    found |= {
        name(path): UNDECIDED.findall(path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.js")
    }
    assert {path: texts for path, texts in found.items() if texts} == {}
