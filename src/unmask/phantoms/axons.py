"""Myelinated axons in cross section, as in electron microscopy of nerves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unmask.phantoms.bodies import Grid, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import electron_noise, per_object
from unmask.phantoms.painting import paint_ellipsoids
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import (
    count_for,
    fitting_diameter,
    log_uniform,
    random_ellipsoids,
    scatter,
)


@dataclass(frozen=True)
class Axons(Isotropic):
    """Myelinated axons in electron microscopy; labels are axons without their sheath.

    Args:
        diameter: smallest and largest mean outer diameter.
        density: smallest and largest share of the space that fibers cover.
        count: number of fibers instead of a density.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "axon", "myelin")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (9.0, 70.0)
    density: tuple[float, float] = (0.15, 0.9)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        count = self.count
        if count is None:
            count = count_for(grid, diameter, log_uniform(rng, *self.density))
        radius = diameter / 2 * np.exp(rng.uniform(0.15, 0.5) * rng.standard_normal(count))
        # Large ones first: small fibers fill what is left between them.
        radius = np.sort(np.clip(radius, 0.4 * diameter / 2, 2 * diameter / 2))[::-1].copy()
        at = scatter(grid, radius, rng, clustering=rng.uniform(0.3, 0.9), nearest=0.85)
        bodies = random_ellipsoids(
            at, radius[: len(at)], rng, elongation=log_uniform(rng, 1.05, 1.5)
        )
        bend = displacement(grid, 0.5 * diameter, rng.uniform(0.03, 0.1) * diameter, rng)
        painted = paint_ellipsoids(grid, bodies, bend)
        fibers = solid(painted.owner)
        # The g-ratio: inner by outer diameter.
        ratio = rng.uniform(0.5, 0.8) * per_object(fibers, 0.08, rng, background=1.0)
        ratio += rng.uniform(0, 0.06) * field(grid, 0.4 * diameter, rng)
        inside = (fibers > 0) & (painted.depth < np.clip(ratio, 0.3, 0.92))
        labels = solid(np.where(inside, fibers, 0).astype(np.int32))
        classes = np.where(labels > 0, 1, np.where(fibers > 0, 2, 0)).astype(np.uint8)
        image = electron_noise(grid, self._gray(grid, classes, fibers, diameter, rng), rng)
        return Phantom(image[None], labels, classes, grid.spacing)

    def _gray(
        self,
        grid: Grid,
        classes: np.ndarray,
        fibers: np.ndarray,
        diameter: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Gray values of axon, myelin and what lies between; bright or dark myelin."""
        between, axon = rng.uniform(0.05, 0.45), rng.uniform(0.05, 0.4)
        myelin = rng.uniform(0.6, 0.95)
        levels = np.array([between, axon, myelin], np.float32)
        if rng.random() < 0.25:
            levels = 1 - levels
        gray = levels[classes] * per_object(fibers, rng.uniform(0, 0.12), rng, background=1.0)
        gray += rng.uniform(0.01, 0.08) * field(grid, max(1.2, 0.08 * diameter), rng)
        rough = field(grid, max(1.2, 0.15 * diameter), rng)
        return np.asarray(gray + rng.uniform(0, 0.12) * rough * (classes == 0), np.float32)
