"""Rosettes of leaves seen from above: green on soil, in color."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Floats, Grid, Labels, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import blur, eight_bit, lamp, per_object, specks
from unmask.phantoms.painting import Painted, Tubes, paint_tubes
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import Points, fitting_diameter, log_uniform, planes

_POINTS = 12


@dataclass(frozen=True)
class Leaves(Isotropic):
    """Leaves of rosettes on soil, in color.

    A later leaf lies on top. A leaf that others divide keeps its largest visible piece.

    Args:
        diameter: smallest and largest mean length of leaves.
        plants: smallest and largest number of plants; the image may show a part of one.
        count: number of leaves per plant instead of a random number.
    """

    channels: ClassVar[int] = 3
    classes: ClassVar[tuple[str, ...]] = ("background", "leaf")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (16.0, 110.0)
    plants: tuple[int, int] = (1, 4)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        length = fitting_diameter(grid, self.diameter, rng)
        plants = int(rng.integers(self.plants[0], self.plants[1] + 1))
        tubes = self._leaves(grid, length, plants, rng)
        warp = displacement(grid, 0.4 * length, rng.uniform(0.01, 0.05) * length, rng)
        painted = paint_tubes(grid, tubes, warp)
        labels = solid(painted.owner)
        image = _picture(grid, labels, painted, length, rng)
        return Phantom(image, labels, (labels > 0).astype(np.uint8), grid.spacing)

    def _leaves(self, grid: Grid, length: float, plants: int, rng: np.random.Generator) -> Tubes:
        """Blades on stalks around the middle of each plant, the youngest short and on top."""
        n = len(grid.shape)
        parts: list[tuple[Points, NDArray[np.float64]]] = []
        slim, stalk = log_uniform(rng, 0.18, 0.5), rng.uniform(0.05, 0.5)
        for _ in range(plants):
            middle = rng.uniform(0.15, 0.85, n) * grid.extent
            count = int(rng.integers(2, 16)) if self.count is None else self.count
            u, v = planes(1, n, rng, flat=0.2)[0]
            age = np.sort(rng.uniform(0.35, 1.2, count))[::-1]
            turn = rng.uniform(0, 2 * np.pi) + 2.4 * np.arange(count)
            turn += 0.3 * rng.standard_normal(count)
            out = np.cos(turn)[:, None] * u + np.sin(turn)[:, None] * v
            side = np.cos(turn + np.pi / 2)[:, None] * u + np.sin(turn + np.pi / 2)[:, None] * v
            t = np.linspace(0.03, 1, _POINTS)
            bend = rng.normal(0, 0.15, (count, 1, 1))
            line = out[:, None] * t[:, None] + bend * side[:, None] * (t**2)[:, None]
            parts.append((middle + length * age[:, None, None] * line, length * age))
        paths = np.concatenate([path for path, _ in parts])
        size = np.concatenate([size for _, size in parts])
        t = np.clip((np.linspace(0.03, 1, _POINTS) - stalk) / (1 - stalk), 0, 1)
        blade = np.sin(np.pi * np.clip(t, 0.0, 0.97) ** rng.uniform(0.7, 1.3)) ** 0.7
        width = np.maximum(slim * blade, 0.035)
        width = width * np.exp(0.12 * rng.standard_normal((len(size), 1))) * size[:, None]
        # The last point carries a blade's width, so it is drawn back to end the leaf in time.
        return Tubes(paths, np.maximum(width / 2, 0.8), np.arange(1, len(size) + 1))


def _picture(
    grid: Grid, labels: Labels, painted: Painted, length: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Colors of leaves with veins, of soil with stones, shadows, blur and noise."""
    hue = np.array([rng.uniform(0.15, 0.6), 0.65, rng.uniform(0.05, 0.4)]) * rng.uniform(0.5, 1.3)
    soil = (
        np.array([0.4, 0.3, 0.22]) * np.exp(0.25 * rng.standard_normal(3)) * rng.uniform(0.4, 1.8)
    )
    inside = labels > 0
    level = per_object(labels, rng.uniform(0.05, 0.3), rng)
    depth = np.clip(painted.depth, 0, 1)
    vein = rng.uniform(0, 0.4) * np.exp(-((depth / 0.12) ** 2))
    fold = rng.uniform(0, 0.3) * (1 - depth**2)
    leaf_grain = field(grid, max(1.0, 0.05 * length), rng)
    blade = level * (0.8 + fold + vein + rng.uniform(0.02, 0.12) * leaf_grain)
    blade *= 1 - rng.uniform(0, 0.5) * (depth > 0.9)
    coarse = field(grid, rng.uniform(0.05, 0.3) * length, rng)
    fine = rng.standard_normal(grid.shape, dtype=np.float32)
    ground = 1 + rng.uniform(0.05, 0.35) * coarse + rng.uniform(0.02, 0.3) * fine
    ground = np.clip(ground + _stones(grid, length, rng), 0.05, None)
    ground *= 1 - rng.uniform(0, 0.6) * blur(grid, inside.astype(np.float32), 0.06 * length)
    moss = rng.uniform(0, 0.35) * np.clip(field(grid, 0.3 * length, rng), 0, 1)
    light = lamp(grid, rng.uniform(0, 0.2), rng)
    sigma, noise = log_uniform(rng, 0.3, 1.2), np.float32(log_uniform(rng, 0.004, 0.04))
    warm: Floats = per_object(labels, rng.uniform(0, 0.2), rng)
    channels = []
    for color in range(3):
        leaf = hue[color] * blade * (warm if color == 0 else 1)
        under = ground * (soil[color] * (1 - moss) + moss * hue[color])
        scene = blur(grid, np.where(inside, leaf, under) * light, sigma)
        channels.append(scene + noise * rng.standard_normal(grid.shape, dtype=np.float32))
    return eight_bit(np.stack(channels))


def _stones(grid: Grid, length: float, rng: np.random.Generator) -> Floats:
    count = int(rng.poisson(log_uniform(rng, 1, 150)))
    cover, owner = specks(grid, count, (1.5, max(3.0, 0.15 * length)), rng)
    return cover * rng.normal(0.2, 0.6, count + 1).astype(np.float32)[owner]
