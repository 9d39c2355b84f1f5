"""Crowded nuclei with uneven chromatin, as in tissue and in the germline of worms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unmask.phantoms.bodies import Floats, Grid, Labels, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import blur, debris, fluorescence, ghosts, per_object, ridges
from unmask.phantoms.painting import Painted, paint_ellipsoids
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import (
    fitting_diameter,
    lattice_seeds,
    log_uniform,
    near_grid,
    random_ellipsoids,
    value_at,
)


@dataclass(frozen=True)
class CrowdedNuclei(Isotropic):
    """Crowded fluorescent nuclei with uneven chromatin, as in tissue and germline.

    Args:
        diameter: smallest and largest mean diameter.
        tissue: smallest and largest share of the space that is tissue; 0 gives no nuclei.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "nucleus")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (10.0, 90.0)
    tissue: tuple[float, float] = (0.25, 1.0)

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        region = field(grid, rng.uniform(2, 6) * diameter, rng)
        seeds = lattice_seeds(grid, diameter * rng.uniform(0.92, 1.35), rng, jitter=0.33)
        inside = seeds.centers[near_grid(grid, seeds.centers, 0.4 * diameter)]
        share = rng.uniform(*self.tissue)
        inside = inside[value_at(grid, region, inside) >= np.quantile(region, max(0, 1 - share))]
        inside = inside[: None if share > 0 else 0]
        radius = diameter / 2 * np.exp(rng.uniform(0.03, 0.15) * rng.standard_normal(len(inside)))
        bodies = random_ellipsoids(inside, radius, rng, elongation=log_uniform(rng, 1.05, 1.4))
        bend = displacement(grid, 0.7 * diameter, rng.uniform(0.02, 0.07) * diameter, rng)
        painted = paint_ellipsoids(grid, bodies, bend)
        labels = solid(painted.owner)
        light = uneven_chromatin(grid, labels, painted, diameter, rng)
        light = self._out_of_focus(grid, light, labels, diameter, rng)
        image = fluorescence(grid, light, min(diameter, 20), rng)
        return Phantom(image[None], labels, (labels > 0).astype(np.uint8), grid.spacing)

    def _out_of_focus(
        self,
        grid: Grid,
        light: Floats,
        labels: Labels,
        diameter: float,
        rng: np.random.Generator,
    ) -> Floats:
        """Some nuclei lie off the focal plane, and others, not in the truth, glow below."""
        off = per_object(labels, 1.0, rng) < rng.uniform(0.1, 0.6)
        soft = blur(grid, light, diameter * rng.uniform(0.05, 0.15))
        mixed = np.where(off & (labels > 0), rng.uniform(0.5, 1) * soft, light)
        mixed += log_uniform(rng, 0.03, 0.3) * ghosts(grid, diameter, 0.3, rng)
        return mixed + np.float32(rng.random() < 0.3) * debris(grid, diameter, rng)


def uneven_chromatin(
    grid: Grid, labels: Labels, painted: Painted, diameter: float, rng: np.random.Generator
) -> Floats:
    """Threads, clumps or grain, more or less of it near the surface of the nucleus."""
    inside = labels > 0
    weights = rng.dirichlet((0.6, 0.6, 0.6))
    threads = ridges(grid, diameter * rng.uniform(0.13, 0.28), rng.uniform(0.25, 0.5), rng)
    clumps = np.clip(field(grid, diameter * rng.uniform(0.1, 0.22), rng), 0, 2)
    grain = np.clip(1 + 0.3 * field(grid, max(1.0, 0.06 * diameter), rng), 0, None)
    texture = weights[0] * 1.4 * threads + weights[1] * 1.1 * clumps + weights[2] * grain
    rim = np.exp(-(((painted.depth - rng.uniform(0.6, 0.85)) / rng.uniform(0.15, 0.4)) ** 2))
    share = rng.uniform(0, 1)
    shell = (1 - share) + share * 1.3 * rim
    edge = np.clip(6 * (1.02 - painted.depth), 0, 1)
    level = per_object(labels, rng.uniform(0.1, 0.5), rng)
    floor = np.float32(log_uniform(rng, 0.02, 0.35))
    return np.asarray(inside * level * edge * (floor + shell * texture), np.float32)
