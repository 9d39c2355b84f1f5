"""Build a segmenter that also learns from unlabeled crops, and these crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from unmask.build.pipeline import Pipeline, build_crops
from unmask.data.augment.apply import Resampler
from unmask.data.augment.zoom import Zoom
from unmask.data.crops import Crops
from unmask.data.pairs import Pair
from unmask.errors import RecipeError, message
from unmask.lookup import Choice, build
from unmask.recipe import Part, Recipe
from unmask.semisupervised import UNLABELED
from unmask.semisupervised.base import SemiSupervised
from unmask.space.random import device_seed
from unmask.tasks.segmenter import Segmenter

DEFAULT = Part(name="consistency")


class _Amounts(NamedTuple):
    batch: int
    weight: float
    ramp: float


def build_semisupervised(recipe: Recipe, segmenter: Segmenter) -> SemiSupervised:
    """The objective of ``train.unlabeled`` around a segmenter.

    Raises:
        RecipeError: an unknown method or a wrong option.
    """
    part = _part(recipe)
    amounts, options = _split(part)
    given = {"segmenter": segmenter, "ndim": recipe.data.ndim, "steps": recipe.train.steps}
    method = build(Choice(part.name, options), UNLABELED, "train.unlabeled", **given)
    ramp = round(amounts.ramp * recipe.train.steps)
    return SemiSupervised(segmenter, method, weight=amounts.weight, ramp=ramp)


def build_unlabeled_crops(
    recipe: Recipe, pairs: Sequence[Pair], *, pipeline: Pipeline, share: float = 1.0
) -> Crops:
    """Crops of unlabeled images that are moved, rotated and zoomed as labeled ones, no more.

    Args:
        recipe: with ``train.unlabeled``.
        pairs: images.
        pipeline: of the recipe.
        share: of the memory that decoded images may take.
    """
    moves = tuple(each for each in pipeline.augment if isinstance(each, Resampler | Zoom))
    # Labeled and unlabeled crops draw different random numbers at the same step.
    seed = device_seed(recipe.train.seed, "unlabeled")
    train = {"batch_size": _split(_part(recipe))[0].batch, "seed": seed}
    second = recipe.model_copy(update={"train": recipe.train.model_copy(update=train)})
    parts = Pipeline(pipeline.normalize, moves, (), pipeline.replay)
    return build_crops(second, pairs, None, pipeline=parts, share=share)


def _part(recipe: Recipe) -> Part:
    return recipe.train.unlabeled or DEFAULT


def _split(part: Part) -> tuple[_Amounts, dict[str, Any]]:
    """Amounts, which are the same for every method, and options of the method itself."""
    options = dict(part.choice.options)
    batch, weight, ramp = (
        options.pop(name, default)
        for name, default in (("batch", 4), ("weight", 1.0), ("ramp", 0.3))
    )
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (weight, ramp))
    if not (isinstance(batch, int) and batch > 0 and numbers and weight > 0 and 0 <= ramp <= 1):
        raise RecipeError(
            message(
                f"train.unlabeled {part.name!r}",
                expected="a batch of 1 or more, a weight above 0 and a ramp between 0 and 1",
                found=f"batch={batch}, weight={weight}, ramp={ramp}",
                do="Change the recipe or --set it.",
            )
        )
    return _Amounts(batch, float(weight), float(ramp)), options
