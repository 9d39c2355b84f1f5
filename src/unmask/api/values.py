"""What the verbs share: how recipes, models and settings may be given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from unmask.recipe import Recipe

Settings = Iterable[str]
Say = Callable[[str], None]
RecipeLike = str | Path | Recipe
ModelLike = str | Path
