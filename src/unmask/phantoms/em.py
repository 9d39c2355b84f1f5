"""Tissue in electron microscopy: membranes, mitochondria with cristae, vesicles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Floats, Grid, Labels, separate, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import electron_noise, specks
from unmask.phantoms.painting import Painted, Tubes, paint_cells, paint_tubes
from unmask.phantoms.phantom import Isotropic, Phantom, Stack
from unmask.phantoms.placing import (
    bent_paths,
    far_apart,
    fitting_diameter,
    lattice_seeds,
    log_uniform,
    merge_seeds,
)

_CLASSES = ("background", "cytoplasm", "mitochondrion")


@dataclass(frozen=True)
class Scene:
    """What is in a piece of tissue.

    Attributes:
        cells: labels of cells; membranes are 0.
        mitochondria: labels of mitochondria.
        painted: where in its mitochondrion a voxel lies.
        gap: distance to the middle of the nearest membrane.
        cell: mean diameter of cells.
        membrane: half the thickness of membranes.
    """

    cells: Labels
    mitochondria: Labels
    painted: Painted
    gap: Floats
    cell: float
    membrane: float

    @property
    def classes(self) -> NDArray[np.uint8]:
        """0 membrane, 1 cytoplasm, 2 mitochondrion."""
        return (self.cells > 0).astype(np.uint8) + (self.mitochondria > 0)


@dataclass(frozen=True)
class Tissue(Isotropic):
    """Tissue in electron microscopy: cells with dark membranes and mitochondria.

    Args:
        diameter: smallest and largest mean diameter of cells.
        merged: largest share of cells that are joined to long and branched ones.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = _CLASSES
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (12.0, 90.0)
    merged: float = 0.5

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        scene = tissue(grid, self.diameter, self.merged, rng)
        image = micrograph(grid, scene, rng)
        return Phantom(image[None], scene.cells, scene.classes, grid.spacing)


@dataclass(frozen=True)
class Neurites(Stack):
    """Neurites in stacks of thick sections, which are shifted and sometimes missing.

    Sections differ in contrast. Image and truth are shifted together; a missing section keeps its
    truth.

    Args:
        thickness: smallest and largest distance of sections, in pixels.
        diameter: smallest and largest mean diameter of cells.
        merged: largest share of cells that are joined to long and branched ones.
        shift: largest mean displacement of a section, in pixels.
        missing: largest share of sections that are missing.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = _CLASSES
    pieces: ClassVar[bool] = False

    thickness: tuple[float, float] = (2.0, 12.0)
    diameter: tuple[float, float] = (14.0, 80.0)
    merged: float = 0.7
    shift: float = 3.0
    missing: float = 0.06

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        shifts = section_shifts(grid, rng.uniform(0, self.shift), rng)
        scene = tissue(grid, self.diameter, self.merged, rng, shifts)
        image = spoil_sections(micrograph(grid, scene, rng), rng.uniform(0, self.missing), rng)
        return Phantom(image[None], scene.cells, scene.classes, grid.spacing)


@dataclass(frozen=True)
class Mitochondria(Stack):
    """Mitochondria in electron microscopy; cells are background.

    Args:
        thickness: smallest and largest distance of sections, in pixels.
        diameter: smallest and largest mean width of mitochondria.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "mitochondrion")
    pieces: ClassVar[bool] = False

    thickness: tuple[float, float] = (1.0, 6.0)
    diameter: tuple[float, float] = (8.0, 36.0)

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        low, high = self.diameter
        shifts = section_shifts(grid, rng.uniform(0, 0.6), rng)
        scene = tissue(grid, (2.6 * low, 2.6 * high), 0.5, rng, shifts)
        image = spoil_sections(micrograph(grid, scene, rng), 0.0, rng)
        classes = (scene.mitochondria > 0).astype(np.uint8)
        return Phantom(image[None], scene.mitochondria, classes, grid.spacing)


def tissue(
    grid: Grid,
    diameters: tuple[float, float],
    merged: float,
    rng: np.random.Generator,
    shifts: Floats | None = None,
) -> Scene:
    """Cells that fill the space, with mitochondria inside them.

    Args:
        grid: where to draw.
        diameters: smallest and largest mean diameter of cells.
        merged: largest share of seeds that are joined with a neighbor.
        rng: all chance.
        shifts: ``(n, *space)`` displacement that is added to the bending of cells.
    """
    cell = fitting_diameter(grid, diameters, rng)
    n = len(grid.shape)
    stretch = np.exp(rng.uniform(0, 0.5) * rng.standard_normal(n))
    seeds = lattice_seeds(
        grid, cell * 0.8, rng, jitter=0.42, spread=rng.uniform(0.1, 0.45),
        stretch=stretch / np.prod(stretch) ** (1 / n),
    )  # fmt: skip
    seeds = merge_seeds(grid, seeds, rng.uniform(0, merged), rng)
    warp = displacement(grid, 0.6 * cell, rng.uniform(0.08, 0.2) * cell, rng)
    warp += displacement(grid, 0.2 * cell, rng.uniform(0, 0.03) * cell, rng)
    if shifts is not None:
        warp += shifts
    owner, gap = paint_cells(grid, seeds, warp)
    membrane = log_uniform(rng, 0.7, max(0.9, min(3.5, 0.06 * cell)))
    cells = separate(np.where(gap > membrane, owner, 0).astype(np.int32))
    # Scraps that are not cells look like membranes cut obliquely, so image and truth agree.
    gap[(cells == 0) & (gap > membrane)] = 0
    mitochondria, painted = _paint_mitochondria(grid, cells, gap, cell, shifts, rng)
    return Scene(cells, mitochondria, painted, gap, cell, membrane)


def _paint_mitochondria(
    grid: Grid,
    cells: Labels,
    gap: Floats,
    cell: float,
    shifts: Floats | None,
    rng: np.random.Generator,
) -> tuple[Labels, Painted]:
    """Bent tubes in the middle of cells; each belongs to one cell and keeps off its membrane."""
    n = len(grid.shape)
    density = log_uniform(rng, 0.5, 3.0)
    count = int(rng.poisson(density * (grid.volume / cell**n) + 1))
    room = np.flatnonzero(gap > max(0.3 * float(np.quantile(gap[..., ::3], 0.99)), 0.08 * cell))
    chosen = rng.choice(room, min(count, 500)) if room.size else room
    where = np.unravel_index(chosen, grid.shape)
    at = np.stack(where, axis=1).astype(np.float64) * grid.spacing
    if shifts is not None:
        at += np.stack([shifts[(axis, *where)] for axis in range(n)], axis=1)
    width = cell * rng.uniform(0.28, 0.5)
    length = width * np.exp(rng.uniform(-1, 1.4, len(at)))
    free = far_apart(at, width / 2 + length / 4)
    at, length, chosen = at[free], length[free], chosen[free]
    bend = np.abs(rng.normal(0, 1.0, len(at)))
    paths = bent_paths(at, length, bend, rng, points=6)
    radius = width / 2 * np.exp(0.15 * rng.standard_normal((len(at), 1)))
    tubes = Tubes(paths, np.repeat(radius, 6, 1), np.arange(1, len(at) + 1))
    painted = paint_tubes(grid, tubes, shifts)
    home = np.append(0, cells.reshape(-1)[chosen]) if room.size else np.zeros(1, cells.dtype)
    inside = (home[painted.owner] == cells) & (cells > 0) & (gap > 0.05 * cell)
    return solid(np.where(inside, painted.owner, 0).astype(np.int32), 12), painted


def micrograph(grid: Grid, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """8-bit picture: stain of cytoplasm, membranes, mitochondria, vesicles and synapses."""
    cells, cell = scene.cells, scene.cell
    level = rng.uniform(0.6, 0.85) + rng.uniform(0.01, 0.1) * rng.standard_normal(
        int(cells.max(initial=0)) + 1
    )
    gray = level.astype(np.float32)[cells]
    grain = field(grid, max(1.2, 0.03 * cell), rng)
    gray += rng.uniform(0.01, 0.07) * grain + rng.uniform(0, 0.05) * field(grid, 0.15 * cell, rng)
    dark = rng.uniform(0.35, 0.75) * np.clip(1 + 0.2 * field(grid, 0.7 * cell, rng), 0.4, 1.3)
    gray -= dark * np.exp(-0.7 * (scene.gap / np.float32(scene.membrane)) ** 2)
    inside = scene.mitochondria > 0
    gray[inside] += _matrix(grid, scene, rng)[inside]
    spots, _ = specks(grid, _vesicle_count(grid, cell, rng), (3, max(3.5, 0.12 * cell)), rng)
    shell = np.exp(-(((spots - 0.35) / 0.25) ** 2)) * (spots > 0)
    gray -= rng.uniform(0.05, 0.4) * shell * ((cells > 0) & ~inside & (scene.gap > 0.06 * cell))
    # Dark patches on membranes, as at synapses.
    patches = np.clip(field(grid, 0.3 * cell, rng) - rng.uniform(1.4, 2.4), 0, 1)
    gray -= rng.uniform(0, 0.6) * patches * np.exp(-((scene.gap / (3 * scene.membrane)) ** 2))
    return electron_noise(grid, np.asarray(gray, np.float32), rng)


def _vesicle_count(grid: Grid, cell: float, rng: np.random.Generator) -> int:
    mean = log_uniform(rng, 0.5, 25) * grid.volume / cell ** len(grid.shape)
    return int(rng.poisson(min(mean, 1500)))


def _matrix(grid: Grid, scene: Scene, rng: np.random.Generator) -> Floats:
    """How much darker a mitochondrion is: matrix, outer membrane, folds."""
    scale = 0.35 * scene.cell
    folds = np.sin(rng.uniform(3, 8) * field(grid, scale * rng.uniform(0.3, 0.8), rng))
    depth = np.clip(scene.painted.depth, 0, 1)
    rim = np.exp(-(((depth - 0.94) / 0.1) ** 2))
    strength = rng.uniform(0.0, 0.14)
    result = strength * folds - rng.uniform(0.05, 0.25) * rim - rng.uniform(0.1, 0.5)
    return np.asarray(result, np.float32)


def section_shifts(grid: Grid, size: float, rng: np.random.Generator) -> Floats:
    """``(n, *space)`` displacement of whole sections within their plane; 0 in a single section."""
    shifts = np.zeros((len(grid.shape), *grid.shape), np.float32)
    sections = grid.shape[:-2]
    drawn = size * rng.standard_normal((2, *sections, 1, 1))
    if sections and max(sections) > 1:
        shifts[-2:] += drawn
    return shifts


def spoil_sections(
    image: NDArray[np.uint8], missing: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Change contrast and brightness of every section, and blank a few."""
    sections = image.shape[:-2]
    if not sections:
        return image
    gain = 1 + rng.uniform(0, 0.12) * rng.standard_normal((*sections, 1, 1))
    offset = rng.uniform(0, 12) * rng.standard_normal((*sections, 1, 1))
    spoiled = np.clip((image - 128.0) * gain + 128 + offset, 0, 255).astype(np.uint8)
    gone = rng.random(sections) < missing
    spoiled[gone] = rng.integers(0, 256)
    return spoiled
