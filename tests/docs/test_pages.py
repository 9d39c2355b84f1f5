"""Pages that are made from the code are current, and drawings say what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from unmask.recipe_fields import describe_fields

ROOT = Path(__file__).resolve().parents[2]


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["recipe_page", "cli_page", "datasets_page", "layers_drawing"])
def test_generated_pages_are_current(name):
    """Otherwise: python docs/scripts/NAME.py."""
    module = script(name)
    assert module.PAGE.read_text(encoding="utf-8") == module.page()


@pytest.mark.parametrize("field", describe_fields(), ids=lambda field: field.path)
def test_every_field_has_a_type_and_a_sentence(field):
    assert re.fullmatch(r"[A-Z0-9].*\.", field.description), field.description
    assert field.type
    assert "typing." not in field.type
    assert "class" not in field.type
