"""Workflow files call verbs and options that exist, and are well formed as far as can be told."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import fields
from pathlib import Path

import pytest

from unmask.cli import measure, predict

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "workflows"
FILES = {path.name: path for path in FOLDER.rglob("*") if path.suffix in (".nf", ".xml", "")
         and path.is_file()}  # fmt: skip
OPTIONS = {"predict": predict.PredictOptions, "measure": measure.MeasureOptions}


def test_all_three_are_there():
    assert sorted(FILES) == ["Snakefile", "main.nf", "unmask_predict.xml"]


@pytest.mark.parametrize("name", FILES)
def test_every_option_exists(name):
    text = FILES[name].read_text(encoding="utf-8")
    end = r'(?:&&|\n\s*"""|$(?![\s\S])|\nrule)'
    calls = re.findall(rf"unmask (predict|measure)\b(.*?){end}", text, re.DOTALL)
    assert calls
    for verb, rest in calls:
        known = {each.name for each in fields(OPTIONS[verb])} | {"json", "quiet"}
        used = {word.replace("-", "_") for word in re.findall(r"--([a-z][a-z-]*)", rest)}
        assert used <= known, name


def test_the_tool_of_galaxy():
    tool = ElementTree.parse(FILES["unmask_predict.xml"]).getroot()
    command = tool.findtext("command") or ""
    inputs = {param.get("name") or (param.get("argument") or "").strip("-")
              for param in tool.iter("param") if "value" not in param.attrib}  # fmt: skip
    outputs = {data.get("name") for data in tool.iter("data")}
    used = set(re.findall(r"\$\{?(\w+)", command))
    assert used <= inputs | outputs | {"model_source"}
    assert outputs <= used
    assert tool.find("tests/test") is not None


def test_nextflow_has_balanced_braces_and_a_stub_for_every_process():
    text = FILES["main.nf"].read_text(encoding="utf-8")
    assert text.count("{") == text.count("}")
    assert text.count("process ") == text.count("stub:") == text.count("script:")


def test_snakemake_plans_the_rules(tmp_path):
    if shutil.which("snakemake", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("snakemake is not installed")
    (tmp_path / "images").mkdir()
    for name in "ab":
        (tmp_path / "images" / f"{name}.tif").touch()
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--snakefile",
         FILES["Snakefile"]],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"predict\s+2", done.stdout + done.stderr)
