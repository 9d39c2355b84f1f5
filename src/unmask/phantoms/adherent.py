"""Unstained cells that adhere to a dish: phase contrast and bright field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Floats, Grid, Labels, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import blur, eight_bit, lamp, per_object, specks
from unmask.phantoms.painting import Painted, Tubes, paint_ellipsoids, paint_tubes
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import (
    Points,
    count_for,
    fitting_diameter,
    log_uniform,
    orthonormal,
    random_ellipsoids,
    scatter,
)

_POINTS = 7
_ARMS = 4


@dataclass(frozen=True)
class Cells:
    """Cells and what refracts light in them.

    Attributes:
        labels: one number per cell.
        thickness: optical thickness, about 1 in the middle of a round cell.
        diameter: mean diameter.
    """

    labels: Labels
    thickness: Floats
    diameter: float


@dataclass(frozen=True)
class PhaseContrast(Isotropic):
    """Adherent cells with thin arms in phase contrast; cells that round up shine.

    Args:
        diameter: smallest and largest mean diameter.
        density: smallest and largest share of the dish that cells cover.
        count: number of cells instead of a density.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "cell")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (14.0, 90.0)
    density: tuple[float, float] = (0.12, 0.8)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        cells = spread_cells(grid, self.diameter, self.density, self.count, rng)
        image = _phase_image(grid, cells, rng)
        return Phantom(image[None], cells.labels, (cells.labels > 0).astype(np.uint8), grid.spacing)


@dataclass(frozen=True)
class BrightField(Isotropic):
    """Unstained cells in bright field, slightly out of focus.

    Args:
        diameter: smallest and largest mean diameter.
        density: smallest and largest share of the dish that cells cover.
        count: number of cells instead of a density.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "cell")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (10.0, 80.0)
    density: tuple[float, float] = (0.1, 0.7)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        cells = spread_cells(grid, self.diameter, self.density, self.count, rng)
        image = _bright_field_image(grid, cells, rng)
        return Phantom(image[None], cells.labels, (cells.labels > 0).astype(np.uint8), grid.spacing)


def spread_cells(
    grid: Grid,
    diameters: tuple[float, float],
    density: tuple[float, float],
    count: int | None,
    rng: np.random.Generator,
) -> Cells:
    """Cells from round to star-shaped with long arms."""
    diameter = fitting_diameter(grid, diameters, rng)
    if count is None:
        count = count_for(grid, diameter, log_uniform(rng, *density))
    radius = diameter / 2 * np.exp(0.2 * rng.standard_normal(count))
    at = scatter(grid, radius, rng, clustering=rng.uniform(0.1, 0.9), nearest=0.8)
    radius = radius[: len(at)]
    rounded = rng.random(len(at)) < rng.uniform(0, 0.4) * (rng.random() < 0.7)
    warp = displacement(grid, 0.5 * diameter, rng.uniform(0.03, 0.1) * diameter, rng)
    warp += displacement(grid, 0.15 * diameter, rng.uniform(0, 0.025) * diameter, rng)
    painted = paint_tubes(grid, _arms(at, radius, rounded, rng), warp)
    labels = solid(painted.owner)
    height = np.append(0.0, np.where(rounded, rng.uniform(1.2, 4.5), 1.0)).astype(np.float32)
    thickness = _thickness(grid, labels, painted, height[painted.owner], diameter, rng)
    thickness += _nuclei(grid, at, radius, rng) * (labels > 0)
    return Cells(labels, thickness, diameter)


def _nuclei(
    grid: Grid, at: Points, radius: NDArray[np.float64], rng: np.random.Generator
) -> Floats:
    """Optical thickness that nuclei add, each with a rim and a few dense nucleoli."""
    size = radius * rng.uniform(0.25, 0.42) * np.exp(0.1 * rng.standard_normal(len(at)))
    nucleus = paint_ellipsoids(grid, random_ellipsoids(at, size, rng)).depth
    rim = np.exp(-(((np.minimum(nucleus, 2) - 0.9) / 0.15) ** 2))
    owner = np.repeat(np.arange(len(at)), rng.integers(0, 5, len(at)))
    offset = 0.45 * size[owner, None] * rng.standard_normal((len(owner), at.shape[1]))
    spot = np.maximum(size[owner] * rng.uniform(0.14, 0.34, len(owner)), 0.8)
    nucleoli = paint_ellipsoids(grid, random_ellipsoids(at[owner] + offset, spot, rng)).depth
    body = rng.uniform(-0.2, 0.25) * (nucleus < 1) + rng.uniform(-0.15, 0.25) * rim
    dense = rng.uniform(0.1, 1.0) * np.clip(1.6 - 1.6 * nucleoli, 0, 1)
    return np.asarray(body + dense, np.float32)


def _arms(
    at: Points, radius: NDArray[np.float64], rounded: NDArray[np.bool_], rng: np.random.Generator
) -> Tubes:
    """Each cell is a star of tapered arms; those of a rounded cell are short and thick."""
    count, n = at.shape
    t = np.linspace(0, 1, _POINTS)
    reach = rng.uniform(0.5, 2.6) * np.exp(0.4 * rng.standard_normal((count, _ARMS)))
    # Most cells have fewer arms than drawn, and many are spindles with two opposite ones.
    reach *= rng.random((count, _ARMS)) < rng.uniform(0.5, 1.0)
    reach[rounded] = 0.15
    frames = orthonormal(count * _ARMS, n, rng)[:, 0].reshape(count, _ARMS, n)
    if rng.random() < 0.6:
        frames[:, 1] = -frames[:, 0] + 0.3 * frames[:, 1]
    bend = rng.uniform(0, 0.5) * orthonormal(count * _ARMS, n, rng)[:, -1].reshape(count, _ARMS, n)
    length = (radius[:, None] * reach)[..., None, None]
    lines = frames[:, :, None] * t[:, None] + bend[:, :, None] * (t**2)[:, None]
    points = at[:, None, None] + length * lines
    core = radius * rng.uniform(0.55, 0.85, count)
    core = np.where(rounded, 0.6 * radius, core)
    power = rng.uniform(0.8, 2.2, (count, _ARMS, 1))
    tip = rng.uniform(0.05, 0.2)
    taper = core[:, None, None] * ((1 - tip) * (1 - t) ** power + tip)
    owner = np.repeat(np.arange(1, count + 1), _ARMS)
    shape = (count * _ARMS, _POINTS)
    return Tubes(points.reshape(*shape, n), np.maximum(taper, 0.8).reshape(shape), owner)


def _thickness(
    grid: Grid,
    labels: Labels,
    painted: Painted,
    height: Floats,
    diameter: float,
    rng: np.random.Generator,
) -> Floats:
    """Optical thickness of cells with their nuclei and vesicles."""
    inside = labels > 0
    # A cell is thick in its middle and thin in its arms: a blurred mask shows both.
    profile = blur(grid, inside.astype(np.float32), diameter * rng.uniform(0.08, 0.25)) * inside
    # The flatter the profile, the steeper the edge, and the brighter its halo.
    profile = profile ** np.float32(rng.uniform(0.2, 1.0))
    profile *= np.clip(1.5 - np.clip(painted.depth, 0, 1), 0, 1) ** 0.5
    grain = field(grid, max(1.0, diameter * log_uniform(rng, 0.02, 0.1)), rng)
    level = per_object(labels, rng.uniform(0.05, 0.4), rng)
    thickness = (
        height * level * profile * np.clip(1 + log_uniform(rng, 0.02, 0.45) * grain, 0.1, None)
    )
    count = int(rng.poisson(0.0015 * labels.size)) if grid.volume < 1e6 else 200
    dots, _ = specks(grid, min(count, 1500), (1.2, max(1.6, 0.08 * diameter)), rng)
    return np.asarray(
        thickness + rng.uniform(0, 1) * rng.uniform(-0.3, 0.9) * dots * inside, np.float32
    )


def _phase_image(grid: Grid, cells: Cells, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Zernike contrast: thickness minus what the phase ring lets pass (halo and shade-off)."""
    thick = blur(grid, cells.thickness, log_uniform(rng, 0.4, 1.3))
    thick += _litter(grid, cells.diameter, rng)
    near = blur(grid, thick, max(1.0, log_uniform(rng, 0.03, 0.12) * cells.diameter))
    wide = blur(grid, thick, log_uniform(rng, 0.3, 1.2) * cells.diameter)
    # A narrow bright seam at the outline and a wide glow around the cell.
    seam = log_uniform(rng, 0.7, 3.0)
    contrast = (thick - wide) + seam * (thick - near)
    # Beyond a quarter of a wave, dark turns into bright: rounded cells shine.
    contrast *= np.float32(log_uniform(rng, 0.15, 1.8))
    turn = rng.uniform(1.0, 1.8)
    response = np.where(contrast < turn, -contrast, contrast - 2 * turn)
    # Flat cells are hardly darker than the dish; their halos and round cells are far brighter.
    response = np.where(response > 0, np.float32(log_uniform(rng, 1.0, 4.0)) * response, response)
    response = np.clip(response, -1.2, 2.0)
    if rng.random() < 0.1:
        response = -response
    scene = rng.uniform(0.25, 0.6) + log_uniform(rng, 0.12, 0.7) * response
    return _finish(grid, scene, cells.diameter, rng)


def _bright_field_image(grid: Grid, cells: Cells, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Defocus turns curvature of the thickness into light; a little is absorbed."""
    thick = cells.thickness + _litter(grid, cells.diameter, rng)
    sharp = blur(grid, thick, rng.uniform(0.5, 1.0))
    soft = blur(grid, sharp, max(1.0, cells.diameter * rng.uniform(0.03, 0.1)))
    focus = log_uniform(rng, 0.3, 2.5) * (1 if rng.random() < 0.5 else -1)
    scene = rng.uniform(0.4, 0.75) + 0.5 * focus * (sharp - soft)
    scene -= rng.uniform(-0.02, 0.2) * np.minimum(sharp, 1.5)
    return _finish(grid, scene, cells.diameter, rng)


def _litter(grid: Grid, diameter: float, rng: np.random.Generator) -> Floats:
    """Fragments on the dish, and rings of dust out of focus."""
    # As dense in a large image as in one of 192 x 192.
    area = float(np.prod(grid.extent[-2:])) / 192**2
    count = int(rng.poisson(max(1.0, area) * log_uniform(rng, 1, 80)))
    bits, _ = specks(grid, count, (1.2, max(2.0, 0.15 * diameter)), rng)
    rings = int(rng.poisson(1.0))
    at = rng.uniform(0, 1, (rings, len(grid.shape))) * grid.extent
    radius = diameter * rng.uniform(0.1, 0.5, rings)
    dust = paint_ellipsoids(grid, random_ellipsoids(at, radius, rng, elongation=1.05)).depth
    ring = np.exp(-(((np.minimum(dust, 2) - 0.9) / 0.15) ** 2))
    return np.asarray(rng.uniform(0, 0.8) * bits + rng.uniform(0, 0.25) * ring, np.float32)


def _finish(
    grid: Grid, scene: Floats, diameter: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Uneven light, medium, noise, 8 bits."""
    scene = scene * lamp(grid, rng.uniform(0, 0.15), rng)
    scene += np.float32(rng.uniform(0, 0.02)) * field(grid, max(1.5, 0.15 * diameter), rng)
    noise = np.float32(log_uniform(rng, 0.004, 0.05))
    return eight_bit(scene + noise * rng.standard_normal(grid.shape, dtype=np.float32))
