"""Organs as smooth blobs inside a body, with the contrast of MR or CT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Floats, Grid, Labels, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import blur, eight_bit, ridges
from unmask.phantoms.painting import Tubes, paint_ellipsoids, paint_tubes
from unmask.phantoms.phantom import Phantom, Stack
from unmask.phantoms.placing import bent_paths, fitting_diameter, log_uniform, random_ellipsoids

_CLASSES = ("background", "solid organ", "chamber", "wall", "vessel", "bone")
_SOLID, _CHAMBER, _WALL, _VESSEL, _BONE = 1, 2, 3, 4, 5
# Hounsfield units: outside, body, then the classes; mean and spread between images.
_HOUNSFIELD = ((-1000, 0), (-60, 50), (60, 40), (170, 90), (90, 30), (220, 90), (600, 200))


@dataclass(frozen=True)
class Anatomy:
    """Labels, classes, and what is inside the body."""

    labels: Labels
    classes: NDArray[np.uint8]
    body: NDArray[np.bool_]
    fat: Floats
    diameter: float


@dataclass(frozen=True)
class OrgansMR(Stack):
    """Organs in magnetic resonance: bias field, surface coil, Rician noise.

    Args:
        thickness: smallest and largest distance of sections, in pixels.
        diameter: smallest and largest mean diameter of organs.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = _CLASSES
    pieces: ClassVar[bool] = False

    thickness: tuple[float, float] = (1.0, 6.0)
    diameter: tuple[float, float] = (14.0, 80.0)

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        anatomy = place_organs(grid, self.diameter, rng)
        image = _magnetic(grid, anatomy, rng)
        return Phantom(image[None], anatomy.labels, anatomy.classes, grid.spacing)


@dataclass(frozen=True)
class OrgansCT(Stack):
    """Organs in computed tomography, int16 in Hounsfield units.

    Args:
        thickness: smallest and largest distance of sections, in pixels.
        diameter: smallest and largest mean diameter of organs.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = _CLASSES
    pieces: ClassVar[bool] = False

    thickness: tuple[float, float] = (1.0, 5.0)
    diameter: tuple[float, float] = (14.0, 80.0)

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        anatomy = place_organs(grid, self.diameter, rng)
        image = _tomogram(grid, anatomy, rng)
        return Phantom(image[None], anatomy.labels, anatomy.classes, grid.spacing)


def place_organs(grid: Grid, diameters: tuple[float, float], rng: np.random.Generator) -> Anatomy:
    """A body with organs: blobs, chambers in walls, vessels, bones."""
    diameter = fitting_diameter(grid, diameters, rng)
    n = len(grid.shape)
    warp = displacement(grid, 1.2 * diameter, rng.uniform(0.05, 0.16) * diameter, rng)
    warp += displacement(grid, 0.4 * diameter, rng.uniform(0.01, 0.05) * diameter, rng)
    middle = grid.extent * rng.uniform(0.4, 0.6, n)
    size = float(grid.extent[-2:].mean()) * log_uniform(rng, 0.42, 1.1)
    shell = paint_ellipsoids(
        grid, random_ellipsoids(middle[None], np.array([size]), rng, elongation=1.25), warp
    ).depth
    share = log_uniform(rng, 0.3, 1.5)
    count = int(np.clip(share * size**n * 2 / diameter**n, 2, 160))
    at = middle + rng.uniform(-0.8, 0.8, (count, n)) * size
    at[:, : n - 2] = rng.uniform(0, 1, (count, max(0, n - 2))) * grid.extent[: n - 2]
    kinds = rng.choice([_SOLID, _CHAMBER, _BONE], count, p=[0.45, 0.37, 0.18])
    scale = np.where(kinds == _BONE, rng.uniform(0.3, 0.7), 1.0)
    radius = diameter / 2 * scale * np.exp(0.3 * rng.standard_normal(count))
    bodies = random_ellipsoids(at, radius, rng, elongation=log_uniform(rng, 1.1, 1.7))
    painted = paint_ellipsoids(grid, bodies, warp, stacked=True)
    kind = np.append(0, kinds)[painted.owner]
    inner = 1 - rng.uniform(0.15, 0.35)
    wall = (kind == _CHAMBER) & (painted.depth > inner)
    owner = painted.owner + np.where(wall, count, 0)
    classes = np.where(wall, _WALL, kind)
    vessels = _vessels(grid, middle, size, diameter, warp, rng)
    seen = (vessels > 0) & (owner == 0)
    owner[seen] = 2 * count + vessels[seen]
    classes[seen] = _VESSEL
    outside = shell > 0.95
    owner[outside] = 0
    labels = solid(owner.astype(np.int32), 12)
    classes = np.where(labels > 0, classes, 0).astype(np.uint8)
    return Anatomy(labels, classes, shell < 1, np.clip((shell - 0.85) / 0.05, 0, 1), diameter)


def _vessels(
    grid: Grid,
    middle: NDArray[np.float64],
    size: float,
    diameter: float,
    warp: Floats,
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Bent tubes; in a section many of them are cut across."""
    n, count = len(grid.shape), int(rng.poisson(5))
    at = middle + rng.uniform(-0.8, 0.8, (count, n)) * size
    length = diameter * np.exp(rng.uniform(-1.5, 1.2, count))
    paths = bent_paths(at, length, rng.uniform(0.2, 2.0, count), rng, points=16)
    radius = diameter * rng.uniform(0.05, 0.14) * np.exp(0.3 * rng.standard_normal((count, 1)))
    tubes = Tubes(paths, np.repeat(np.maximum(radius, 1.2), 16, 1), np.arange(1, count + 1))
    return paint_tubes(grid, tubes, warp).owner


def _magnetic(grid: Grid, anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Signal per tissue, bias, resolution, Rician noise."""
    levels = rng.uniform(0.1, 1.0, len(_CLASSES))
    # Blood and walls differ in every sequence; which one is bright differs.
    dark, bright = rng.uniform(0.1, 0.35), rng.uniform(0.55, 1.0)
    flip = rng.random() < 0.25
    levels[_CHAMBER], levels[_WALL] = (dark, bright) if flip else (bright, dark)
    signal = _tissue(grid, anatomy, levels, rng.uniform(0.15, 0.6), 0.12, rng)
    signal += (anatomy.body & (anatomy.labels == 0)) * anatomy.fat * rng.uniform(0, 0.8)
    signal = blur(grid, signal, log_uniform(rng, 0.4, 1.4), axial=0.5)
    coil = np.exp(
        np.float32(rng.uniform(0, 1.0)) * field(grid, 0.7 * float(grid.extent.max()), rng)
    )
    noise = np.float32(log_uniform(rng, 0.005, 0.1))
    real = signal * coil + noise * rng.standard_normal(grid.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(grid.shape, dtype=np.float32)
    image = np.sqrt(real**2 + imaginary**2)
    bright_end = float(np.quantile(image[..., ::2], rng.uniform(0.97, 0.999)))
    return eight_bit(image / np.float32(max(bright_end, 1e-3)) * np.float32(rng.uniform(0.5, 1.0)))


def _tomogram(grid: Grid, anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.int16]:
    """Hounsfield units with texture, gas, streaks and correlated noise."""
    mean, spread = np.array(_HOUNSFIELD, float).T
    units = mean + spread * rng.uniform(-1, 1, len(mean))
    signal = _tissue(grid, anatomy, units[1:], units[1], 8.0, rng)
    soft = anatomy.body & (anatomy.labels == 0)
    muscle = field(grid, 0.5 * anatomy.diameter, rng) > rng.uniform(-0.8, 0.8)
    signal[soft & muscle] += 100
    signal[soft] -= 50 * anatomy.fat[soft]
    gas = soft & (field(grid, 0.4 * anatomy.diameter, rng) > rng.uniform(1.5, 3.5))
    signal[gas] = -900
    signal[~anatomy.body & (anatomy.labels == 0)] = units[0]
    signal = blur(grid, signal, rng.uniform(0.4, 0.9), axial=0.5)
    strength = log_uniform(rng, 4, 50)
    noise = field(Grid(grid.shape, (1.0,) * len(grid.shape)), rng.uniform(1.2, 2.2), rng)
    noise = 0.7 * noise + 0.7 * rng.standard_normal(grid.shape, dtype=np.float32)
    return np.clip(np.rint(signal + strength * noise), -1024, 3071).astype(np.int16)


def _tissue(
    grid: Grid,
    anatomy: Anatomy,
    levels: NDArray[np.float64],
    ground: float,
    texture: float,
    rng: np.random.Generator,
) -> Floats:
    """Level of each class with variation between objects, marrow and texture."""
    table = np.asarray(levels, np.float32)
    table[0] = ground
    number = int(anatomy.labels.max(initial=0)) + 1
    shift = (texture * rng.uniform(0.1, 0.8) * rng.standard_normal(number)).astype(np.float32)
    shift[0] = 0
    signal = table[anatomy.classes] + shift[anatomy.labels]
    grain = field(grid, max(1.5, 0.12 * anatomy.diameter), rng)
    signal += np.float32(texture * log_uniform(rng, 0.05, 0.8)) * grain
    lines = ridges(grid, 0.4 * anatomy.diameter, 0.15, rng) * (anatomy.labels == 0)
    signal += np.float32(texture * rng.uniform(-3, 3)) * lines
    return signal * (anatomy.body | (anatomy.labels > 0))
