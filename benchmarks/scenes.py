"""Affinities of made-up tissue: cells with curved borders, blurred, noisy, with erased borders.

Cells are the Voronoi cells of random points, looked up at coordinates that smooth noise has moved.
*thin*: borders are lines between voxels, as between leaves. *membrane*: every voxel whose 3 x 3
neighborhood in the plane holds two cells is background, as in electron microscopy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter
from scipy.spatial import cKDTree

from unmask.labels.edges import Offsets, shift_slices

PLANE = tuple(offset for far in (1, 3, 5, 9, 27) for offset in ((-far, 0), (0, -far)))
VOLUME = tuple(
    tuple(-step * (axis == other) for other in range(3))
    for steps in ((1, 1, 1), (2, 3, 3), (3, 9, 9), (4, 27, 27))
    for axis, step in enumerate(steps)
)


@dataclass(frozen=True)
class Decay:
    """How far affinities are from perfect: blur in voxels, noise, share of erased borders."""

    blur: float
    noise: float
    erased: float


DECAYS = {"mid": Decay(0.7, 0.10, 0.02), "hard": Decay(1.0, 0.18, 0.05)}


def cells(
    space: Sequence[int], count: int, *, stretch: float = 1.0, seed: int = 0
) -> NDArray[np.int32]:
    """Label image of ``count`` cells; distances along the slowest axis weigh ``stretch`` times."""
    random = np.random.default_rng(seed)
    weight = np.ones(len(space))
    weight[0] = stretch
    points = random.random((count, len(space))) * space * weight
    grid = np.moveaxis(np.indices(tuple(space)), 0, -1).astype(float)
    for axis in range(len(space)):
        move = gaussian_filter(random.standard_normal(tuple(space)), 6)
        grid[..., axis] += 3 * move / move.std()
    _, owner = cKDTree(points).query(grid.reshape(-1, len(space)) * weight)
    return (owner + 1).reshape(tuple(space)).astype(np.int32)


def widened(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Cells with membranes."""
    window = (1,) * (labels.ndim - 2) + (3, 3)
    return np.where(maximum_filter(labels, window) != minimum_filter(labels, window), 0, labels)


def affinities(
    labels: NDArray[np.int32], offsets: Offsets, decay: Decay, *, seed: int = 1
) -> NDArray[np.float32]:
    """Degraded affinities ``(k, *space)`` of a label image."""
    random = np.random.default_rng(seed)
    flat = (0,) * (labels.ndim - 2)
    spots = gaussian_filter(random.standard_normal(labels.shape), (*(1 for _ in flat), 2, 2))
    spots = spots > np.quantile(spots, 1 - decay.erased)
    sigma = (*flat, decay.blur, decay.blur)
    values = np.zeros((len(offsets), *labels.shape), np.float32)
    for number, offset in enumerate(offsets):
        here, there = shift_slices(labels.shape, offset)
        channel = np.asarray(values[number])
        channel[here] = (labels[here] == labels[there]) & (labels[here] > 0)
        noise = gaussian_filter(random.standard_normal(labels.shape), sigma)
        channel[...] = gaussian_filter(channel, sigma) + decay.noise * noise / noise.std()
        channel[spots] = np.maximum(channel[spots], 0.7)
    return values.clip(0, 1)
