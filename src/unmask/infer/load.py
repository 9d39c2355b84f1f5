"""From model files to a predictor: a model file explains itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from unmask import checkpoint
from unmask.data import NORMALIZERS
from unmask.data.pairs import Layout
from unmask.errors import CheckpointError
from unmask.infer.predictor import Predictor
from unmask.lookup import build
from unmask.recipe import Recipe, parse
from unmask.tasks.segmenter import Segmenter, build_segmenter, build_task

ModelLike = str | Path


def load_predictor(
    models: ModelLike | Sequence[ModelLike], settings: Iterable[str] = ()
) -> Predictor:
    """A predictor of one model, or of several as an ensemble (mean of their scores).

    It runs on the GPU where there is one.

    Args:
        models: model files or run folders.
        settings: changes to the first model's ``infer``, ``task`` and ``data`` fields.

    Raises:
        CheckpointError: a file that is missing, damaged or no segmenter, or models whose tasks
            differ.
        RecipeError: a setting that does not exist.
    """
    paths = [models] if isinstance(models, str | Path) else list(models)
    loaded = [_load_segmenter(path) for path in paths]
    recipe = loaded[0][1].with_settings(settings)
    for path, (_, other) in zip(paths, loaded, strict=True):
        if other.task != loaded[0][1].task or other.data.ndim != recipe.data.ndim:
            raise CheckpointError(
                f"{path}: expected the task of {paths[0]} ({recipe.task}), found {other.task}. "
                "An ensemble needs models of one task."
            )
    found = torch.accelerator.current_accelerator(check_available=True)
    place = torch.device("cpu") if found is None else found
    return make_predictor([segmenter.to(place) for segmenter, _ in loaded], recipe)


def make_predictor(segmenters: Sequence[Segmenter], recipe: Recipe) -> Predictor:
    """A predictor with the recipe's normalisation, tiling and task options."""
    infer = recipe.infer
    return Predictor(
        segmenters,
        task=build_task(recipe),
        ndim=recipe.data.ndim,
        channels=recipe.data.channels,
        normalize=build(recipe.data.normalize.choice, NORMALIZERS, "data.normalize"),
        tile=infer.tile or recipe.data.crop,
        overlap=infer.overlap,
        blend=infer.blend,
        tta=infer.tta,
        batch_size=infer.batch_size,
        precision=infer.precision,
        layout=Layout(recipe.data.ndim, recipe.data.axes, image_suffix=recipe.data.image_suffix),
    )


def _load_segmenter(path: ModelLike) -> tuple[Segmenter, Recipe]:
    model = checkpoint.load_model(path)
    recipe = parse(model.card.get("recipe"), source=f"{path}: recipe inside")
    if recipe.task is None:
        raise CheckpointError(
            f"{path}: expected a segmenter, found a model pre-trained by "
            f"{recipe.method.name if recipe.method else None!r}. Fine-tune it first: "
            "unmask train --init."
        )
    segmenter = build_segmenter(recipe)
    segmenter.load_state_dict(model.weights, strict=True)
    return segmenter.eval(), recipe
