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


def test_the_page_of_the_recipe_is_current():
    """Otherwise: python docs/scripts/recipe_page.py."""
    recipe_page = script("recipe_page")
    assert recipe_page.PAGE.read_text(encoding="utf-8") == recipe_page.page()


@pytest.mark.parametrize("field", describe_fields(), ids=lambda field: field.path)
def test_every_field_has_a_type_and_a_sentence(field):
    assert re.fullmatch(r"[A-Z0-9].*\.", field.description), field.description
    assert field.type
    assert "typing." not in field.type
    assert "class" not in field.type
