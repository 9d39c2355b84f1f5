"""Polycrystals: grains that fill the space, with thin boundaries and twins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unmask.phantoms.bodies import Grid, separate
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import electron_noise, specks
from unmask.phantoms.painting import paint_cells
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import fitting_diameter, lattice_seeds, log_uniform, orthonormal


@dataclass(frozen=True)
class Grains(Isotropic):
    """Grains of a polycrystal that differ in gray value, have boundaries, or both.

    Args:
        diameter: smallest and largest mean diameter.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "grain")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (12.0, 90.0)

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        n = len(grid.shape)
        stretch = np.exp(rng.uniform(0, 0.35) * rng.standard_normal(n))
        seeds = lattice_seeds(
            grid, diameter, rng, jitter=rng.uniform(0.3, 0.48), spread=rng.uniform(0, 0.4),
            stretch=stretch / np.prod(stretch) ** (1 / n),
        )  # fmt: skip
        warp = displacement(grid, 0.6 * diameter, rng.uniform(0, 0.05) * diameter, rng)
        owner, gap = paint_cells(grid, seeds, warp)
        labels = separate(owner, 1)
        number = int(labels.max(initial=0)) + 1
        contrast = log_uniform(rng, 0.02, 0.25)
        level = (rng.uniform(0.35, 0.65) + contrast * rng.standard_normal(number)).astype(
            np.float32
        )
        gray = level[labels]
        if rng.random() < 0.4:
            gray += contrast * self._twins(grid, labels, number, diameter, rng)
        width = log_uniform(rng, 0.5, 1.6)
        sign = -1 if rng.random() < 0.65 else 1
        # Grains that hardly differ in gray need a boundary to be seen.
        depth = rng.uniform(0.12, 0.5) if contrast < 0.08 else rng.uniform(0, 0.4)
        gray += sign * depth * np.exp(-((gap / np.float32(width)) ** 2))
        gray += rng.uniform(0, 0.05) * field(grid, max(1.5, 0.1 * diameter), rng)
        dirt, _ = specks(grid, int(rng.poisson(log_uniform(rng, 0.5, 40))), (1.5, 5), rng)
        gray += rng.uniform(-0.4, 0.2) * dirt
        image = electron_noise(grid, np.asarray(gray, np.float32), rng, noise=0.07)
        return Phantom(image[None], labels, (labels > 0).astype(np.uint8), grid.spacing)

    def _twins(
        self,
        grid: Grid,
        labels: np.ndarray,
        number: int,
        diameter: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Straight bands across some grains, -1 or 1; they belong to their grain."""
        n = len(grid.shape)
        direction = orthonormal(number, n, rng)[:, 0] * 2 * np.pi
        direction /= diameter * rng.uniform(0.3, 1.5, (number, 1))
        twinned = rng.random(number) < rng.uniform(0.1, 0.6)
        phase = rng.uniform(0, 2 * np.pi, number).astype(np.float32)[labels]
        for axis, (size, step) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
            at = (np.arange(size) * step).astype(np.float32).reshape(-1, *(1,) * (n - axis - 1))
            phase += direction[:, axis].astype(np.float32)[labels] * at
        return twinned[labels] * np.where(np.sin(phase) > rng.uniform(0, 0.8), 1.0, 0.0)
