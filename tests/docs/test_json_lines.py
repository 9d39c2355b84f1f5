"""docs/reference/json-lines.md names every field that a verb prints with --json."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest

from unmask.api.results import record_of, summarize
from unmask.cli.verbs import VERBS
from unmask.io import Image, save_image

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "json-lines.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `unmask (\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
FIELDS = {verb: set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
          for verb, text in SECTIONS.items()}  # fmt: skip
ALL = [verb for verbs in VERBS.values() for verb in verbs]


def fields_in_code(verb: str) -> set[str]:
    """Keys of the dictionaries that a verb's module emits."""
    tree = ast.parse((ROOT / "src" / "unmask" / "cli" / f"{verb}.py").read_text(encoding="utf-8"))
    emitted = {
        node.args[0] for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "emit"
    }  # fmt: skip
    named = {name.id for each in emitted for name in ast.walk(each) if isinstance(name, ast.Name)}
    assigned = [
        node.value for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AugAssign)
        and any(isinstance(t, ast.Name) and t.id in named & {"record", "facts"}
                for t in (node.targets if isinstance(node, ast.Assign) else [node.target]))
    ]  # fmt: skip
    return {
        str(key.value)
        for each in [*emitted, *assigned]
        for inner in ast.walk(each)
        if isinstance(inner, ast.Dict)
        for key in inner.keys
        if isinstance(key, ast.Constant)
    }


def test_every_verb_has_a_section():
    assert set(SECTIONS) == set(ALL)


@pytest.mark.parametrize("verb", ALL)
def test_fields_in_the_code_are_documented(verb):
    assert fields_in_code(verb) <= FIELDS.get(verb, set())


def test_fields_that_are_printed_are_documented(command, tmp_path):
    labels = np.zeros((40, 40), np.uint8)
    labels[4:20, 4:20] = 1
    for name in "ab":
        save_image(tmp_path / "labels" / f"{name}.tif", labels)
        save_image(tmp_path / "images" / f"{name}.tif", 100 * labels)
    images, truth = tmp_path / "images", tmp_path / "labels"
    report = tmp_path / "report.json"
    runs = [
        ["info"],
        ["presets"],
        ["presets", "cells", "--all"],
        ["prepare"],
        ["synth", "--kind", "nuclei", "--count", "1", "--size", "32,32", "--out", tmp_path / "s"],
        ["check", images, "--labels", truth],
        ["select", images, "--count", "1"],
        ["measure", "--labels", truth, "--out", tmp_path / "t.csv"],
        ["evaluate", "--truth", truth, "--predicted", truth, "--metrics", "dice", "--out", report],
        ["folds", report, report, "--out", tmp_path / "f.json"],
    ]  # fmt: skip
    for given in runs:
        answer = command(*given, "--json")
        lines = [json.loads(line) for line in answer.out.splitlines()]
        assert lines, answer.err
        for line in lines:
            assert set(line) <= FIELDS[given[0]], given


def test_results_of_a_prediction_are_documented():
    image = Image.from_array(np.zeros((4, 4)))
    for objects in (True, False):
        result = summarize(np.eye(4, dtype=np.uint8), objects=objects)
        assert set(record_of(image, Path("a.tif"), result)) <= FIELDS["predict"]


def test_errors_are_documented(command, tmp_path):
    answer = command("measure", "--labels", tmp_path / "no.tif", "--out", "t.csv", "--json")
    line = json.loads(answer.out.splitlines()[-1])
    assert set(line) == set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("## `unmask")[0],
                                       re.MULTILINE))  # fmt: skip
