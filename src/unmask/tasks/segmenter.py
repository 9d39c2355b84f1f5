"""Backbone + decoder + head + task: what is fine-tuned and what predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.errors import RecipeError
from unmask.lookup import build
from unmask.models import BACKBONES, DECODERS, HEADS, nd
from unmask.models.base import Objective, Step, TokenBackbone
from unmask.recipe import Part, Recipe
from unmask.space.batch import Batch
from unmask.tasks import TASKS
from unmask.tasks.base import Task


class Segmenter(Objective):
    """From images to the logits of a task, for any backbone and decoder that fit each other.

    With deep supervision (Lee et al. 2015, arXiv:1409.5185) the next coarser levels of the decoder
    predict the target too, each with half the weight of the finer one; prediction ignores them.

    Args:
        backbone: gives features.
        decoder: joins them.
        head: maps the decoder's channels to those of the task.
        task: gives loss and decoding.
        ndim: number of spatial axes.
        deep_supervision: number of coarser levels; the decoder needs ``pyramid``, ``restore``
            and ``widths``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        decoder: nn.Module,
        head: nn.Module,
        *,
        task: Task,
        ndim: int,
        deep_supervision: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.task = task
        self.head = head
        widths: Sequence[int] = getattr(decoder, "widths", ())
        levels = widths[1 : deep_supervision + 1]
        if len(levels) < deep_supervision:
            raise RecipeError(
                f"model.deep_supervision={deep_supervision}: expected a decoder with as many "
                f"coarser levels, found {len(levels)}. Lower it or choose another model.decoder."
            )
        self.side_heads = nn.ModuleList(
            nd.conv(ndim, channels, task.channels(), kernel=1) for channels in levels
        )

    def logits(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b k *space"]:
        """Logits of the task, one vector a voxel."""
        return self.head(self.decoder(self.backbone(image), tuple(image.shape[2:])))

    def step(self, batch: Batch) -> Step:
        """Loss of the task on one batch with targets."""
        if batch.values is None or batch.weight is None:
            raise ValueError("A segmenter learns from targets; this batch has images only.")
        outputs = self._outputs(batch.image)
        weights = [0.5**level for level in range(len(outputs))]
        losses = [self.task.loss(each.float(), batch.values, batch.weight) for each in outputs]
        total = sum(w * each for w, each in zip(weights, losses, strict=True)) / sum(weights)
        return Step(torch.as_tensor(total), logs={"loss": losses[0].detach()})

    def _outputs(self, image: Tensor) -> list[Tensor]:
        """Logits of the finest level and of the supervised coarser ones, all at full size."""
        if not self.side_heads:
            return [self.logits(image)]
        size = tuple(image.shape[2:])
        pyramid: list[Tensor] = self.decoder.pyramid(self.backbone(image))  # pyright: ignore[reportCallIssue]
        finest: Tensor = self.decoder.restore(pyramid[0], size)  # pyright: ignore[reportCallIssue]
        sides = zip(self.side_heads, pyramid[1:], strict=False)
        return [self.head(finest), *(nd.interpolate(head(level), size) for head, level in sides)]


def build_task(recipe: Recipe) -> Task:
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
    return build(recipe.task.choice, TASKS, "task", **given)


def build_backbone(recipe: Recipe) -> Any:
    """The recipe's backbone with fresh weights; the number of axes is that of the crop.

    Raises:
        RecipeError: an unknown name or a wrong option.
    """
    part = recipe.data
    given = {"ndim": part.ndim, "in_channels": part.channels, "image": part.crop}
    return build(recipe.model.backbone.choice, BACKBONES, "model.backbone", **given)


def build_segmenter(recipe: Recipe) -> Segmenter:
    """A segmenter with fresh weights; the number of axes is that of the crop.

    Without a decoder in the recipe the backbone's natural one is taken: ``unetr`` for
    transformers, ``unet`` otherwise.
    """
    ndim = recipe.data.ndim
    task = build_task(recipe)
    backbone = build_backbone(recipe)
    strides = [tuple(stride) for stride in backbone.strides]
    part = recipe.model.decoder or _natural_decoder(backbone)
    given = {"ndim": ndim, "channels": tuple(backbone.channels), "strides": strides}
    decoder = build(part.choice, DECODERS, "model.decoder", **given)
    sizes = {"ndim": ndim, "width": decoder.width, "channels": task.channels()}
    head = build(recipe.model.head.choice, HEADS, "model.head", **sizes)
    deep = recipe.model.deep_supervision
    return Segmenter(backbone, decoder, head, task=task, ndim=ndim, deep_supervision=deep)


def _natural_decoder(backbone: object) -> Part:
    return Part(name="unetr" if isinstance(backbone, TokenBackbone) else "unet")
