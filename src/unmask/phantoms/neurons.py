"""Cell bodies of neurons among their processes, in fluorescence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unmask.phantoms.bodies import Floats, Grid, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import blur, fluorescence, ghosts, per_object
from unmask.phantoms.painting import Tubes, paint_ellipsoids, paint_tubes
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import (
    bent_paths,
    count_for,
    fitting_diameter,
    log_uniform,
    random_ellipsoids,
    scatter,
)


@dataclass(frozen=True)
class Neurons(Isotropic):
    """Fluorescent bodies of neurons among thin processes.

    The truth holds the bodies; processes and bodies out of focus are background.

    Args:
        diameter: smallest and largest mean diameter of the bodies.
        density: smallest and largest share of the space that bodies cover.
        count: number of bodies instead of a density.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "cell body")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (9.0, 60.0)
    density: tuple[float, float] = (0.01, 0.35)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        count = self.count
        if count is None:
            count = count_for(grid, diameter, log_uniform(rng, *self.density))
        radius = diameter / 2 * np.exp(0.22 * rng.standard_normal(count))
        at = scatter(grid, radius, rng, clustering=rng.uniform(0.2, 0.95), nearest=0.8)
        bodies = random_ellipsoids(at, radius[: len(at)], rng, elongation=log_uniform(rng, 1.2, 2))
        bend = displacement(grid, 0.5 * diameter, rng.uniform(0.05, 0.13) * diameter, rng)
        painted = paint_ellipsoids(grid, bodies, bend)
        labels = solid(painted.owner)
        hollow = rng.uniform(0, 0.7) * per_object(labels, 0.5, rng)
        core = np.clip(
            1 - hollow * np.exp(-((painted.depth / rng.uniform(0.35, 0.6)) ** 2)), 0.1, 1
        )
        grain = np.clip(1 + rng.uniform(0.05, 0.5) * field(grid, 0.12 * diameter, rng), 0.1, None)
        light = (labels > 0) * per_object(labels, rng.uniform(0.2, 0.7), rng) * core * grain
        light += _processes(grid, diameter, rng)
        soft = log_uniform(rng, 0.05, 0.6) * ghosts(grid, diameter, rng.uniform(0, 0.2), rng)
        image = fluorescence(grid, np.asarray(light + soft, np.float32), diameter, rng)
        return Phantom(image[None], labels, (labels > 0).astype(np.uint8), grid.spacing)


def _processes(grid: Grid, diameter: float, rng: np.random.Generator) -> Floats:
    """Thin bent lines with beads, sharp or out of focus."""
    n = len(grid.shape)
    count = int(rng.poisson(log_uniform(rng, 0.5, 25)))
    middle = rng.uniform(0, 1, (count, n)) * grid.extent
    length = diameter * np.exp(rng.uniform(0.5, 2.0, count))
    paths = bent_paths(middle, length, rng.uniform(0.3, 3, count), rng, points=14, flat=0.5)
    width = max(0.7, 0.04 * diameter) * np.exp(0.3 * rng.standard_normal((count, 1)))
    beads = np.exp(0.3 * rng.standard_normal((count, 14)))
    painted = paint_tubes(grid, Tubes(paths, width * beads, np.arange(1, count + 1)))
    level = np.append(0, np.exp(rng.normal(-1.2, 0.6, count))).astype(np.float32)
    lines = level[painted.owner]
    return lines if rng.random() < 0.5 else blur(grid, lines, 0.1 * diameter)
