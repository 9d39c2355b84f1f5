"""The facts about a shared model, gathered from its card and from its owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask.checkpoint import DescribedModel, described_recipe
from unmask.errors import RecipeError, message
from unmask.recipe import Recipe

_KEPT = ("name", "license", "source", "citation")


@dataclass(frozen=True)
class Owner:
    """What only the owner of a model knows.

    Attributes:
        title: name of the model for people; None: that of its recipe.
        license: SPDX identifier of the license of the weights; None: that in the card.
        authors: names of people or groups.
        data: what the model was trained on, with source and license.
    """

    title: str | None = None
    license: str | None = None
    authors: Sequence[str] = ()
    data: str | None = None


@dataclass(frozen=True)
class Publication:
    """A model with everything that its README, its citation and its own card say.

    Attributes:
        title: name for people.
        license: SPDX identifier of the license of the weights.
        authors: names of people or groups; empty: not named.
        recipe: of the model.
        card: of the shared model file, without names of the owner's files.
        data: name, license, source and citation of the training data.
        scores: metric to value, such as ``all f1@0.5``.
        images: images that the scores are of; empty if the card does not say.
        doubts: notes for the owner, to read before others see the model.
    """

    title: str
    license: str
    authors: tuple[str, ...]
    recipe: Recipe
    card: Mapping[str, Any]
    data: Mapping[str, str]
    scores: Mapping[str, float]
    images: str = ""
    doubts: tuple[str, ...] = field(default=())


def describe_publication(model: DescribedModel, owner: Owner) -> Publication:
    """Gather the facts about a shared model.

    Raises:
        RecipeError: neither the card nor the owner names a license.
    """
    card = model.card
    recipe = described_recipe(card, model.path)
    license_name = owner.license or card.get("license")
    if not isinstance(license_name, str) or not license_name.strip():
        raise RecipeError(
            message(
                model.path,
                expected="a license of the weights, which others need before they use them",
                found="a model without one",
                do="Add --license, such as --license CC-BY-4.0. Check first what the licenses of "
                "the training images and of the start weights allow.",
            )
        )
    data = _data(card.get("data"), owner.data)
    scores, images = _scores(card)
    doubts = []
    if not owner.data and "citation" not in data and "source" not in data:
        doubts.append("The training data are not described: --data says what they are.")
    if not owner.authors:
        doubts.append("No author is named: --author NAME adds one.")
    if not scores:
        doubts.append("The card holds no scores: nothing was held out for validation.")
    if card.get("code"):
        doubts.append("The model carries code of yours, which others can read.")
    changed = {"license": license_name, "data": dict(data), "authors": list(owner.authors)}
    kept = dict(card)
    if isinstance(start := kept.get("start"), Mapping):
        # A path on the owner's computer; a shipped model or one of a hub keeps its name.
        kept["start"] = {**start, "model": _without_folder(str(start.get("model", "")))}
    return Publication(
        title=owner.title or recipe.name,
        license=license_name.strip(),
        authors=tuple(owner.authors),
        recipe=recipe,
        card={**kept, **changed},
        data=data,
        scores=scores,
        images=images,
        doubts=tuple(doubts),
    )


def _data(entry: object, given: str | None) -> dict[str, str]:
    """The training data for strangers: the owner's words, or the card's, or a count of files."""
    if given:
        return {"name": given}
    if not isinstance(entry, Mapping) or not entry:
        return {"name": "not described"}
    if "name" in entry:
        return {key: str(entry[key]) for key in _KEPT if key in entry}
    return {"name": f"{len(entry)} files of the authors (images and labels)"}


def _scores(card: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    figures = card.get("figures") or card.get("metrics") or {}
    found: dict[str, float] = {}
    for name, value in figures.items() if isinstance(figures, Mapping) else ():
        if isinstance(value, Mapping):
            inner = {f"{name} {key}": each for key, each in value.items()}
        else:
            inner = {str(name): value}
        found |= {
            key: float(each)
            for key, each in inner.items()
            if isinstance(each, int | float) and not isinstance(each, bool)
        }
    images = figures.get("images", "") if isinstance(figures, Mapping) else ""
    return found, str(images)


def _without_folder(model: str) -> str:
    return Path(model).name if Path(model).is_absolute() or Path(model).exists() else model
