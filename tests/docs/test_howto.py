"""What the documentation shows works as shown."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
import yaml

from unmask.cli import app
from unmask.lookup import Choice, build
from unmask.phantoms.cells import nuclei
from unmask.recipe import DataRecipe, load
from unmask.tasks.base import Task

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
WITH_COMMANDS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
GROUP = typer.main.get_command(app)


def blocks(page: Path, language: str) -> list[str]:
    fenced = re.findall(r"```(\w*)[^\n]*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [text for name, text in fenced if name == language]


@pytest.fixture
def task_file(tmp_path):
    code = blocks(DOCS / "howto" / "add-a-part.md", "python")[0]
    path = tmp_path / "borders.py"
    path.write_text(code, encoding="utf-8")
    yield path
    sys.modules.pop("unmask_plugin_borders", None)


@pytest.mark.parametrize("shape", [(96, 96), (20, 48, 48)])
def test_the_example_task_decodes_what_it_encodes(task_file, shape):
    task = build(Choice(f"{task_file}:Borders", {"width": 1}), {}, "task")
    assert isinstance(task, Task)
    labels = nuclei(shape, rng=np.random.default_rng(1)).labels.astype(np.int64)
    target = task.encode(labels, None)
    assert target.values.shape == target.weight.shape == (1, *shape)
    scores = np.moveaxis(np.eye(3, dtype=np.float32)[target.values[0].astype(int)], -1, 0)
    decoded = task.decode(scores, None)
    assert np.mean((decoded > 0) == (labels > 0)) > 0.99
    # An object keeps its own number nearly everywhere, so touching ones stay apart.
    count = len(np.unique(labels)) - 1
    assert abs(decoded.max() - count) <= 0.2 * count
    logits = torch.zeros(2, task.channels(), *shape, requires_grad=True)
    batch = [torch.from_numpy(np.stack([part, part])) for part in (target.values, target.weight)]
    task.loss(logits, *batch).backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_settings_and_presets_exist(page):
    text = page.read_text(encoding="utf-8")
    if page.name == "cli.md":
        return  # made from the help pages, whose examples tests/cli checks
    recipe = load({"volumes": "cells3d", "cluster": "maester"}.get(page.stem, "cells"))
    ignored = {
        "task.width",
        "method",
        "a.b",
        "infer.KEY",
        "KEY",
        "fold",
        "held_out",
        "copy",
        "split",
        "border",
        "diameter",
        "count",
        "partial",
        "drop",
    }
    quoted = re.findall(r"--set '([A-Za-z._]+)=([^']+)'", text)
    plain = re.findall(r"--set ([A-Za-z._]+)=(\{[^}]+\}|[^\s`']+)", text)
    for key, value in [*quoted, *plain]:
        if key not in ignored:
            recipe = (
                recipe if value in {"...", "VALUE"} else recipe.with_settings([f"{key}={value}"])
            )
    for name in re.findall(r"--preset ([a-z0-9_]+)", text):
        load(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_recipe_snippets_are_valid(page):
    for snippet in blocks(page, "yaml"):
        tree = yaml.safe_load(snippet)
        assert set(tree) <= {"data", "model", "task", "train", "infer"}
        DataRecipe.model_validate({"crop": [8, 8], **tree.get("data", {})})


def shown_commands(page: Path) -> list[str]:
    """The commands of a page, with the lines that continue them."""
    text = "\n".join(blocks(page, "") + blocks(page, "bash"))
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    # In commands of other programs it is the name of a package, an image or a package's contents.
    others = (
        "pip ",
        "uv ",
        "conda ",
        "podman build",
        "apptainer build",
        "buildah ",
        "docker build",
    )
    own = (line.strip() for line in lines if not line.strip().startswith(others))
    matches = (re.match(r"(?:\S+ )*?(?=unmask )(.*)", line) for line in own)
    return [match[1] for match in matches if match and not match[0].startswith(("#", "Error"))]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_parse(page):
    """Every command has a verb and options that exist, with values of the right kind."""
    for line in shown_commands(page):
        if line.endswith("...") or "VERB" in line:
            continue
        _, verb, *arguments = shlex.split(line, comments=True)
        if ">" in arguments:
            arguments = arguments[: arguments.index(">")]
        assert verb in GROUP.commands, line
        if verb != "presets" and arguments in ([], ["--help"]):
            continue
        context = GROUP.commands[verb].make_context(verb, [*arguments])
        given = context.params
        if "images_option" in given:
            assert given.get("images") or given.get("volumes") or given["images_option"], line
        settings = given.get("settings") or ()
        if given.get("preset"):
            usable = [each for each in settings if "FILE" not in each and ".py:" not in each]
            load(given["preset"]).with_settings(usable)
