"""From model files to a predictor: a model file explains itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from unmask import checkpoint
from unmask.data import NORMALIZERS
from unmask.data.pairs import Layout
from unmask.data.view import View
from unmask.errors import CheckpointError, RecipeError
from unmask.infer.predictor import Origin, Predictor
from unmask.lookup import build
from unmask.recipe import Recipe, parse
from unmask.tasks.segmenter import Segmenter, build_segmenter, build_task

ModelLike = str | Path
# Fields of a recipe that made the network what it is.
_FIXED = ("model", "method", "train", "name", "description", "data.channels", "data.crop")


def load_predictor(
    models: ModelLike | Sequence[ModelLike], settings: Iterable[str] = ()
) -> Predictor:
    """A predictor of one model, or of several as an ensemble (mean of ``infer.average``).

    It runs on the GPU where there is one.

    Args:
        models: model files, run folders or names of shipped models.
        settings: changes to the first model's ``infer``, ``task`` and ``data`` fields, as far as
            they do not change its network.

    Raises:
        CheckpointError: a file that is missing, damaged or no segmenter, or models that do not see
            and say the same.
        RecipeError: a setting that does not exist, or that would need another network.
    """
    paths = [models] if isinstance(models, str | Path) else list(models)
    if not paths:
        raise RecipeError("model: expected one model or more, found none. Give a file or run.")
    loaded = [_load_segmenter(path) for path in paths]
    first = loaded[0][1]
    for path, (_, other) in zip(paths, loaded, strict=True):
        _check_alike(first, other, source=f"{path}", than=f"{paths[0]}")
    lines = list(settings)
    recipe = _changed(first, lines, channels=loaded[0][0].task.channels())
    found = torch.accelerator.current_accelerator(check_available=True)
    place = torch.device("cpu") if found is None else found
    predictor = make_predictor([segmenter.to(place) for segmenter, _ in loaded], recipe)
    names = (Path(path).absolute() if Path(path).exists() else path for path in paths)
    return replace(predictor, origin=Origin(tuple(map(str, names)), tuple(lines)))


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
        pad=infer.pad,
        tta=infer.tta,
        mirror_positions=infer.mirror_positions,
        average=infer.average,
        batch_size=infer.batch_size,
        precision=infer.precision,
        block=infer.block,
        view=View(recipe.data.spacing, recipe.data.foreground_crop),
        layout=Layout(
            recipe.data.ndim,
            recipe.data.axes,
            image_suffix=recipe.data.image_suffix,
            allow_external=recipe.data.allow_external,
        ),
    )


def _check_alike(first: Recipe, other: Recipe, *, source: str, than: str) -> None:
    """An ensemble's models get the same image and what they give is averaged."""
    facts = [
        {
            "task": recipe.task,
            "axes": recipe.data.ndim,
            "channels": recipe.data.channels,
            "normalisation": recipe.data.normalize,
            "spacing": recipe.data.spacing,
            "foreground crop": recipe.data.foreground_crop,
        }
        for recipe in (first, other)
    ]
    for name, wanted in facts[0].items():
        if facts[1][name] != wanted:
            raise CheckpointError(
                f"{source}: expected the {name} of {than} ({wanted}), found {facts[1][name]}. "
                "An ensemble needs models that see and say the same; predict with each alone."
            )


def _changed(recipe: Recipe, settings: list[str], *, channels: int) -> Recipe:
    """The recipe with settings that leave the network as it is."""
    # Whoever made the model does not decide which files of this machine are read.
    changed = recipe.with_settings(["data.allow_external=false", *settings])
    fixed = [line for line in settings if line.partition("=")[0].strip().startswith(_FIXED)]
    if fixed:
        raise RecipeError(
            f"--set {' '.join(fixed)}: expected fields of infer, task or data that do not change "
            "the network, found some that were settled in training. Use --set infer.KEY=VALUE."
        )
    if (found := build_task(changed).channels()) != channels:
        raise RecipeError(
            f"--set {' '.join(settings)}: expected a task of {channels} channels as the model has, "
            f"found {found}. Train a model for that task."
        )
    return changed


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
    checkpoint.load_weights(segmenter, model.weights, source=path)
    return segmenter.eval(), recipe
