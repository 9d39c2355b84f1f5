"""Cells with stained cytoplasm: filled cells with darker nuclei."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Floats, Grid, Labels, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import debris, fluorescence, ghosts, per_object, ridges
from unmask.phantoms.painting import paint_cells, paint_ellipsoids
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import (
    fitting_diameter,
    lattice_seeds,
    log_uniform,
    near_grid,
    random_ellipsoids,
)


@dataclass(frozen=True)
class Cytoplasm(Isotropic):
    """Cells with stained cytoplasm and darker nuclei, alone or in sheets.

    Args:
        diameter: smallest and largest mean diameter.
        cells: smallest and largest share of the places in a sheet that hold a cell.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "cytoplasm", "nucleus")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (14.0, 90.0)
    cells: tuple[float, float] = (0.1, 1.0)

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        seeds = lattice_seeds(grid, diameter * rng.uniform(0.9, 1.25), rng, jitter=0.42, spread=0.2)
        warp = displacement(grid, 0.5 * diameter, rng.uniform(0.05, 0.14) * diameter, rng)
        warp += displacement(grid, 0.16 * diameter, rng.uniform(0, 0.02) * diameter, rng)
        wall, gap = paint_cells(grid, seeds, warp)
        held = rng.random(len(seeds.at)) < rng.uniform(*self.cells)
        held &= near_grid(grid, seeds.centers, diameter)
        at = seeds.centers[held]
        radius = diameter / 2 * rng.uniform(0.9, 1.25) * np.exp(0.1 * rng.standard_normal(len(at)))
        bodies = random_ellipsoids(at, radius, rng, elongation=log_uniform(rng, 1.1, 1.8))
        near = paint_ellipsoids(grid, bodies, warp)
        numbers = np.append(0, seeds.group[held])
        filled = (wall == numbers[near.owner]) & (near.owner > 0)
        labels = solid(np.where(filled, wall, 0).astype(np.int32))
        classes = (labels > 0).astype(np.uint8)
        nuclei = _nuclei(grid, labels, at, diameter, rng)
        classes[nuclei] = 2
        light = _light(
            grid, labels, nuclei, np.minimum(gap, 0.3 * diameter) / diameter, diameter, rng
        )
        image = fluorescence(grid, light, diameter, rng)
        return Phantom(image[None], labels, classes, grid.spacing)


def _nuclei(
    grid: Grid, labels: Labels, at: NDArray[np.float64], diameter: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """One nucleus near the middle of each cell, cut off at the outline of the cell."""
    radius = 0.5 * diameter * rng.uniform(0.35, 0.55) * np.exp(0.1 * rng.standard_normal(len(at)))
    place = at + 0.1 * diameter * rng.standard_normal(at.shape)
    return (paint_ellipsoids(grid, random_ellipsoids(place, radius, rng)).owner > 0) & (labels > 0)


def _light(
    grid: Grid,
    labels: Labels,
    nuclei: NDArray[np.bool_],
    gap: Floats,
    diameter: float,
    rng: np.random.Generator,
) -> Floats:
    """Light of cells: level, grain, network, thickness; darker or brighter nuclei."""
    level = per_object(labels, rng.uniform(0.15, 0.6), rng)
    grain = field(grid, max(1.0, diameter * rng.uniform(0.03, 0.1)), rng)
    network = ridges(grid, diameter * rng.uniform(0.06, 0.2), 0.4, rng)
    texture = np.clip(1 + rng.uniform(0, 0.4) * grain, 0.1, None) + rng.uniform(0, 0.8) * network
    thickness = 1 - rng.uniform(0, 0.7) * np.exp(-10 * gap)
    factor = rng.uniform(1.1, 1.8) if rng.random() < 0.15 else rng.uniform(0.15, 0.85)
    light = level * texture * thickness * np.where(nuclei, np.float32(factor), np.float32(1))
    light = light + log_uniform(rng, 0.02, 0.3) * ghosts(grid, diameter, 0.1, rng)
    return np.asarray(light + 0.5 * debris(grid, 0.5 * diameter, rng), np.float32)
