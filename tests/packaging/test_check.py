"""What a wheel and a source distribution must hold, and the lines of an installation."""

from __future__ import annotations

import importlib.util
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
METADATA = "\n".join(
    [
        "Metadata-Version: 2.4",
        "Name: unmask",
        "Version: 0.1.0",
        "Summary: masks",
        "License-Expression: Apache-2.0",
        "Requires-Python: >=3.11",
        *(f"Project-URL: {name}, https://example.org/OWNER/unmask"
          for name in ("Homepage", "Documentation", "Repository", "Changelog", "Issues")),
        "",
        "# unmask",
    ]
)  # fmt: skip


@pytest.fixture
def check():
    spec = importlib.util.spec_from_file_location("check", ROOT / "packaging" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, names: list[str], metadata: str = METADATA, more: int = 0) -> Path:
    path = folder / "unmask-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, bytes(more))
        archive.writestr("unmask-0.1.0.dist-info/METADATA", metadata)
        archive.writestr(
            "unmask-0.1.0.dist-info/entry_points.txt", "[console_scripts]\nunmask = unmask.cli:main"
        )
    return path


def test_a_complete_wheel_passes(check, tmp_path):
    assert check.check_wheel(wheel(tmp_path, list(check.NEEDED))) == []


def test_what_is_wrong_is_named_at_once(check, tmp_path):
    names = [*list(check.NEEDED)[1:], "tests/test_a.py"]
    text = METADATA.replace("Project-URL: Issues", "X: Issues").replace("Summary", "X")
    problems = "\n".join(check.check_wheel(wheel(tmp_path, names, text), release=True))
    for word in (next(iter(check.NEEDED)), "tests/test_a.py", "Issues", "Summary", "OWNER"):
        assert word in problems, word


def test_a_large_wheel_is_refused(check, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "MAX_WHEEL_MB", 0.01)
    problems = check.check_wheel(wheel(tmp_path, list(check.NEEDED), more=10_000))
    assert "at most" in problems[0]


def test_needed_files_are_in_the_clone(check):
    assert all((ROOT / "src" / name).is_file() for name in check.NEEDED)
    assert sum(path.stat().st_size for path in (ROOT / "src/unmask/shipped").iterdir()) < 25e6


def test_the_project_names_its_pages_and_extras(check):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"].keys() == check.URLS
    page = (ROOT / "docs" / "howto" / "install.md").read_text(encoding="utf-8")
    hidden = {"dev", "docs"}
    assert (
        not {name for name in project["optional-dependencies"] if f"`{name}`" not in page} - hidden
    )


def test_the_recipe_of_conda_names_the_same_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    renamed = {
        "torch": "pytorch",
        "xxhash": "python-xxhash",
        "matplotlib": "matplotlib-base",
        "dask": "dask-core",
    }
    for line in project["dependencies"]:
        name, _, bound = line.partition(">=")
        assert f"- {renamed.get(name, name)} >={bound}" in recipe, line
    assert f'version: "{project["version"]}"' in recipe
