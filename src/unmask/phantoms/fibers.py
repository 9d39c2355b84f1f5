"""Thin fibers and filaments that cross, bright on dark or dark on bright."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unmask.phantoms.bodies import Grid
from unmask.phantoms.fields import field
from unmask.phantoms.optics import debris, fluorescence, per_object
from unmask.phantoms.painting import Tubes, paint_tubes
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import bent_paths, fitting_diameter, log_uniform
from unmask.phantoms.stacking import number_stacked


@dataclass(frozen=True)
class Fibers(Isotropic):
    """Thin fibers that cross.

    The higher label lies on top; ``Phantom.crossings`` names the pairs.

    Args:
        diameter: smallest and largest width.
        count: number of fibers instead of a random number.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "fiber")
    pieces: ClassVar[bool] = True

    diameter: tuple[float, float] = (2.0, 14.0)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        width = fitting_diameter(grid, self.diameter, rng)
        n = len(grid.shape)
        length = float(grid.extent.max()) * rng.uniform(0.4, 1.6)
        count = self.count
        if count is None:
            share = log_uniform(rng, 0.05, 0.5)
            count = share * float(np.prod(grid.extent)) / (0.75 * length * width ** (n - 1))
            count = min(150, max(1, round(count)))
        lengths = length * np.exp(0.3 * rng.standard_normal(count))
        bend = np.abs(rng.uniform(0.02, 2.0) * rng.standard_normal(count))
        middle = rng.uniform(-0.1, 1.1, (count, n)) * grid.extent
        paths = bent_paths(middle, lengths, bend, rng, points=16, flat=0.5)
        if rng.random() < 0.3:
            # Fibers of a bundle or weave share one or two directions.
            paths = middle[:, None] + (paths - middle[:, None]) * rng.uniform(0.1, 1, n)
        radius = width / 2 * np.exp(rng.uniform(0, 0.35) * rng.standard_normal((count, 1)))
        tubes = Tubes(paths, np.repeat(np.maximum(radius, 0.75), 16, 1), np.arange(1, count + 1))
        painted = paint_tubes(grid, tubes)
        labels, crossings = number_stacked(painted)
        round_light = np.clip(1 - np.clip(painted.depth, 0, 1) ** 2, 0.02, 1)
        profile = round_light ** np.float32(rng.uniform(0.1, 0.8))
        grain = np.clip(1 + rng.uniform(0, 0.4) * field(grid, 1.5 * width, rng), 0, None)
        light = (labels > 0) * per_object(labels, rng.uniform(0.05, 0.5), rng) * profile * grain
        light = np.asarray(light + 0.5 * debris(grid, 2 * width, rng), np.float32)
        image = fluorescence(grid, light, 2 * width, rng)
        if rng.random() < 0.3:
            image = 255 - image
        classes = (labels > 0).astype(np.uint8)
        return Phantom(image[None], labels, classes, grid.spacing, crossings)
