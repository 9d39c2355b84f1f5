"""Changes of whole label images before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from unmask.errors import RecipeError
from unmask.io import Image
from unmask.labels.boundaries import exclude_boundaries


class LabelChange(Protocol):
    """From a label image to the one that is trained on; a frozen dataclass of options."""

    def change(self, labels: np.ndarray) -> np.ndarray:
        """New labels ``(*space)`` of the same type, for labels of a whole image."""
        ...


@dataclass(frozen=True)
class ExcludeBoundaries:
    """Take the outermost voxels off objects, so that touching ones part.

    Attributes:
        min_size: objects of fewer voxels stay whole.
        frame: voxels from the border of the image in which nothing changes.
        ignore_label: value without truth, which stays.
    """

    min_size: int = 196
    frame: int = 2
    ignore_label: int | None = None

    def __post_init__(self) -> None:
        if self.min_size < 0 or self.frame < 0:
            raise RecipeError(
                f"exclude_boundaries: expected min_size and frame of 0 or more, found "
                f"min_size={self.min_size}, frame={self.frame}. Change data.label_changes."
            )

    def change(self, labels: np.ndarray) -> np.ndarray:
        """Labels of smaller objects."""
        return exclude_boundaries(
            labels, min_size=self.min_size, frame=self.frame, ignore_label=self.ignore_label
        )


LABEL_CHANGES = {"exclude_boundaries": ExcludeBoundaries}


def apply_changes(labels: Image, changes: Sequence[LabelChange]) -> Image:
    """The label image after ``changes``; reading a part of it reads the whole."""
    if not changes:
        return labels

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        whole = labels.read()[0]
        for each in changes:
            whole = each.change(whole)
        return whole[None][index].copy()

    return replace(labels, fetch=fetch, whole=True)
