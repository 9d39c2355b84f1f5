"""Random magnification at the time of reading: a larger or smaller box is averaged to the crop.

Unlike the warps of ``spatial.py``, which interpolate between neighbors, shrinking by areas loses
no voxel, so factors far below 1 stay free of aliasing, and no more is read than the sample needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from unmask.data.augment.random_parts import Range, check, uniform
from unmask.errors import RecipeError


@dataclass(frozen=True)
class Zoom:
    """Show objects larger or smaller, by one factor for all axes.

    Attributes:
        factor: range of the magnification, drawn uniformly; 2 shows objects twice as large.
        p: share of the samples.
    """

    factor: Range = (0.25, 1.5)
    p: float = 0.5

    def __post_init__(self) -> None:
        check(self, positive=("factor",))
        if not self.factor[0] > 0:
            raise RecipeError(
                f"zoom: expected factor above 0, found {self.factor}. Change data.augment."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> float | None:
        """The factor."""
        del shape
        return uniform(rng, self.factor, self.p)


def region(size: Sequence[int], factor: float | None) -> tuple[int, ...]:
    """Voxels to read along each axis for a result of ``size``."""
    if factor is None:
        return tuple(size)
    return tuple(max(1, round(n / factor)) for n in size)


def resize(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """``(C, *size)`` float32: the mean over the area of each new voxel."""
    if array.shape[1:] == tuple(size):
        return array
    return F.interpolate(torch.from_numpy(array)[None], size=tuple(size), mode="area")[0].numpy()


def resize_labels(labels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """``(*size)`` of the same type: the label at the center of each new voxel."""
    if labels.shape == tuple(size):
        return labels
    places = [
        (2 * np.arange(new) + 1) * old // (2 * new)
        for old, new in zip(labels.shape, size, strict=True)
    ]
    return labels[np.ix_(*places)]
