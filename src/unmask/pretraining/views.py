"""Views: random boxes of an image, resized to one size, for any number of axes.

What is cut is drawn on the host, a pure function of the generator; the cutting happens where the
image is, so one crop from the disk feeds all views of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unmask.errors import RecipeError
from unmask.models import nd
from unmask.space.box import Box


@dataclass(frozen=True)
class View:
    """One view of one image: a box, and the axes along which it is mirrored."""

    box: Box
    flips: tuple[int, ...]


@dataclass(frozen=True)
class ViewPlan:
    """How views are drawn.

    Attributes:
        name: what they are called in messages and in addresses of chance.
        count: views of an image.
        size: voxels along every axis of a view.
        scale: smallest and largest length of a box, as a share of the image's; one share for all
            axes, so shapes keep their proportions.
        flip: mirror every axis with probability 1/2.
    """

    name: str
    count: int
    size: tuple[int, ...]
    scale: tuple[float, float]
    flip: bool = True

    def __post_init__(self) -> None:
        if self.count < 1:
            raise RecipeError(
                f"method glmae: expected at least one {self.name} view, found {self.count}. "
                "Change method.views."
            )
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise RecipeError(
                f"{self.name}_scale={[low, high]}: expected (low, high) with 0 < low <= high <= 1, "
                f"shares of data.crop. Change method.{self.name}_scale."
            )

    def draw(self, rng: np.random.Generator, images: int, shape: Sequence[int]) -> tuple[View, ...]:
        """View v of image b at place ``v * images + b``."""
        return tuple(self._view(rng, shape) for _ in range(self.count * images))

    def _view(self, rng: np.random.Generator, shape: Sequence[int]) -> View:
        share = rng.uniform(*self.scale)
        lengths = [min(n, max(1, round(share * n))) for n in shape]
        start = tuple(
            int(rng.integers(n - length + 1)) for n, length in zip(shape, lengths, strict=True)
        )
        box = Box(start, tuple(a + length for a, length in zip(start, lengths, strict=True)))
        turned = rng.integers(2, size=len(lengths))
        flips = tuple(axis for axis, bit in enumerate(turned.tolist()) if bit and self.flip)
        return View(box, flips)


def cut(
    images: Float[Tensor, "b c *space"], views: Sequence[View], size: Sequence[int]
) -> Float[Tensor, "v c *size"]:
    """All views as one batch, resized by linear interpolation; ``ViewPlan.draw`` orders them."""
    parts = []
    for place, view in enumerate(views):
        image = images[place % len(images)][None]
        part = nd.interpolate(image[(..., *view.box.slices)], size)
        parts.append(part.flip([2 + axis for axis in view.flips]) if view.flips else part)
    return torch.cat(parts)
