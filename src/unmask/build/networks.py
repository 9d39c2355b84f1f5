"""Tasks, backbones, segmenters and pre-training methods of a recipe, with fresh weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unmask.errors import DataError, RecipeError, message
from unmask.lookup import build
from unmask.models import BACKBONES, DECODERS, HEADS
from unmask.models.base import Objective, TokenBackbone
from unmask.models.patches import grid_of
from unmask.recipe import Part, Recipe
from unmask.tasks import TASKS
from unmask.tasks.base import CompleteTask
from unmask.tasks.complete import complete
from unmask.tasks.segmenter import Segmenter

# What is read of a part before it is used; see the contracts for the rest.
_TASK = ("context", "metrics", "channels", "loss", "activate", "flip", "encode", "decode")
_BACKBONE = ("channels", "strides", "state_dict", "forward")
_DECODER = ("width", "state_dict", "forward")


def build_task(recipe: Recipe) -> CompleteTask:
    """The recipe's task.

    Raises:
        RecipeError: the recipe pre-trains, or an option is wrong.
    """
    if recipe.task is None:
        raise RecipeError(
            f"recipe {recipe.name!r}: expected a task, found the pre-training method "
            f"{recipe.method.name if recipe.method else None!r}. "
            "Use `unmask pretrain`, or a recipe with a task."
        )
    given = {"ndim": recipe.data.ndim, "ignore_label": recipe.data.ignore_label}
    task = build(recipe.task.choice, TASKS, "task", **given)
    _check_part(task, _TASK, f"task {recipe.task.name!r}")
    return complete(task)


def build_backbone(recipe: Recipe) -> Any:
    """The recipe's backbone; the number of axes is that of the crop.

    Raises:
        RecipeError: an unknown name or a wrong option.
    """
    part = recipe.data
    given = {"ndim": part.ndim, "in_channels": part.channels, "image": part.crop}
    backbone = build(recipe.model.backbone.choice, BACKBONES, "model.backbone", **given)
    _check_part(backbone, _BACKBONE, f"model.backbone {recipe.model.backbone.name!r}")
    return backbone


def build_segmenter(recipe: Recipe, task: CompleteTask | None = None) -> Segmenter:
    """The recipe's segmenter; the number of axes is that of the crop.

    Without a decoder in the recipe the backbone's natural one is used: ``unetr`` for transformers,
    ``unet`` otherwise.

    Args:
        recipe: what is built.
        task: the recipe's task, if it is built already.

    Raises:
        RecipeError: no task, an unknown name or a wrong option.
    """
    task = build_task(recipe) if task is None else task
    ndim = recipe.data.ndim
    backbone = build_backbone(recipe)
    strides = [tuple(stride) for stride in backbone.strides]
    part = recipe.model.decoder or _natural_decoder(backbone)
    given = {"ndim": ndim, "channels": tuple(backbone.channels), "strides": strides}
    decoder = build(part.choice, DECODERS, "model.decoder", **given)
    _check_part(decoder, _DECODER, f"model.decoder {part.name!r}")
    sizes = {"ndim": ndim, "width": decoder.width, "channels": task.channels()}
    head = build(recipe.model.head.choice, HEADS, "model.head", **sizes)
    deep = recipe.model.deep_supervision
    return Segmenter(backbone, decoder, head, task=task, ndim=ndim, deep_supervision=deep)


def build_method(recipe: Recipe) -> Objective:
    """The recipe's pre-training method.

    Raises:
        RecipeError: the recipe fine-tunes, an unknown name or a wrong option.
    """
    if recipe.method is None:
        raise RecipeError(
            f"recipe {recipe.name!r}: expected a pre-training method, found the task "
            f"{recipe.task.name if recipe.task else None!r}. Use `unmask train`."
        )
    # Prediction and fine-tuning need no pre-training code.
    from unmask.pretraining import METHODS

    backbone = build_backbone(recipe)
    if isinstance(backbone, TokenBackbone):
        # Whole patches are hidden and reconstructed; only for features is an image padded.
        try:
            grid_of(recipe.data.crop, backbone.patch)
        except DataError as error:
            raise RecipeError(f"data.crop with method {recipe.method.name}: {error}") from error
    given = {"backbone": backbone, "steps": recipe.train.steps}
    return build(recipe.method.choice, METHODS, "method", **given)


def _check_part(part: object, members: Sequence[str], label: str) -> None:
    """Refuse a user's part that lacks members of its contract."""
    missing = [name for name in members if not hasattr(part, name)]
    if missing:
        raise RecipeError(
            message(
                label,
                expected=f"a part with {', '.join(members)}",
                found=f"{type(part).__name__} without {', '.join(missing)}",
                do="Add them, or choose another part.",
            )
        )


def _natural_decoder(backbone: object) -> Part:
    return Part(name="unetr" if isinstance(backbone, TokenBackbone) else "unet")
