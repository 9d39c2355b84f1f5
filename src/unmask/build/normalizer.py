"""The normalization of a recipe; prediction needs it without the rest of the data pipeline."""

from __future__ import annotations

from unmask.data import NORMALIZERS
from unmask.data.normalize import Normalizer
from unmask.lookup import build
from unmask.recipe import Recipe


def build_normalizer(recipe: Recipe) -> Normalizer:
    """The recipe's normalization of images."""
    return build(recipe.data.normalize.choice, NORMALIZERS, "data.normalize")
