"""Shipped models for images of any kind, per number of axes: synthetic start weights, generalists.

A generalist continues the start weights on real images with free labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unmask import shipped
from unmask.checkpoint import describe_model, described_recipe
from unmask.recipe import Recipe

# Models that were also trained on real cells and nuclei, by number of axes.
_GENERALISTS = {2: "generalist2d"}


@dataclass(frozen=True)
class ShippedStart:
    """A shipped model for images of any kind.

    Attributes:
        name: name of the shipped model.
        recipe: recipe of its training.
        card: card of the model file.
    """

    name: str
    recipe: Recipe
    card: Mapping[str, Any]

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Name and options of its backbone, as in a recipe."""
        return self.recipe.model.backbone.model_dump(mode="json")

    @property
    def origin(self) -> str:
        """Short description of its training images."""
        data = self.card.get("data")
        return str(data.get("name", "")) if isinstance(data, Mapping) else ""


def start_name(ndim: int) -> str:
    """Name of the start weights for images of ``ndim`` axes, whether they are shipped or not.

    Examples:
        >>> start_name(2)
        'phantoms2d'
    """
    return f"phantoms{ndim}d"


def find_start(ndim: int) -> ShippedStart | None:
    """The shipped start weights for images of ``ndim`` axes; None if none are shipped."""
    path = shipped.names().get(start_name(ndim))
    return None if path is None else _read(path)


def find_generalist(ndim: int) -> ShippedStart | None:
    """The shipped generalist for objects in images of ``ndim`` axes, or else the start weights."""
    path = shipped.names().get(_GENERALISTS.get(ndim, ""))
    return find_start(ndim) if path is None else _read(path)


# Plan, training and prediction read it, and each read verifies the checksum of the file.
@cache
def _read(path: Path) -> ShippedStart:
    card = describe_model(path).card
    return ShippedStart(path.stem, described_recipe(card, path), card)
