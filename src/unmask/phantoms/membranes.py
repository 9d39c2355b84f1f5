"""Cells with stained membranes: a tessellation with thin bright walls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unmask.phantoms.bodies import Grid, separate
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import blur, debris, fluorescence, per_object
from unmask.phantoms.painting import paint_cells
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import fitting_diameter, lattice_seeds, log_uniform, value_at


@dataclass(frozen=True)
class Membranes(Isotropic):
    """Cells with stained membranes, as in epithelia and plant tissue.

    A label ends in the middle of the wall.

    Args:
        diameter: smallest and largest mean distance of walls.
        tissue: smallest and largest share of the space that cells fill; 0 gives no cells.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "cell")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (10.0, 80.0)
    tissue: tuple[float, float] = (0.4, 1.3)

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        stretch = np.exp(rng.uniform(0, 0.4) * rng.standard_normal(len(grid.shape)))
        seeds = lattice_seeds(
            grid, diameter, rng, jitter=rng.uniform(0.15, 0.42), spread=rng.uniform(0, 0.25),
            stretch=stretch / np.prod(stretch) ** (1 / len(stretch)),
        )  # fmt: skip
        warp = displacement(grid, 1.2 * diameter, rng.uniform(0.02, 0.16) * diameter, rng)
        owner, gap = paint_cells(grid, seeds, warp)
        share = rng.uniform(*self.tissue)
        region = field(grid, 3 * diameter, rng)
        chosen = value_at(grid, region, seeds.centers) >= np.quantile(region, max(0, 1 - share))
        filled = np.append(False, chosen)
        labels = separate(np.where(filled[owner] & (share > 0), owner, 0).astype(np.int32))
        width = rng.uniform(0.5, max(0.8, 0.04 * diameter))
        wall = np.exp(-((gap / np.float32(width)) ** 2))
        # The outer wall of the tissue lies between a cell and no cell, so both sides show it.
        near = blur(grid, (labels > 0).astype(np.float32), width) > 0.05
        uneven = np.clip(1 + rng.uniform(0, 0.5) * field(grid, 0.5 * diameter, rng), 0.1, None)
        inside = rng.uniform(0, 0.35) * per_object(labels, rng.uniform(0.1, 0.6), rng)
        grain = np.clip(1 + 0.3 * field(grid, max(1.0, 0.1 * diameter), rng), 0, None)
        light = wall * uneven * near + inside * grain + 0.6 * debris(grid, 0.5 * diameter, rng)
        image = fluorescence(grid, light, diameter, rng, axial=log_uniform(rng, 1, 3))
        return Phantom(image[None], labels, (labels > 0).astype(np.uint8), grid.spacing)
