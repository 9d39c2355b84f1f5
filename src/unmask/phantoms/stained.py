"""Stained tissue in transmitted light: two dyes that absorb, on a bright slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Floats, Grid, Labels, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import blur, eight_bit, ghosts, lamp, per_object, specks
from unmask.phantoms.painting import Painted, paint_ellipsoids
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import (
    count_for,
    fitting_diameter,
    log_uniform,
    random_ellipsoids,
    scatter,
)

# Absorbance of hematoxylin and eosin in red, green and blue (Ruifrok & Johnston 2001).
_NUCLEAR = np.array([0.65, 0.70, 0.29])
_COUNTER = np.array([0.10, 0.95, 0.28])


@dataclass(frozen=True)
class StainedTissue(Isotropic):
    """Stained tissue on a bright slide, in color: nuclei in one dye, the rest in another.

    Args:
        diameter: smallest and largest mean diameter.
        density: smallest and largest share of the space that nuclei cover.
        count: number of nuclei instead of a density.
    """

    channels: ClassVar[int] = 3
    classes: ClassVar[tuple[str, ...]] = ("background", "nucleus")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (7.0, 64.0)
    density: tuple[float, float] = (0.04, 0.5)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        count = self.count
        if count is None:
            count = count_for(grid, diameter, log_uniform(rng, *self.density))
        radius = diameter / 2 * np.exp(rng.uniform(0.08, 0.28) * rng.standard_normal(count))
        center = scatter(grid, radius, rng, clustering=rng.uniform(0.1, 0.9), nearest=0.75)
        bodies = random_ellipsoids(
            center, radius[: len(center)], rng, elongation=log_uniform(rng, 1.1, 2.2)
        )
        bend = displacement(grid, 0.5 * diameter, rng.uniform(0.03, 0.09) * diameter, rng)
        painted = paint_ellipsoids(grid, bodies, bend)
        labels = solid(painted.owner)
        nuclear = _nuclear_dye(grid, labels, painted, diameter, rng)
        counter = _counter_dye(grid, labels, diameter, rng)
        image = _slide(grid, nuclear, counter, rng)
        return Phantom(image, labels, (labels > 0).astype(np.uint8), grid.spacing)


def _nuclear_dye(
    grid: Grid, labels: Labels, painted: Painted, diameter: float, rng: np.random.Generator
) -> Floats:
    """Absorbance of nuclei: level, rim, chromatin; pale ones out of focus behind them."""
    level = log_uniform(rng, 0.35, 1.3) * per_object(labels, rng.uniform(0.1, 0.45), rng)
    fine = field(grid, max(1.0, 0.07 * diameter), rng)
    coarse = field(grid, max(1.3, 0.16 * diameter), rng)
    strength = rng.uniform(0.05, 0.4)
    texture = np.clip(1 + strength * (0.7 * fine + 0.5 * coarse), 0.15, None)
    rim = np.exp(-(((painted.depth - 0.9) / 0.12) ** 2)) * per_object(labels, 0.6, rng)
    dye = level * (texture * rng.uniform(0.5, 1.0) + rng.uniform(0, 0.5) * rim)
    behind = log_uniform(rng, 0.02, 0.4) * ghosts(grid, diameter, rng.uniform(0, 0.25), rng)
    return np.asarray(dye + behind * (labels == 0), np.float32)


def _counter_dye(grid: Grid, labels: Labels, diameter: float, rng: np.random.Generator) -> Floats:
    """Absorbance of what lies between nuclei: cytoplasm, oriented fibers, holes."""
    if rng.random() < 0.25:
        # A smear: cells on bare glass, each with a thin seam of cytoplasm.
        seam = blur(grid, (labels > 0).astype(np.float32), 0.25 * diameter)
        return np.asarray(rng.uniform(0, 0.35) * seam + 0.02, np.float32)
    wide = field(grid, 2.0 * diameter, rng)
    fine = field(grid, max(1.2, 0.12 * diameter), rng)
    dye = rng.uniform(0.08, 0.4) * np.clip(
        1 + 0.25 * wide + rng.uniform(0.05, 0.25) * fine, 0.1, None
    )
    waves = _fibers(grid, diameter, rng)
    dye = dye * (1 + log_uniform(rng, 0.02, 0.25) * waves)
    holes = 1 / (
        1 + np.exp(-8 * (field(grid, rng.uniform(1.5, 4) * diameter, rng) - rng.uniform(0.5, 2.5)))
    )
    return np.asarray(dye * (1 - rng.uniform(0.5, 1) * holes * (labels == 0)), np.float32)


def _fibers(grid: Grid, diameter: float, rng: np.random.Generator) -> Floats:
    """Wavy stripes in one direction, between -1 and 1."""
    direction = rng.standard_normal(len(grid.shape))
    direction *= 2 * np.pi / (np.linalg.norm(direction) * diameter * rng.uniform(0.25, 0.9))
    phase = rng.uniform(3, 7) * field(grid, 1.5 * diameter, rng)
    phase += rng.uniform(0.5, 2) * field(grid, 0.4 * diameter, rng)
    for axis, (size, step) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
        ramp = (direction[axis] * step * np.arange(size)).astype(np.float32)
        phase = phase + ramp.reshape(-1, *(1,) * (phase.ndim - axis - 1))
    return np.sin(phase)


def _slide(
    grid: Grid, nuclear: Floats, counter: Floats, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Light through both dyes (Beer-Lambert) in three colors, with dirt, blur and noise."""
    vectors = [
        base * np.exp(rng.uniform(0.1, 0.45) * rng.standard_normal(3))
        for base in (_NUCLEAR, _COUNTER)
    ]
    if rng.random() < 0.4:
        # One dye, as cresyl violet or Giemsa, colors everything.
        vectors[1] = vectors[0] * np.exp(0.15 * rng.standard_normal(3))
    glass = np.clip(rng.normal(0.92, 0.05, 3), 0.7, 1.0) * rng.uniform(0.85, 1.0)
    dirt = specks(grid, int(rng.poisson(1.0)), (2, 8), rng)[0] * rng.uniform(0, 0.8)
    light = lamp(grid, rng.uniform(0, 0.05), rng)
    sigma = log_uniform(rng, 0.3, 1.6)
    noise = np.float32(log_uniform(rng, 0.003, 0.04))
    channels = []
    for color in range(3):
        absorbed = vectors[0][color] * nuclear + vectors[1][color] * counter + dirt
        passed = blur(grid, glass[color] * light * np.exp(np.float32(-1.6) * absorbed), sigma)
        channels.append(passed + noise * rng.standard_normal(grid.shape, dtype=np.float32))
    return eight_bit(np.stack(channels))
