"""Labeled pixels: where they are, their classes, and their features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, Integer
from torch import Tensor

from unmask.space.box import Box
from unmask.space.pad import Read, pad_reads
from unmask.space.tiling import Tiling


@dataclass(frozen=True)
class Places:
    """Labeled pixels of one image.

    Attributes:
        voxels: index of every pixel, in an order in which neighbors in a stroke follow each other.
        values: label value of every pixel.
    """

    voxels: Int64[np.ndarray, "m n"]
    values: Int64[np.ndarray, " m"]


@dataclass(frozen=True)
class LabeledPixels:
    """Labeled pixels of all images.

    Attributes:
        features: of every pixel.
        values: label value of every pixel.
        images: number of the image of every pixel.
    """

    features: Float32[np.ndarray, "m d"]
    values: Int64[np.ndarray, " m"]
    images: Int64[np.ndarray, " m"]


def find_places(
    labels: Integer[np.ndarray, "*space"], ignore: int | None, *, most: int, seed: int
) -> Places:
    """The labeled pixels of an image, at most ``most`` per label value.

    Args:
        labels: label image.
        ignore: value of unlabeled pixels; None: all are labeled.
        most: pixels per label value; more are drawn at random.
        seed: of the draw.
    """
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    voxels, values = [np.zeros((0, labels.ndim), np.int64)], [np.zeros(0, np.int64)]
    for value in np.unique(labels):
        if value == ignore:
            continue
        found: Any = ndimage.label(labels == value, np.ones((3,) * labels.ndim))
        strokes, count = found
        index = np.flatnonzero(strokes)
        if len(index) > most:
            index = np.sort(index[rng.permutation(len(index))[:most]])
        # Strokes in random order, so that a part of all pixels is a part of all strokes.
        rank = rng.permutation(count + 1)[strokes.ravel()[index]]
        index = index[np.argsort(rank, kind="stable")]
        voxels.append(np.stack(np.unravel_index(index, labels.shape), axis=1))
        values.append(np.full(len(index), value, np.int64))
    return Places(np.concatenate(voxels), np.concatenate(values))


def features_at(
    compute: Callable[[Tensor], Tensor],
    read: Read,
    space: Sequence[int],
    voxels: Int64[np.ndarray, "m n"],
    *,
    tiling: Tiling,
) -> Float32[np.ndarray, "m d"]:
    """The features that a prediction with this tiling gives single voxels.

    Args:
        compute: ``(1, C, *window)`` to ``(1, D, *window)``.
        read: network input of a box inside the image.
        space: voxels of the image.
        voxels: their indices.
        tiling: of the prediction; only windows with a voxel are computed.
    """
    read = pad_reads(read, space, mode=tiling.pad)
    along = [np.array(starts) for starts in tiling.positions(space)]
    nearest = [
        np.abs(starts[:, None] + window / 2 - voxels[:, axis]).argmin(axis=0)
        for axis, (starts, window) in enumerate(zip(along, tiling.window, strict=True))
    ]
    result: np.ndarray | None = None
    for chosen in product(*(range(len(starts)) for starts in along)):
        inside = np.all([n == c for n, c in zip(nearest, chosen, strict=True)], axis=0)
        if not inside.any():
            continue
        corner = tuple(int(starts[c]) for starts, c in zip(along, chosen, strict=True))
        box = Box(corner, tuple(a + n for a, n in zip(corner, tiling.window, strict=True)))
        found = compute(torch.from_numpy(np.ascontiguousarray(read(box), np.float32))[None])[0]
        index = tuple(torch.from_numpy(column) for column in (voxels[inside] - corner).T)
        part = found[(slice(None), *index)].T.cpu().numpy()
        if result is None:
            result = np.zeros((len(voxels), part.shape[1]), np.float32)
        result[inside] = part
    return np.zeros((0, 0), np.float32) if result is None else result
