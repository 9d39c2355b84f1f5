"""The shipped model that stands for every kind of image of so many axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unmask import shipped
from unmask.checkpoint import describe_model, described_recipe
from unmask.recipe import Recipe


@dataclass(frozen=True)
class ShippedStart:
    """A model that was trained on synthetic images of all kinds.

    Attributes:
        name: of the shipped model.
        recipe: what it was trained with.
        card: what it says about itself.
    """

    name: str
    recipe: Recipe
    card: Mapping[str, Any]

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Name and options of its backbone, as a recipe has them."""
        return self.recipe.model.backbone.model_dump(mode="json")

    @property
    def origin(self) -> str:
        """What it was trained on, in a few words."""
        data = self.card.get("data")
        return str(data.get("name", "")) if isinstance(data, Mapping) else ""


def start_name(ndim: int) -> str:
    """Name of the model for images of ``ndim`` axes, whether it is shipped or not.

    Examples:
        >>> start_name(2)
        'phantoms2d'
    """
    return f"phantoms{ndim}d"


def find_start(ndim: int) -> ShippedStart | None:
    """The shipped start for images of ``ndim`` axes; None as long as there is none."""
    path = shipped.names().get(start_name(ndim))
    return None if path is None else _read(path)


# A plan, a training and a prediction ask for it, and every bit of the file is verified.
@cache
def _read(path: Path) -> ShippedStart:
    card = describe_model(path).card
    return ShippedStart(path.stem, described_recipe(card, path), card)
