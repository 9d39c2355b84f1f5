"""Parts of given images that are measured, and images that cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.io import Image
from unmask.phantoms.likeness.bank import Canvas
from unmask.phantoms.likeness.look import Look, read_look
from unmask.phantoms.likeness.statistics import Statistics, measure
from unmask.space.box import Box
from unmask.space.random import generator

# Longest sides of the parts of an image that are compared, from the last axis.
_SIDES = {2: (160, 160), 3: (12, 96, 96)}
_PARTS = 3
# Voxels of a channel from which the look of an image is read.
_LOOK = 1 << 20


@dataclass(frozen=True)
class Photograph:
    """Statistics and look of an image.

    Attributes:
        name: of the image.
        rows: ``(parts, d)`` statistics of its parts.
        look: its gray values, colors and noise.
        spacing: voxel size of a stack in units of the last axis; None: not known.
    """

    name: str
    rows: Statistics
    look: Look
    spacing: tuple[float, ...] | None = None


def plan_canvas(images: Sequence[Image]) -> Canvas:
    """Size of the parts that are compared: one size for all, which most images hold."""
    ndim = images[0].ndim
    shapes = np.array([image.shape[1:] for image in images])
    longest = (*(12,) * max(0, ndim - 3), *_SIDES[min(3, ndim)][-ndim:])
    shape = np.minimum(np.quantile(shapes, 0.25, axis=0), longest).astype(int)
    return Canvas(tuple(np.maximum(shape, 1).tolist()), _relative_spacing(images))


def _relative_spacing(images: Sequence[Image]) -> tuple[float, ...] | None:
    """Median voxel size in units of the last axis; None where it is not known."""
    known = [np.array(image.spacing) / image.spacing[-1] for image in images if image.spacing]
    return tuple(np.median(known, axis=0).tolist()) if known else None


def read_photograph(
    name: str, image: Image, canvas: Canvas, *, shrink: int = 1, seed: int = 0
) -> Photograph | None:
    """Measure an image; None for a constant one.

    Args:
        name: of the image.
        image: opened image.
        canvas: size of the parts.
        shrink: factor by which the last two axes are reduced before measuring, for large objects.
        seed: of the places of the parts.
    """
    whole = image.read(_middle(image.shape, _LOOK))
    if whole.size == 0 or whole.min() == whole.max():
        return None
    boxes = _boxes(image.shape[1:], canvas.shape, shrink, seed)
    parts = [fit_shape(reduce(image.read(box), shrink), canvas.shape) for box in boxes]
    rows = [measure(part) for part in parts if part.min() < part.max()]
    if not rows:
        return None
    return Photograph(name, np.stack(rows), read_look(whole), canvas.spacing)


def _middle(shape: Sequence[int], voxels: int) -> Box:
    space = shape[1:]
    share = min(1.0, (voxels / max(1, prod(space))) ** (1 / len(space)))
    size = [max(1, int(n * share)) for n in space]
    start = tuple((n - s) // 2 for n, s in zip(space, size, strict=True))
    return Box(start, tuple(a + s for a, s in zip(start, size, strict=True)))


def _boxes(space: Sequence[int], part: Sequence[int], shrink: int, seed: int) -> list[Box]:
    """Parts at random places, always the same ones; one if the image is hardly larger."""
    wanted = [n * (shrink if axis >= len(part) - 2 else 1) for axis, n in enumerate(part)]
    size = np.minimum(wanted, space)
    room = np.array(space) - size
    count = _PARTS if np.any(room > size // 4) else 1
    rng = generator(seed, "likeness parts", 0)
    boxes = []
    for number in range(count):
        start = room // 2 if number == 0 else rng.integers(0, room + 1)
        boxes.append(Box(tuple(start.tolist()), tuple((start + size).tolist())))
    return boxes


def reduce(values: NDArray[Any], shrink: int) -> NDArray[Any]:
    """Means over squares of the last two axes."""
    if shrink == 1:
        return values
    *rest, height, width = values.shape
    height, width = height // shrink, width // shrink
    cut = values[..., : height * shrink, : width * shrink].astype(np.float32)
    return cut.reshape(*rest, height, shrink, width, shrink).mean(axis=(-3, -1))


def fit_shape(values: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Mirror a part of an image that is smaller than wanted."""
    missing = [max(0, n - m) for n, m in zip(shape, values.shape[1:], strict=True)]
    if not any(missing):
        return values
    return np.pad(values, [(0, 0), *((m // 2, m - m // 2) for m in missing)], "symmetric")
