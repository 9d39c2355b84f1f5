"""How a recipe's files are read, and how batches are made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.build.networks import build_task
from unmask.build.normalizer import build_normalizer
from unmask.data import AUGMENTATIONS, LABEL_CHANGES, SAMPLINGS
from unmask.data.channel_choice import ChannelChoice
from unmask.data.crops import CropPlan, Crops
from unmask.data.grid import View
from unmask.data.normalize import Normalizer
from unmask.data.pairs import Encode, Layout, Pair
from unmask.data.sampling import Modalities
from unmask.errors import RecipeError
from unmask.lookup import build
from unmask.recipe import Part, Recipe, ReplayRecipe
from unmask.space.random import device_seed
from unmask.tasks.base import CompleteTask, Task


@dataclass(frozen=True)
class Pipeline:
    """The parts between a file and a batch, each built once.

    Attributes:
        normalize: measures and scales each image.
        augment: augmentations of crops.
        label_changes: changes of label crops.
        replay: augmentations and label changes of the second source.
    """

    normalize: Normalizer
    augment: tuple[Any, ...]
    label_changes: tuple[Any, ...]
    replay: tuple[tuple[Any, ...], tuple[Any, ...]]


def build_pipeline(
    recipe: Recipe, attempt: Callable[[Callable[[], Any]], Any] | None = None
) -> Pipeline:
    """The parts that the recipe names.

    Args:
        recipe: what is built.
        attempt: calls a function that builds one part, and may keep its error; None calls it.

    Raises:
        RecipeError: an unknown name or a wrong option.
    """
    part, attempt = recipe.data, attempt or (lambda action: action())
    second = part.replay or ReplayRecipe()
    changed = {"ignore_label": part.ignore_label}

    def each(parts: Sequence[Part], table: Any, kind: str, **given: Any) -> tuple[Any, ...]:
        return tuple(
            attempt(lambda one=one: build(one.choice, table, kind, **given)) for one in parts
        )

    augment = each(part.augment, AUGMENTATIONS, "data.augment")
    label_changes = each(part.label_changes, LABEL_CHANGES, "data.label_changes", **changed)
    replay = (
        each(second.augment, AUGMENTATIONS, "data.augment")
        if second.augment is not None
        else augment,
        each(second.label_changes, LABEL_CHANGES, "data.label_changes", **changed)
        if second.label_changes is not None
        else label_changes,
    )
    return Pipeline(attempt(lambda: build_normalizer(recipe)), augment, label_changes, replay)


def build_sampling(recipe: Recipe) -> Modalities | None:
    """How images of rare kinds are drawn more often; None: every image once per epoch."""
    part = recipe.data.sampling
    return None if part is None else build(part.choice, SAMPLINGS, "data.sampling")


def layout(recipe: Recipe, task: CompleteTask | None = None) -> Layout:
    """How the recipe's files are to be read.

    Args:
        recipe: what is built.
        task: the recipe's task, if it is built already.
    """
    part = recipe.data
    if task is None and recipe.task is not None:
        task = build_task(recipe)
    return Layout(
        part.ndim + (part.sections is not None),
        part.axes,
        part.image_suffix,
        part.label_suffix,
        () if task is None else task.image_classes,
        View(part.spacing, part.foreground_crop, part.scale),
        part.allow_external,
        part.label_offset,
        channels=ChannelChoice(part.use_channels),
    )


def build_crops(
    recipe: Recipe,
    pairs: Sequence[Pair],
    task: Task | None,
    *,
    pipeline: Pipeline | None = None,
    share: float = 1.0,
) -> Crops:
    """Batches of the recipe, with targets if there is a task.

    Args:
        recipe: what is built.
        pairs: images and labels.
        task: encodes targets.
        pipeline: the recipe's pipeline, if it is built already.
        share: of the memory that decoded images may take.
    """
    part, pipeline = recipe.data, pipeline or build_pipeline(recipe)
    plan = CropPlan(
        crop=part.crop,
        channels=part.channels,
        batch_size=recipe.train.batch_size,
        foreground=part.foreground if task is not None else 0.0,
        seed=recipe.train.seed,
        parts=pipeline.augment,
        changes=pipeline.label_changes,
        border=part.border,
    )
    return Crops(
        pairs,
        plan,
        normalize=pipeline.normalize,
        encode=None if task is None else encoder(task),
        cache_bytes=part.cache_gb * 1e9 * share,
    )


def build_replay(
    recipe: Recipe,
    pairs: Sequence[Pair],
    task: Task | None,
    *,
    pipeline: Pipeline | None = None,
    share: float = 1.0,
) -> Crops:
    """``data.replay.batch`` crops of a second source, for every batch of the first.

    Raises:
        RecipeError: the recipe has no ``data.replay``.
    """
    part = recipe.data.replay
    if part is None:
        raise RecipeError(
            f"recipe {recipe.name!r}: expected data.replay for a second source, found none. "
            "Give --set 'data.replay={batch: 1}'."
        )
    pipeline = pipeline or build_pipeline(recipe)
    augment, label_changes = pipeline.replay
    # The two sources draw different random numbers at the same step.
    train = {"batch_size": part.batch, "seed": device_seed(recipe.train.seed, "replay")}
    second = recipe.model_copy(update={"train": recipe.train.model_copy(update=train)})
    parts = Pipeline(pipeline.normalize, augment, label_changes, pipeline.replay)
    return build_crops(second, pairs, task, pipeline=parts, share=share)


def encoder(task: Task) -> Encode:
    """The task's targets as the data pipeline takes them."""

    def encode(
        labels: np.ndarray, spacing: tuple[float, ...] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        target = task.encode(labels, spacing)
        return target.values, target.weight

    return encode
