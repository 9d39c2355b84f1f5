"""What random parts of augmentation share: drawing from a range, acting on the samples drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask.errors import RecipeError

Range = tuple[float, float]


def uniform(rng: np.random.Generator, values: Range, p: float) -> float | None:
    """A number out of ``values`` for a share ``p`` of the samples, None for the others."""
    return float(rng.uniform(*values)) if rng.random() < p else None


def where_drawn(
    images: Tensor, params: Sequence[Any], act: Callable[[Tensor, list[Any]], Tensor]
) -> Tensor:
    """``act`` on the samples whose parameters are not None; a new tensor if there are any."""
    rows = [number for number, values in enumerate(params) if values is not None]
    if not rows:
        return images
    drawn = [params[number] for number in rows]
    if len(rows) == len(images):
        return act(images, drawn)
    result = images.clone()
    result[rows] = act(images[rows], drawn)
    return result


def column(values: Sequence[float], images: Tensor) -> Tensor:
    """One number for each sample, in the shape that multiplies ``images``."""
    column = torch.tensor(values, dtype=images.dtype, device=images.device)
    return column.reshape(-1, *(1,) * (images.ndim - 1))


def check(part: Any, *, positive: Sequence[str] = ()) -> None:
    """Refuse a share outside [0, 1], and ranges that fall or, where they must not, go below 0.

    Raises:
        RecipeError: a share or range of the part is wrong.
    """
    name = type(part).__name__.lower()
    if not 0 <= part.p <= 1:
        raise RecipeError(
            f"{name}: expected p, a share between 0 and 1, found {part.p}. Change data.augment."
        )
    for field, values in vars(part).items():
        if isinstance(values, tuple | list) and not (len(values) == 2 and values[0] <= values[1]):
            raise RecipeError(
                f"{name}: expected {field}=(low, high) with low <= high, found {values}. "
                "Change data.augment."
            )
        if field in positive and not values[0] >= 0:
            raise RecipeError(
                f"{name}: expected {field} of 0 or more, found {values}. Change data.augment."
            )
