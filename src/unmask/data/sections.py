"""Sections of volumes, for networks of one axis less: every orientation is an image of its own.

In a volume of equal voxels a structure looks alike from all sides, so sections across each axis
triple what there is to learn from (MAESTER: Xie et al., CVPR 2023, pp. 3292-3301).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unmask.data.pairs import Pair
from unmask.errors import RecipeError, message, raise_problems
from unmask.io import Image

# Ratio of voxel sizes up to which sections of two orientations look alike.
_EQUAL = 1.5


def orient(pairs: Sequence[Pair], across: Sequence[int]) -> list[Pair]:
    """Each volume once for every axis of ``across``, with this axis first.

    Args:
        pairs: volumes without labels.
        across: axes that sections are cut across, 0 the slowest.

    Raises:
        RecipeError: an axis that there is not, or twice.
        DataError: voxels that are longer along one axis, where sections of several orientations are
            asked for; all files at once.
    """
    problems: list[str] = []
    for pair in pairs:
        ndim = pair.image.ndim
        if (
            not across
            or sorted(set(across)) != sorted(across)
            or not 0 <= min(across) <= max(across) < ndim
        ):
            raise RecipeError(
                f"data.sections={list(across)}: expected different axes out of 0 .. {ndim - 1}. "
                "Change the recipe or --set it."
            )
        spacing = pair.image.spacing
        if len(across) > 1 and spacing is not None and max(spacing) > _EQUAL * min(spacing):
            problems.append(
                message(
                    pair.image.source,
                    expected="voxels of equal sides for sections of several orientations",
                    found=f"spacing {spacing}",
                    do=f"Cut across the longest: --set data.sections=[{int(np.argmax(spacing))}].",
                )
            )
    raise_problems(problems)
    return [
        replace(pair, image=_move_axis_first(pair.image, axis)) for pair in pairs for axis in across
    ]


def _move_axis_first(image: Image, axis: int) -> Image:
    """The image with spatial ``axis`` before the others."""
    if axis == 0:
        return image
    order = [0, 1 + axis, *(1 + other for other in range(image.ndim) if other != axis)]
    back = np.argsort(order)

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        return np.ascontiguousarray(
            image.fetch(tuple(index[place] for place in back)).transpose(order)
        )

    sizes = image.spacing
    return replace(
        image,
        shape=tuple(image.shape[place] for place in order),
        spacing=None if sizes is None else tuple(sizes[place - 1] for place in order[1:]),
        fetch=fetch,
    )
