"""Worms that cross, dark in bright field or glowing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Floats, Grid, Labels
from unmask.phantoms.fields import field
from unmask.phantoms.optics import blur, eight_bit, fluorescence, lamp, per_object, specks
from unmask.phantoms.painting import Painted, Tubes, paint_tubes
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import bent_paths, fitting_diameter, log_uniform
from unmask.phantoms.stacking import number_stacked


@dataclass(frozen=True)
class Worms(Isotropic):
    """Worms that bend and cross, in bright field or fluorescence.

    Where two cross, the higher label lies on top.

    A worm under another one may be in several pieces of one label; ``Phantom.crossings`` names the
    pairs.

    Args:
        diameter: smallest and largest width of the bodies.
        aspect: smallest and largest ratio of length and width.
        count: number of worms instead of a random number.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "worm")
    pieces: ClassVar[bool] = True

    diameter: tuple[float, float] = (4.0, 20.0)
    aspect: tuple[float, float] = (6.0, 22.0)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        width = fitting_diameter(grid, self.diameter, rng)
        aspect = log_uniform(rng, *self.aspect)
        n = len(grid.shape)
        count = self.count
        if count is None:
            share = log_uniform(rng, 0.03, 0.35)
            volume = 0.75 * aspect * width**n
            count = min(80, max(1, round(share * float(np.prod(grid.extent)) / volume)))
        middle = rng.uniform(0, 1, (count, n)) * grid.extent
        length = width * aspect * np.exp(0.12 * rng.standard_normal(count))
        bend = np.abs(rng.uniform(0.1, 3.5) * rng.standard_normal(count))
        paths = bent_paths(middle, length, bend, rng, points=20, flat=0.3)
        ends = np.sin(np.pi * np.linspace(0.02, 0.99, 20)) ** rng.uniform(0.3, 0.7)
        radius = width / 2 * ends * np.exp(0.1 * rng.standard_normal((count, 1)))
        tubes = Tubes(paths, np.maximum(radius, 0.6), np.arange(1, count + 1))
        painted = paint_tubes(grid, tubes)
        labels, crossings = number_stacked(painted)
        style = _glow if rng.random() < 0.25 else _bright_field
        image = style(grid, labels, painted, width, rng)
        classes = (labels > 0).astype(np.uint8)
        return Phantom(image[None], labels, classes, grid.spacing, crossings)


def _texture(
    grid: Grid, labels: Labels, painted: Painted, width: float, rng: np.random.Generator
) -> Floats:
    """Organs along the body: grain, a paler middle line, darker ends, about 1."""
    fine = field(grid, max(1.0, 0.2 * width), rng)
    coarse = field(grid, 0.8 * width, rng)
    texture = 1 + rng.uniform(0.1, 0.4) * fine + rng.uniform(0, 0.3) * coarse
    line = rng.uniform(0, 0.5) * np.exp(-((painted.depth / 0.35) ** 2))
    ends = 1 - rng.uniform(0, 0.6) * (np.abs(2 * painted.along - 1) > 0.85)
    return np.asarray((labels > 0) * np.clip(texture - line, 0.1, 2) * ends, np.float32)


def _bright_field(
    grid: Grid, labels: Labels, painted: Painted, width: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Dark bodies on a bright ground, often in a well whose outside is black."""
    texture = _texture(grid, labels, painted, width, rng)
    depth = np.clip(painted.depth, 0, 1)
    rim = rng.uniform(0, 0.6) * np.exp(-(((depth - 0.9) / 0.15) ** 2)) * (labels > 0)
    level = per_object(labels, rng.uniform(0.05, 0.3), rng)
    absorbed = log_uniform(rng, 0.3, 1.8) * level * (0.7 * texture + rim)
    dirt, _ = specks(grid, int(rng.poisson(6)), (1.5, 1.2 * width), rng)
    absorbed += rng.uniform(0.1, 0.8) * dirt * rng.uniform(0.3, 1)
    sharp = blur(grid, absorbed, log_uniform(rng, 0.4, max(0.5, 0.1 * width)))
    # Light that a body bends away from its edge brightens the ground next to it.
    halo = blur(grid, absorbed, 0.5 * width) - sharp
    scene = np.exp(-sharp + rng.uniform(0, 0.5) * halo) * lamp(grid, rng.uniform(0.02, 0.4), rng)
    if rng.random() < 0.5:
        scene *= _well(grid, rng)
    scene *= rng.uniform(0.45, 1.0) / max(0.2, float(np.quantile(scene, 0.98)))
    scene += rng.uniform(0, 0.08)
    noise = np.float32(log_uniform(rng, 0.003, 0.05))
    return eight_bit(scene + noise * rng.standard_normal(grid.shape, dtype=np.float32))


def _well(grid: Grid, rng: np.random.Generator) -> Floats:
    """1 inside a round-cornered box around all or part of the image, falling to 0 outside."""
    power, side = log_uniform(rng, 2, 8), rng.uniform(0.6, 1.3)
    total = np.zeros(grid.shape, np.float32)
    for axis, size in enumerate(grid.shape):
        radius = side * rng.uniform(0.9, 1.1)
        t = (np.linspace(-1, 1, size) - rng.uniform(-0.2, 0.2)) / radius
        total += (
            (np.abs(t) ** power).astype(np.float32).reshape(-1, *(1,) * (total.ndim - axis - 1))
        )
    edge = 1 / (1 + np.exp(np.clip((total - 1) * rng.uniform(15, 60), -30, 30)))
    dim = 1 - rng.uniform(0, 0.6) * np.clip(total, 0, 1)
    return edge * dim


def _glow(
    grid: Grid, labels: Labels, painted: Painted, width: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Bright bodies on a dark ground."""
    texture = _texture(grid, labels, painted, width, rng)
    profile = np.clip(1 - np.clip(painted.depth, 0, 1) ** 2, 0.05, 1) ** 0.4
    light = texture * profile * per_object(labels, rng.uniform(0.1, 0.5), rng)
    return fluorescence(grid, np.asarray(light, np.float32), width, rng)
