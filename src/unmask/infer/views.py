"""Mirrored views of an image, whose scores are averaged (test-time augmentation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unmask.errors import RecipeError

# Spatial axes that are mirrored together in each view.
Flips = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Views:
    """Mirrored views of an image whose scores are averaged.

    Attributes:
        flips: spatial axes that are mirrored together in each view.
        mirror_positions: mirror the positions of windows too, as if the whole image were mirrored
            (the published inference of MEDIAR); costs one run over the image for each view.
    """

    flips: Flips = ((),)
    mirror_positions: bool = False

    @classmethod
    def of(
        cls,
        ndim: int,
        *,
        tta: bool | Sequence[Sequence[int]] = False,
        mirror_positions: bool = False,
    ) -> Views:
        """The views of a recipe.

        Args:
            ndim: number of spatial axes.
            tta: average over mirrored windows: identity and every axis alone, or a list of the axes
                mirrored together, such as ``((), (0,), (1,), (0, 1))``.
            mirror_positions: see the attribute.

        Raises:
            RecipeError: axes that the image does not have.
        """
        if isinstance(tta, bool):
            alone = tuple((axis,) for axis in range(ndim)) if tta else ()
            return cls(((), *alone), mirror_positions)
        flips = tuple(tuple(axes) for axes in tta)
        if not flips or any(not 0 <= axis < ndim for axes in flips for axis in axes):
            raise RecipeError(
                f"tta={tta}: expected lists of axes 0 .. {ndim - 1}, such as "
                "[[], [0], [1]]. Change infer.tta."
            )
        return cls(flips, mirror_positions)

    @property
    def runs(self) -> list[Flips]:
        """Views that share a run over the image."""
        return [(axes,) for axes in self.flips] if self.mirror_positions else [self.flips]


ONE_VIEW = Views()


def mirror(image: Float[Tensor, "b c *space"], axes: Sequence[int]) -> Tensor:
    """The image mirrored along spatial axes (0 = slowest); itself where there are none."""
    return torch.flip(image, [2 + axis for axis in axes]) if axes else image
