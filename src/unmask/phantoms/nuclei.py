"""Fluorescent nuclei: from sparse to touching, of any size, with dirt and nuclei out of focus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unmask.phantoms.bodies import Floats, Grid, Labels, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import debris, fluorescence, ghosts, per_object
from unmask.phantoms.painting import Painted, paint_ellipsoids
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import (
    count_for,
    fitting_diameter,
    log_uniform,
    random_ellipsoids,
    scatter,
)


@dataclass(frozen=True)
class Nuclei(Isotropic):
    """Fluorescent nuclei: sparse to touching, with dirt and nuclei out of focus.

    Args:
        diameter: smallest and largest mean diameter.
        density: smallest and largest share of the space that nuclei cover.
        count: number of nuclei instead of a density; fewer are drawn if there is no room.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "nucleus")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (6.0, 64.0)
    density: tuple[float, float] = (0.02, 0.5)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        count = self.count
        if count is None:
            count = count_for(grid, diameter, log_uniform(rng, *self.density))
        labels, painted = paint_nuclei(grid, diameter, count, rng)
        light = chromatin(grid, labels, painted, diameter, rng)
        light = light + debris(grid, diameter, rng) * np.float32(rng.random() < 0.5)
        if rng.random() < 0.5:
            light += log_uniform(rng, 0.05, 0.4) * ghosts(grid, diameter, 0.1, rng)
        image = fluorescence(grid, light, diameter, rng)
        return Phantom(image[None], labels, (labels > 0).astype(np.uint8), grid.spacing)


def paint_nuclei(
    grid: Grid, diameter: float, count: int, rng: np.random.Generator
) -> tuple[Labels, Painted]:
    """Bent ellipsoids, free or in clusters: labels, and where in its nucleus each voxel lies."""
    radius = diameter / 2 * np.exp(rng.uniform(0.05, 0.22) * rng.standard_normal(count))
    center = scatter(grid, radius, rng, clustering=rng.uniform(0, 0.9))
    elongation = log_uniform(rng, 1.1, 1.7)
    bodies = random_ellipsoids(center, radius[: len(center)], rng, elongation=elongation)
    bend = diameter * rng.uniform(0.02, 0.09)
    painted = paint_ellipsoids(grid, bodies, displacement(grid, 0.6 * diameter, bend, rng))
    return solid(painted.owner), painted


def chromatin(
    grid: Grid, labels: Labels, painted: Painted, diameter: float, rng: np.random.Generator
) -> Floats:
    """Light of nuclei: level, thickness, grain, nucleoli, and a few condensed ones."""
    level = per_object(labels, rng.uniform(0.1, 0.7), rng)
    condensed = per_object(labels, 0.0, rng)
    number = int(labels.max(initial=0)) + 1
    bright = np.where(rng.random(number) < rng.uniform(0, 0.08), 3.0, 1.0).astype(np.float32)
    coarse = field(grid, max(1.2, 0.2 * diameter), rng)
    fine = field(grid, max(1.0, 0.07 * diameter), rng)
    strength = np.float32(rng.uniform(0.03, 0.45))
    texture = np.clip(1 + strength * (0.6 * fine + 0.5 * coarse), 0.1, None)
    nucleoli = 1 - np.float32(rng.uniform(0, 0.5)) / (1 + np.exp(8 * (1.5 - coarse)))
    thickness = np.clip(1 - painted.depth**2, 0.02, 1) ** np.float32(rng.uniform(0.1, 0.6))
    return level * condensed * bright[labels] * texture * nucleoli * thickness
