"""Everything that docs/howto/add-a-part.md shows, as a reader of the page runs it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from unmask.io import added, open_labels, use_formats
from unmask.phantoms.cells import write_set

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "howto" / "add-a-part.md").read_text(encoding="utf-8")
PLUGIN = ROOT / "examples" / "plugin"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES = {code.splitlines()[0].removeprefix("# "): code for kind, code in BLOCKS if kind == "python"}
COMMANDS = [line for kind, code in BLOCKS if not kind for line in code.splitlines()]
TOML = "".join(code for kind, code in BLOCKS if kind == "toml")
# Runs of two updates on tiny crops.
SHORT = [
    *("--set", "train.steps=2", "--set", "train.batch_size=2", "--set", "data.crop=[32,32]"),
    *("--set", "train.workers=0", "--set", "train.warmup=0"),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(added, "ADDED", {})
    # Another test may have imported a module of this name from its own folder.
    monkeypatch.delitem(sys.modules, "text_format", raising=False)
    added.installed_formats.cache_clear()
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    write_set(tmp_path, "nuclei", shape=(48, 40), count=5, seed=1)
    yield tmp_path
    added.installed_formats.cache_clear()


def write_grids(folder: Path) -> None:
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 99, (1 + 40, 36))
    image[0, :2] = 40, 36
    np.savetxt(folder / "a.grid", image, "%d")


def test_every_command_works_as_shown(here, command):
    write_grids(here / "grids")
    assert len(COMMANDS) >= 9
    for line in COMMANDS:
        words = shlex.split(line)[1:]
        answer = command(*words, *(SHORT if words[0] in {"train", "pretrain"} else []))
        assert answer.code == 0, f"{line}\n{answer.err}"
    assert '"counting.py:count_error"' in (here / "report.json").read_text()
    assert (here / "out" / "grids" / "a.grid").is_file()
    # A format and a metric do not belong to the model, a task does.
    assert command("predict", "--model", "runs/counted", "images", "--out", "out/c").code == 0
    answer = command("predict", "--model", "runs/borders", "images", "--out", "out/d")
    assert answer.code == 2
    assert "task=borders.py:Borders" in answer.err


def test_the_parts_keep_their_contracts(here):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_parts.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = re.findall(r"class (Test\w+)\(", FILES["test_parts.py"])
    assert len(kinds) == 8


def test_files_of_one_name_do_not_collide(here, command):
    (here / "a").mkdir()
    (here / "b").mkdir()
    (here / "a" / "stains.py").write_text(FILES["stains.py"])
    (here / "b" / "stains.py").write_text(FILES["stains.py"].replace("1 - drawn", "1 + drawn"))
    parts = "data.augment=[a/stains.py:Fade, b/stains.py:Fade]"
    answer = command("train", "--preset", "cells", "--images", "images", "--labels", "labels",
                     "--set", parts, *SHORT, "--out", "run")  # fmt: skip
    assert answer.code == 0, answer.err
    (here / "elsewhere").mkdir()
    for folder in ("a", "b"):
        (here / folder / "stains.py").unlink()
    answer = command("predict", "--model", "run", "images", "--out", "out", "--allow-code")
    assert answer.code == 0, answer.err


def test_the_page_and_the_plug_in_have_the_same_files():
    for path in (PLUGIN / "src" / "unmask_example").glob("*.py"):
        if path.stem != "__init__":
            assert FILES[path.name].split("\n", 1)[1].strip() == path.read_text().strip()
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    assert tomllib.loads(TOML)["project"]["entry-points"] == project["entry-points"]


def test_the_plug_in_trains_and_predicts(here, command, monkeypatch):
    """Installed by hand, as pip does it, because building needs a network."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    target = here / "site"
    info = target / "unmask_example-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in project["entry-points"].items()
        )
    )
    package = target / "unmask_example"
    package.mkdir()
    for path in (PLUGIN / "src" / "unmask_example").glob("*.py"):
        (package / path.name).write_bytes(path.read_bytes())
    monkeypatch.syspath_prepend(target)
    for name in FILES:
        (here / name).unlink()
    write_grids(here / "grids")
    answer = command("train", "--preset", "cells", "--set", "task=borders", *SHORT,
                     "--images", "images", "--labels", "labels", "--out", "run")  # fmt: skip
    assert answer.code == 0, answer.err
    answer = command("predict", "--model", "run", "grids", "--out", "out")
    assert answer.code == 0, answer.err
    assert open_labels("out/a.grid", ndim=2).shape == (1, 40, 36)


def test_use_formats_takes_a_format_of_python_code(here, monkeypatch):
    monkeypatch.syspath_prepend(here)
    write_grids(here / "grids")
    import text_format  # pyright: ignore[reportMissingImports]

    use_formats([text_format.TEXT])
    assert open_labels("grids/a.grid", ndim=2).shape == (1, 40, 36)
