"""Backbone + decoder + head + task: what is fine-tuned and what predicts."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.errors import RecipeError
from unmask.models import nd
from unmask.models.base import Objective, Step
from unmask.space.batch import Batch
from unmask.tasks.base import Task
from unmask.tasks.complete import complete


class Segmenter(Objective):
    """From images to the logits of a task, for any backbone and decoder that fit each other.

    With deep supervision (Lee et al. 2015, arXiv:1409.5185) the next coarser levels of the decoder
    predict too; what they learn is up to the task's ``objective``, and prediction ignores them.

    Args:
        backbone: gives features.
        decoder: joins them.
        head: maps the decoder's channels to those of the task.
        task: gives loss and decoding.
        ndim: number of spatial axes.
        deep_supervision: number of coarser levels; the decoder needs ``pyramid``, ``restore``,
            ``strides`` and ``widths``.
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
        self.task = complete(task)
        self.head = head
        widths: Sequence[int] = getattr(decoder, "widths", ())
        levels = widths[1 : deep_supervision + 1]
        if len(levels) < deep_supervision:
            raise RecipeError(
                f"model.deep_supervision={deep_supervision}: expected a decoder with as many "
                f"coarser levels, found {len(levels)}. Lower it or choose another model.decoder."
            )
        outputs = self.task.side_channels()
        self.side_heads = nn.ModuleList(
            nd.conv(ndim, channels, outputs, kernel=1) for channels in levels
        )

    def logits(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b k *space"]:
        """Logits of the task, one vector per voxel."""
        logits = self.head(self.decoder(self.backbone(image), tuple(image.shape[2:])))
        # A decoder may give one vector for the whole image; repeated it takes no memory
        return logits.expand(*logits.shape[:2], *image.shape[2:])

    @property
    def strides(self) -> Sequence[Sequence[int]]:
        """Voxels of the image per voxel of each level of the decoder, finest level first."""
        # A decoder of a user without deep supervision needs no levels.
        return getattr(self.decoder, "strides", ())

    def step(self, batch: Batch) -> Step:
        """Loss of the task on one batch with targets."""
        return self.task.objective(self, batch)

    def outputs(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits at full size, and those of the supervised coarser levels at their own."""
        if not self.side_heads:
            return self.logits(image), []
        pyramid: list[Tensor] = self.decoder.pyramid(self.backbone(image))  # pyright: ignore[reportCallIssue]
        finest: Tensor = self.decoder.restore(pyramid[0], tuple(image.shape[2:]))  # pyright: ignore[reportCallIssue]
        sides = zip(self.side_heads, pyramid[1:], strict=False)
        return self.head(finest), [head(level) for head, level in sides]

    def leaves_weights_out(self, shape: Sequence[int]) -> bool:
        """Whether a decoder reads not every feature; found by a pass on PyTorch's meta device."""
        outline = deepcopy(self).to("meta").train()
        try:
            with torch.random.fork_rng(devices=[]):
                logits, sides = outline.outputs(torch.zeros((2, *shape), device="meta"))
                sum((side.sum() for side in sides), start=logits.sum()).backward()
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            # A user's part that reads values cannot be traced without them.
            return True
        return any(p.requires_grad and p.grad is None for p in outline.parameters())
