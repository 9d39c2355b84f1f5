"""What a wheel and a source distribution must hold, and the lines of an installation."""

from __future__ import annotations

import importlib.util
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
METADATA = "\n".join(
    [
        "Metadata-Version: 2.4",
        "Name: unmask",
        "Version: 0.1.0",
        "Summary: masks",
        "License-Expression: Apache-2.0",
        "Requires-Python: >=3.11",
        *(f"Project-URL: {name}, https://example.org/lab/unmask"
          for name in ("Homepage", "Documentation", "Repository", "Changelog", "Issues")),
        "",
        "# unmask",
    ]
)  # fmt: skip


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "packaging" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def check():
    return load_script("check")


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
    for word in (next(iter(check.NEEDED)), "tests/test_a.py", "Issues", "Summary"):
        assert word in problems, word


def test_a_large_wheel_is_refused(check, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "MAX_WHEEL_MB", 0.01)
    problems = check.check_wheel(wheel(tmp_path, list(check.NEEDED), more=10_000))
    assert "at most" in problems[0]


def test_needed_files_are_in_the_clone(check):
    assert all((ROOT / "src" / name).is_file() for name in check.NEEDED)
    # The wheel may have 30 MB, 8 MB per model.
    sizes = [path.stat().st_size for path in (ROOT / "src/unmask/shipped").iterdir()]
    assert sum(sizes) < 28e6
    assert max(sizes) < 8e6


def test_the_address_of_the_repository_is_written_everywhere(check, tmp_path):
    names = ("pyproject.toml", "packaging/conda/recipe.yaml", "CITATION.cff")
    (tmp_path / "packaging" / "conda").mkdir(parents=True)
    for name in names:
        shutil.copy(ROOT / name, tmp_path / name)
    home = load_script("home")
    for url in ("https://example.org/old/unmask", "https://example.org/lab/unmask"):
        home.write_home(tmp_path, url)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"].keys() == check.URLS
    recipe, citation = (yaml.safe_load((tmp_path / name).read_text()) for name in names[1:])
    assert recipe["about"]["homepage"] == citation["repository-code"] == url
    assert not any("/old/" in (tmp_path / name).read_text() for name in names)


@pytest.mark.parametrize("url", ["unmask", "http://example.org/a/b", "https://example.org"])
def test_other_addresses_are_refused(url, capsys):
    assert load_script("home").main([url]) == 2
    assert "expected https://" in capsys.readouterr().err


def test_the_page_of_installation_names_the_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
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
