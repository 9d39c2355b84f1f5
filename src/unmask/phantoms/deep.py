"""Nuclei in thick samples: a long axial point spread and light that is lost with depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unmask.phantoms.bodies import Floats, Grid, solid
from unmask.phantoms.crowded import uneven_chromatin
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.nuclei import chromatin
from unmask.phantoms.optics import blur, expose, photons
from unmask.phantoms.painting import paint_ellipsoids
from unmask.phantoms.phantom import Phantom, Stack
from unmask.phantoms.placing import (
    count_for,
    fitting_diameter,
    log_uniform,
    random_ellipsoids,
    scatter,
)


@dataclass(frozen=True)
class DeepNuclei(Stack):
    """Fluorescent nuclei in thick samples: axial blur, and light that is lost with depth.

    The first axis is depth.

    Args:
        thickness: smallest and largest distance of sections, in pixels.
        diameter: smallest and largest mean diameter.
        density: smallest and largest share of the space that nuclei cover.
        count: number of nuclei instead of a density.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "nucleus")
    pieces: ClassVar[bool] = False

    thickness: tuple[float, float] = (1.0, 4.0)
    diameter: tuple[float, float] = (9.0, 40.0)
    density: tuple[float, float] = (0.05, 0.6)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        count = self.count
        if count is None:
            count = count_for(grid, diameter, log_uniform(rng, *self.density))
        radius = diameter / 2 * np.exp(rng.uniform(0.05, 0.2) * rng.standard_normal(count))
        center = scatter(grid, radius, rng, clustering=rng.uniform(0.2, 0.95), nearest=0.8)
        bodies = random_ellipsoids(
            center, radius[: len(center)], rng, elongation=log_uniform(rng, 1.05, 1.5)
        )
        bend = displacement(grid, 0.7 * diameter, rng.uniform(0.02, 0.07) * diameter, rng)
        painted = paint_ellipsoids(grid, bodies, bend)
        labels = solid(painted.owner)
        texture = uneven_chromatin if rng.random() < 0.3 else chromatin
        light = texture(grid, labels, painted, diameter, rng)
        image = light_sheet(grid, light, diameter, rng)
        return Phantom(image[None], labels, (labels > 0).astype(np.uint8), grid.spacing)


def light_sheet(grid: Grid, light: Floats, diameter: float, rng: np.random.Generator) -> np.ndarray:
    """8-bit stack of a glowing volume: axial blur, haze, loss with depth, noise."""
    sigma = log_uniform(rng, 0.4, max(0.5, 0.08 * diameter))
    sharp = blur(grid, light, sigma, axial=log_uniform(rng, 1, 4))
    haze = blur(grid, light, 0.7 * diameter, axial=2)
    scene = sharp + log_uniform(rng, 0.02, 0.4) * haze
    depth = (
        np.linspace(0, 1, grid.shape[0]) if rng.random() < 0.5 else np.linspace(1, 0, grid.shape[0])
    )
    loss = np.exp(-log_uniform(rng, 0.05, 2.0) * depth).astype(np.float32)
    patches = 1 + np.float32(rng.uniform(0, 0.25)) * field(grid, 3 * diameter, rng)
    scene *= loss.reshape(-1, *(1,) * (light.ndim - 1)) * np.clip(patches, 0.2, None)
    scene += np.float32(log_uniform(rng, 0.005, 0.3))
    noisy = photons(scene, log_uniform(rng, 3, 500), rng.uniform(0.3, 2), rng)
    return expose(noisy, float(np.quantile(scene[..., ::4], 0.997)), rng, low=0.25)
