"""The page on decoding affinities works as shown."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import yaml

from unmask.labels.affinities import METHODS, SHARED, decoder
from unmask.labels.watershed import Watershed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "decode-affinities.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_finds_two_objects():
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(code, names)
    assert set(names["objects"].ravel()) == {1, 2}


def test_the_recipe_names_options_that_exist():
    (text,) = blocks("yaml")
    decoding = yaml.safe_load(text)["task"]["decoding"]
    common = {"name", "min_size", "merges"}
    assert decoder(decoding["name"], {k: v for k, v in decoding.items() if k not in common})


def test_every_method_is_told():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(rows) - {"method"} == set(METHODS)


def test_every_option_is_told():
    text = PAGE.read_text(encoding="utf-8")
    told = {name for span in re.findall(r"`([^`\n]+)`", text) for name in re.findall(r"\w+", span)}
    options = {name for method in METHODS.values() for name in inspect.signature(method).parameters}
    options |= {each.name for each in fields(Watershed)} | set(SHARED)
    assert options - {"affinities", "offsets"} <= told
