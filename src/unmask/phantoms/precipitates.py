"""Precipitates in alloys, as in scanning electron micrographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Floats, Grid, Labels, separate, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import blur, electron_noise, per_object, specks
from unmask.phantoms.painting import Tubes, paint_cells, paint_ellipsoids, paint_tubes
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import (
    bent_paths,
    fitting_diameter,
    lattice_seeds,
    log_uniform,
    merge_seeds,
    random_ellipsoids,
)


@dataclass(frozen=True)
class Precipitates(Isotropic):
    """Large particles and clouds of small ones in an alloy (scanning electron microscopy).

    Args:
        diameter: smallest and largest mean diameter of the large particles.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "large particle", "small particle")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (14.0, 90.0)

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        large, free = _large(grid, diameter, rng)
        small = _small(grid, free, diameter, rng)
        owner = large.astype(np.int32)
        owner[small > 0] = small[small > 0] + int(large.max(initial=0))
        is_small = np.append(
            False, np.arange(1, int(owner.max(initial=0)) + 1) > large.max(initial=0)
        )
        labels = solid(owner, 4)
        classes = (labels > 0).astype(np.uint8) + (is_small[owner] & (labels > 0))
        image = electron_noise(grid, _gray(grid, labels, classes, diameter, rng), rng, noise=0.04)
        return Phantom(image[None], labels, classes, grid.spacing)


def _large(
    grid: Grid, diameter: float, rng: np.random.Generator
) -> tuple[Labels, NDArray[np.bool_]]:
    """Large particles, and the matrix far from them."""
    seeds = lattice_seeds(grid, diameter, rng, jitter=0.42, spread=rng.uniform(0.1, 0.4))
    seeds = merge_seeds(grid, seeds, rng.uniform(0, 0.6), rng)
    warp = displacement(grid, 0.5 * diameter, rng.uniform(0.02, 0.1) * diameter, rng)
    warp += displacement(grid, 0.2 * diameter, rng.uniform(0, 0.03) * diameter, rng)
    owner, gap = paint_cells(grid, seeds, warp)
    kept = rng.random(int(seeds.group.max()) + 1) < rng.uniform(0.4, 1.0)
    margin = (
        diameter * rng.uniform(0.04, 0.16) * np.clip(1 + 0.4 * field(grid, diameter, rng), 0.3, 2)
    )
    inside = (gap > margin) & kept[owner]
    if rng.random() < 0.85:
        # Round the corners: a blurred mask cut at its middle value.
        soft = blur(grid, inside.astype(np.float32), diameter * rng.uniform(0.04, 0.12))
        inside = (soft > 0.5) & kept[owner] & (gap > 0.5)
    labels = separate(np.where(inside, owner, 0).astype(np.int32), 30)
    near = blur(grid, (labels > 0).astype(np.float32), 0.05 * diameter) > 0.02
    return labels, ~near


def _small(
    grid: Grid, free: NDArray[np.bool_], diameter: float, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Small round particles in clouds, only where the matrix is free."""
    size = max(2.5, diameter * rng.uniform(0.06, 0.2))
    n = len(grid.shape)
    count = log_uniform(rng, 0.02, 0.35) * grid.volume / (1.5 * size) ** n
    count = int(min(count, 2500)) if rng.random() < 0.75 else 0
    at = rng.uniform(0, 1, (count, n)) * grid.extent
    radius = size / 2 * np.exp(0.25 * rng.standard_normal(count))
    painted = paint_ellipsoids(grid, random_ellipsoids(at, radius, rng, elongation=1.15))
    index = np.clip((at / grid.spacing).astype(int), 0, np.array(grid.shape) - 1)
    cloud = field(grid, 2 * diameter, rng)[tuple(index.T)] > rng.uniform(-1.5, 0.5)
    held = np.append(False, free[tuple(index.T)] & cloud)
    return np.where(held[painted.owner] & free, painted.owner, 0).astype(np.int32)


def _gray(
    grid: Grid,
    labels: Labels,
    classes: NDArray[np.uint8],
    diameter: float,
    rng: np.random.Generator,
) -> Floats:
    """Gray values: matrix, particles, bright seams, scratches, dirt."""
    contrast = log_uniform(rng, 0.06, 0.45) * (-1 if rng.random() < 0.75 else 1)
    level = contrast * per_object(labels, rng.uniform(0.02, 0.25), rng)
    level = level * np.where(classes == 2, np.float32(rng.uniform(0.5, 1.1)), np.float32(1))
    gray = rng.uniform(0.4, 0.7) + level
    inside = (labels > 0).astype(np.float32)
    edge = blur(grid, inside, rng.uniform(0.8, 2.5))
    seam = np.clip(4 * edge * (1 - edge), 0, 1)
    gray += rng.uniform(0, 0.15) * seam - 0.5 * rng.uniform(0, 0.15) * seam * inside
    gray += rng.uniform(0, 0.04) * field(grid, 0.5 * diameter, rng)
    gray += rng.uniform(0, 0.03) * field(grid, 2.5, rng)
    n, count = len(grid.shape), int(rng.poisson(2.0))
    middle = rng.uniform(0, 1, (count, n)) * grid.extent
    long = np.full(count, float(grid.extent.max()) * rng.uniform(0.2, 1.5))
    lines = bent_paths(middle, long, np.full(count, 0.1), rng, points=4)
    thin = np.full((count, 4), 0.8)
    scratch = paint_tubes(grid, Tubes(lines, thin, np.arange(1, count + 1))).owner > 0
    gray += rng.uniform(-0.15, 0.15) * scratch
    dirt, _ = specks(grid, int(rng.poisson(1.5)), (2, max(3.0, 0.3 * diameter)), rng)
    return np.asarray(gray + rng.uniform(-0.35, 0.35) * dirt, np.float32)
