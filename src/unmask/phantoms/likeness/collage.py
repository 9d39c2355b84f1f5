"""Labeled images made of labeled objects on a ground made of the same images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unmask.labels.pasting import Cutout, cut_objects, paste_cutout, turn_cutout
from unmask.phantoms.likeness.look import cast_values
from unmask.phantoms.likeness.photographs import fit_shape
from unmask.space.random import generator

# Widths in voxels over which the ground next to objects is spread under them.
_SPREADS = (2.0, 6.0, 18.0, 54.0)


@dataclass(frozen=True)
class Sheet:
    """A labeled image taken apart.

    Attributes:
        ground: ``(C, *space)`` the image without its objects.
        cutouts: its whole objects.
        density: objects per voxel.
        dtype: of the image.
    """

    ground: NDArray[np.float32]
    cutouts: list[Cutout]
    density: float
    dtype: np.dtype[Any]


def take_apart(image: NDArray[Any], labels: NDArray[Any]) -> Sheet:
    """Objects of an image ``(C, *space)`` and what is left without them."""
    values = image.astype(np.float32)
    cutouts = cut_objects(values, labels)
    count = len(np.unique(labels[labels > 0]))
    return Sheet(_fill(values, labels > 0), cutouts, count / labels.size, image.dtype)


def draw_collages(
    sheets: Sequence[Sheet], shape: Sequence[int], count: int, *, seed: int = 0
) -> Iterator[tuple[NDArray[Any], NDArray[np.uint16]]]:
    """Images ``(C, *shape)`` and labels; image ``i`` depends on ``seed`` and ``i`` alone.

    Objects of all sheets are mirrored, turned and pasted, about as many per voxel as there were.
    """
    shelf = [cutout for sheet in sheets for cutout in sheet.cutouts]
    for index in range(count):
        rng = generator(seed, "likeness collage", index)
        sheet = sheets[int(rng.integers(len(sheets)))]
        image = _cut_ground(sheet.ground, shape, rng)
        labels = np.zeros(tuple(shape), np.uint16)
        wanted = sheet.density * labels.size * rng.uniform(0.6, 1.5)
        # Objects of the same image in half of the pictures: they have one exposure.
        own = sheet.cutouts if sheet.cutouts and rng.random() < 0.5 else shelf
        number, sizes = 0, {}
        for _ in range(3 * max(1, round(wanted))):
            if number >= max(1, round(wanted)) or not own:
                break
            cutout = turn_cutout(own[int(rng.integers(len(own)))], rng)
            size = np.array(cutout.mask.shape)
            corner = rng.integers(-(size // 2), np.array(shape) - size // 2)
            number += int(paste_cutout(image, labels, cutout, corner.tolist(), number + 1,
                                       visible=0.85, sizes=sizes))  # fmt: skip
        yield cast_values(image, sheet.dtype), _consecutive(labels)


def _fill(image: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Replace what is covered by the ground around it, with the grain of the ground."""
    near = np.asarray(ndimage.binary_dilation(covered, iterations=2), np.bool_)
    if near.all():
        near = covered
    known = (~near).astype(np.float32)
    if not known.any():
        return image
    result = np.empty_like(image)
    for channel, values in enumerate(image):
        smooth = np.full(values.shape, np.median(values[~near]), np.float32)
        for width in reversed(_SPREADS):
            weight = np.asarray(ndimage.gaussian_filter(known, width, truncate=3))
            mean = ndimage.gaussian_filter(known * values, width, truncate=3)
            smooth = np.where(weight > 0.02, mean / np.maximum(weight, 1e-6), smooth)
        rest = (values - smooth)[~near]
        # A block of the ground's own noise keeps its texture; shifted copies fill all of it.
        grain = _shifted_grain(values - smooth, near, rest)
        result[channel] = np.where(near, smooth + grain, values)
    return result


def _shifted_grain(
    residual: NDArray[np.float32], near: NDArray[np.bool_], rest: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Noise for the covered voxels: the residual of the nearest shift that lies on the ground."""
    rng = np.random.default_rng(0)
    limit = 3 * float(np.median(np.abs(rest))) * 1.4826
    grain = np.clip(rng.choice(rest, residual.shape), -limit, limit).astype(np.float32)
    open_ = near.copy()
    for _ in range(24):
        shift = tuple(int(rng.integers(n)) for n in near.shape)
        axes = tuple(range(near.ndim))
        usable = open_ & ~np.roll(near, shift, axes)
        grain[usable] = np.clip(np.roll(residual, shift, axes)[usable], -limit, limit)
        open_ &= ~usable
    return grain


def _cut_ground(
    ground: NDArray[np.float32], shape: Sequence[int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """A part of the ground of the wanted size, mirrored at random, mirrored on where too small."""
    space = ground.shape[1:]
    start = [int(rng.integers(max(0, n - m) + 1)) for n, m in zip(space, shape, strict=True)]
    cut = tuple(slice(a, a + m) for a, m in zip(start, shape, strict=True))
    part = ground[(slice(None), *cut)]
    for axis in range(1, part.ndim):
        if rng.random() < 0.5:
            part = np.flip(part, axis)
    return fit_shape(part, shape).astype(np.float32).copy()


def _consecutive(labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    _, numbers = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    return numbers[:-1].reshape(labels.shape).astype(np.uint16)
