"""The facts about a shared model, gathered from its card and from its owner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unmask.build import build_task
from unmask.checkpoint import DescribedModel, described_recipe
from unmask.checkpoint.lineage import Ancestor, ancestors, described_data, without_folders
from unmask.errors import RecipeError, message
from unmask.licenses import check_license, spdx_expression
from unmask.plugins import references
from unmask.recipe import PLANNED, Recipe
from unmask.tasks.complete import complete
from unmask.wording import format_count

# Means over so few images change a lot with the choice of the images.
_FEW = 5


@dataclass(frozen=True)
class Owner:
    """What only the owner of a model knows.

    Attributes:
        title: name of the model for people; None: that of its recipe, or that under which it is
            shared if the recipe was planned and has none of its own.
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
        description: what the model does, in a sentence.
        license: SPDX identifier of the license of the weights.
        authors: names of people or groups; empty: not named.
        recipe: of the model.
        card: of the shared model file, without names of the owner's files.
        data: name, license, source and citation of the training data.
        scores: metric to value, such as ``all f1@0.5``.
        images: images that the scores are of, in words; empty without scores.
        ancestors: models and published files that the weights started from, the nearest first.
        unchanged: no update of the training was kept, so the weights are those of the nearest.
        doubts: notes for the owner, to read before others see the model.
    """

    title: str
    description: str
    license: str
    authors: tuple[str, ...]
    recipe: Recipe
    card: Mapping[str, Any]
    data: Mapping[str, str]
    scores: Mapping[str, float]
    images: str = ""
    ancestors: tuple[Ancestor, ...] = ()
    unchanged: bool = False
    doubts: tuple[str, ...] = field(default=())

    @property
    def classifies(self) -> bool:
        """Whether the model answers about whole images; False for a task of the owner's code."""
        task = self.recipe.task
        # Code of a model never runs when it is shared.
        if task is None or any(references(task.model_dump())):
            return False
        return bool(complete(build_task(self.recipe)).image_classes)


def describe_publication(model: DescribedModel, owner: Owner, *, name: str) -> Publication:
    """Gather the facts about a shared model.

    Args:
        model: its card and recipe.
        owner: what only the owner knows.
        name: of the folder or repository in which it is shared.

    Raises:
        RecipeError: neither the card nor the owner names a license, or SPDX does not know that of
            the owner.
    """
    card = model.card
    recipe = described_recipe(card, model.path)
    before = ancestors(card)
    license_name = card.get("license")
    if owner.license is not None:
        license_name = check_license(owner.license, "--license")
    if not isinstance(license_name, str) or not license_name.strip():
        raise RecipeError(_no_license(model, before))
    data = {"name": owner.data} if owner.data else described_data(card.get("data"))
    scores, images = _scores(card)
    changed = {"license": license_name, "data": dict(data), "authors": list(owner.authors)}
    # Programs that list the model show its name and not that of the recipe.
    title = owner.title or (name if recipe.name == PLANNED else None)
    changed |= {"name": title} if title else {}
    publication = Publication(
        title=title or recipe.name,
        description=_describe(recipe),
        license=license_name.strip(),
        authors=tuple(owner.authors),
        recipe=recipe,
        card={**without_folders(card), **changed},
        data=data or {"name": "not described"},
        scores=scores,
        images=images,
        ancestors=before,
        unchanged=bool(before) and card.get("step") == 0,
    )
    return replace(publication, doubts=tuple(_doubts(publication, owner)))


def _describe(recipe: Recipe) -> str:
    """What a model does: as its recipe says, which of a plan is only what it was planned from."""
    if recipe.name != PLANNED or recipe.task is None or any(references(recipe.task.model_dump())):
        return recipe.description or f"A model of unmask: {recipe.name}."
    what = "objects" if build_task(recipe).context else "classes"
    return (
        f"Segments {what} in {recipe.data.ndim}D images. Its training was "
        f"{recipe.description or 'planned from labeled images'}."
    )


def _no_license(model: DescribedModel, before: Sequence[Ancestor]) -> str:
    started = "".join(f" {each.name} has the license {each.license}." for each in before[:1]
                      if each.license)  # fmt: skip
    return message(
        model.path,
        expected="a license of the weights, which others need before they use them",
        found="a model without one",
        do="Add --license, such as --license CC-BY-4.0. Check first what the licenses of the "
        f"training images and of the start weights allow.{started}",
    )


def _doubts(publication: Publication, owner: Owner) -> Iterator[str]:
    """Notes for the owner, to read before others see the model."""
    if not owner.data and "citation" not in publication.data and "source" not in publication.data:
        yield "The training data are not described: --data says what they are."
    if not owner.authors:
        yield "No author is named: --author NAME adds one."
    yield from _license_doubts(publication)
    if not publication.scores:
        yield "The card holds no scores: nothing was held out for validation."
    elif few := _few(publication.card):
        held_out = format_count(few, "image was", "images were")
        yield f"Only {held_out} held out: the scores say little about other images."
    if publication.card.get("code"):
        yield "The model carries code of yours, which others can read."


def _license_doubts(publication: Publication) -> Iterator[str]:
    """Notes about the license, and about what the start weights allow."""
    if spdx_expression(publication.license) is None:
        yield f"The license {publication.license!r} of the card is not an SPDX identifier."
    if publication.unchanged:
        yield (
            "No update of the training improved the scores, so the weights are those of "
            f"{publication.ancestors[0].name}, unchanged. Share that model instead, or train again."
        )
    for each in publication.ancestors:
        terms = dict.fromkeys(filter(None, (each.license, each.data.get("license", ""))))
        if not each.license:
            yield f"The license of the start weights {each.name} is not known: ask their authors."
        elif list(terms) != [publication.license]:
            yield (
                f"The weights started from {each.name} (license: {'; data: '.join(terms)}): check "
                f"that {publication.license} respects it."
            )


def _few(card: Mapping[str, Any]) -> int:
    """The number of held-out images if it is small; otherwise 0."""
    count = _held_out(card).get("images")
    return count if isinstance(count, int) and 0 < count < _FEW else 0


def _held_out(card: Mapping[str, Any]) -> Mapping[str, Any]:
    held_out = card.get("held_out")
    return held_out if isinstance(held_out, Mapping) else {}


def _scores(card: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """Scores by name, and the images that they are of."""
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
    return found, str(images or _count_held_out(card)) if found else ""


def _count_held_out(card: Mapping[str, Any]) -> str:
    """How many images the scores are of, in words."""
    held_out = _held_out(card)
    count = held_out.get("images")
    if not isinstance(count, int):
        return "held-out images, whose number the card does not say"
    if folds := held_out.get("folds"):
        parts = "regions of one image" if held_out.get("regions_of_one_image") else "images"
        return f"{count} {parts}, each held out once ({folds} folds)"
    return f"{count} held-out image{'' if count == 1 else 's'}"
