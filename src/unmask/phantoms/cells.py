"""Synthetic images with known truth, for any number of axes: nuclei in fluorescence, tissue in EM.

Both kinds are drawn from the same few parts (``unmask.phantoms.bodies``): ellipsoids on a warped
grid and smooth random fields; then comes a model of the camera, a Poisson signal with Gaussian read
noise. Lengths are in units of ``spacing``, which is 1 unless given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unmask.errors import DataError
from unmask.io import save_image
from unmask.phantoms.bodies import (
    Bodies,
    Floats,
    Grid,
    Labels,
    displacement,
    ellipsoids,
    field,
    paint,
    solid,
)
from unmask.phantoms.phantom import Phantom
from unmask.space.random import generator
from unmask.space.spacing import check_spacing


def nuclei(
    shape: Sequence[int],
    *,
    rng: np.random.Generator,
    spacing: Sequence[float] | None = None,
    diameter: float = 20.0,
    density: float = 0.25,
) -> Phantom:
    """Fluorescent nuclei: touching, textured, of different brightness, blurred and noisy.

    Args:
        shape: voxels along every axis.
        rng: all chance comes from it.
        spacing: voxel sizes; default 1 on every axis.
        diameter: mean diameter.
        density: share of the space that nuclei cover, about; below 0.6.

    Examples:
        >>> sample = nuclei((64, 64), rng=np.random.default_rng(0))
        >>> sample.image.shape, sample.labels.dtype
        ((1, 64, 64), dtype('uint16'))
    """
    grid = _grid(shape, spacing)
    bodies = _scattered(grid, diameter, density, rng)
    warp = displacement(grid, 0.6 * diameter, 0.06 * diameter, rng)
    canvas = paint(grid, bodies, warp)
    labels = solid(np.where(canvas.first < 1, canvas.owner, 0))
    light = _fluorescence(grid, labels, canvas.first, diameter, rng)
    image = _camera(grid, light, diameter, rng)
    return Phantom(image[None], labels, (labels > 0).astype(np.uint8), grid.spacing)


def tissue(
    shape: Sequence[int],
    *,
    rng: np.random.Generator,
    spacing: Sequence[float] | None = None,
    cell: float = 40.0,
    membrane: float = 1.3,
) -> Phantom:
    """Membrane-bound cells with mitochondria and vesicles, as in electron microscopy.

    Args:
        shape: voxels along every axis.
        rng: all chance comes from it.
        spacing: voxel sizes; default 1 on every axis.
        cell: mean distance of cell centers.
        membrane: half the thickness of a membrane; it belongs to class 0.

    Examples:
        >>> sample = tissue((64, 64), rng=np.random.default_rng(0))
        >>> bool(sample.classes.max() <= 2)
        True
    """
    grid = _grid(shape, spacing)
    bodies = _packed(grid, cell, rng)
    canvas = paint(grid, bodies, displacement(grid, 0.45 * cell, 0.11 * cell, rng))
    # Between two spheres of radius cell / 2 the two distances part by 4 / cell per unit length.
    gap = (canvas.second - canvas.first) * np.float32(cell / 4)
    labels = solid(np.where(gap > membrane, canvas.owner, 0))
    # Scraps that are not cells look like membranes cut obliquely, so image and truth agree.
    gap[(labels == 0) & (gap > membrane)] = 0
    gray = _cytoplasm(grid, labels, gap / np.float32(membrane), rng)
    mitochondria = _mitochondria(grid, gray, gap, cell, rng)
    gray -= np.where(mitochondria, 0, _vesicles(grid, gap, cell, rng))
    classes = (labels > 0).astype(np.uint8) + mitochondria
    return Phantom(_microscope(grid, gray, rng)[None], labels, classes, grid.spacing)


KINDS = {"nuclei": nuclei, "tissue": tissue}


def write_set(
    folder: str | Path,
    kind: str,
    *,
    shape: Sequence[int],
    count: int,
    labeled: int | None = None,
    seed: int = 0,
    spacing: Sequence[float] | None = None,
) -> Path:
    """Write ``images/``, ``labels/`` (instances) and ``classes/`` as TIFF files of equal stems.

    Args:
        folder: is made where it does not exist.
        kind: "nuclei" or "tissue".
        shape: voxels along every axis.
        count: number of images.
        labeled: how many of them, the first ones, get truth; default: all.
        seed: images with the same seed and index are equal, whatever ``count`` is.
        spacing: voxel sizes; default 1 on every axis.

    Raises:
        DataError: there is no such kind.
    """
    if kind not in KINDS:
        raise DataError(f"kind={kind!r}: expected one of {', '.join(KINDS)}. Choose one of them.")
    folder = Path(folder)
    for index in range(count):
        rng = generator(seed, f"phantom {kind}", index)
        sample = KINDS[kind](shape, rng=rng, spacing=spacing)
        arrays = {"images": sample.image}
        if labeled is None or index < labeled:
            arrays |= {"labels": sample.labels[None], "classes": sample.classes[None]}
        for part, array in arrays.items():
            file = folder / part / f"{kind}_{index:03d}.tif"
            save_image(file, array, spacing=sample.spacing)
    return folder


def _grid(shape: Sequence[int], spacing: Sequence[float] | None) -> Grid:
    size = tuple(int(n) for n in shape)
    if not size or min(size) < 1:
        raise DataError(
            f"phantom: expected a positive length for each axis, found {size}. Give for example "
            "(256, 256)."
        )
    return Grid(size, check_spacing(spacing, len(size), source="phantom") or (1.0,) * len(size))


def _scattered(grid: Grid, diameter: float, density: float, rng: np.random.Generator) -> Bodies:
    """Nuclei in loose clusters: each new one is placed freely or against one that stands."""
    ndim, margin = len(grid.shape), diameter / 2
    # A ball fills about 0.8 ** (n - 1) of its cube.
    room = float(np.prod(grid.extent + margin)) / (diameter**ndim * 0.8 ** (ndim - 1))
    count = max(1, round(density * room))
    centers = np.zeros((count, ndim))
    radii = margin * np.exp(0.18 * rng.standard_normal(count))
    placed = 0
    for _ in range(20 * count):
        if placed == count:
            break
        if placed and rng.random() < 0.6:
            neighbor = rng.integers(placed)
            direction = rng.standard_normal(ndim)
            away = (radii[placed] + radii[neighbor]) * rng.uniform(0.85, 1.1)
            center = centers[neighbor] + direction / np.linalg.norm(direction) * away
        else:
            center = rng.uniform(-margin / 2, grid.extent + margin / 2)
        apart = np.linalg.norm(centers[:placed] - center, axis=1)
        free = np.all(apart > 0.85 * (radii[:placed] + radii[placed]))
        if free and np.all((center > -margin) & (center < grid.extent + margin)):
            centers[placed] = center
            placed += 1
    return ellipsoids(centers[:placed], radii[:placed], elongation=1.35, reach=1.6, rng=rng)


def _packed(grid: Grid, cell: float, rng: np.random.Generator) -> Bodies:
    """Cells that fill the space: a jittered lattice of bodies of different size and direction."""
    axes = [np.arange(-1.0, np.ceil(length / cell) + 1.5) * cell for length in grid.extent]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    centers = lattice + rng.uniform(-0.4, 0.4, lattice.shape) * cell
    radii = cell / 2 * np.exp(0.28 * rng.standard_normal(len(centers)))
    bodies = ellipsoids(centers, radii, elongation=1.5, reach=1.0, rng=rng)
    # The lattice leaves no voxel further than 1.4 cells from a center, warp included.
    return Bodies(bodies.center, bodies.form, np.full(len(centers), 1.6 * cell))


def _among(
    grid: Grid,
    voxels: NDArray[np.intp],
    count: int,
    *,
    radius: float,
    elongation: float,
    rng: np.random.Generator,
) -> Bodies:
    """``count`` bodies centerd on some of the ``voxels`` (flat indices)."""
    chosen = rng.choice(voxels, count) if voxels.size else voxels
    index = np.stack(np.unravel_index(chosen, grid.shape), axis=1)
    center = index.astype(np.float64) * grid.spacing
    radii = radius * np.exp(0.25 * rng.standard_normal(len(center)))
    return ellipsoids(center, radii, elongation=elongation, reach=2.0, rng=rng)


def _blur(grid: Grid, image: Floats, sigma: float, *, axial: float = 1.0) -> Floats:
    """Gaussian blur; axes slower than the last two are blurred ``axial`` times as much."""
    wide = [axial] * (len(grid.shape) - 2) + [1.0, 1.0]
    sigmas = [sigma * a / h for a, h in zip(wide[-len(grid.shape) :], grid.spacing, strict=True)]
    blurred = ndimage.gaussian_filter(image, sigmas, mode="nearest", truncate=3.0)
    return np.asarray(blurred, np.float32)


def _fluorescence(
    grid: Grid, labels: Labels, distance: Floats, diameter: float, rng: np.random.Generator
) -> Floats:
    """Light of nuclei before the microscope: level, thickness, chromatin, nucleoli, glow."""
    each = int(labels.max()) + 1
    level = np.exp(rng.uniform(0.15, 0.5) * rng.standard_normal(each)).astype(np.float32)
    level[0] = 0
    grain = np.exp(0.4 * rng.standard_normal(each)).astype(np.float32)[labels]
    fine = field(grid, 0.07 * diameter, rng)
    coarse = field(grid, 0.2 * diameter, rng)
    chromatin = np.clip(1 + grain * (0.14 * fine + 0.12 * coarse), 0.15, None)
    nucleoli = 1 - 0.4 / (1 + np.exp(np.clip(8 * (1.5 - coarse), -30, 30)))
    thickness = np.clip(1 - distance**2, 0, 1) ** 0.3
    glow = 0.04 * np.clip(1 - distance / 2, 0, 1) ** 2
    return level[labels] * chromatin * nucleoli * thickness + glow


def _camera(
    grid: Grid, light: Floats, diameter: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Blur, haze from other planes, uneven illumination, shot and read noise, 8 bits."""
    sharp = _blur(grid, light, rng.uniform(0.6, 1.3), axial=2.0)
    haze = light
    for axis, step in enumerate(grid.spacing):
        width = max(1, round(1.5 * diameter / step))
        for _ in range(2):
            haze = ndimage.uniform_filter1d(haze, width, axis)
    lamp = np.exp(0.22 * field(grid, 0.6 * float(grid.extent.max()), rng))
    scene = (sharp + rng.uniform(0.05, 0.3) * haze + rng.uniform(0.01, 0.08)) * lamp
    photons = np.exp(rng.uniform(np.log(30), np.log(300)))
    counts = rng.poisson(scene * photons).astype(np.float32)
    counts += np.float32(rng.uniform(1, 3)) * rng.standard_normal(grid.shape, dtype=np.float32)
    # An exposure that uses some of the range, as people choose it; bright spots may saturate.
    full = float(np.percentile(scene, 99.8)) * photons / rng.uniform(0.6, 1.1)
    return _eight_bit(counts / np.float32(full) + np.float32(rng.uniform(0.01, 0.05)))


def _cytoplasm(grid: Grid, labels: Labels, gap: Floats, rng: np.random.Generator) -> Floats:
    """Gray value of cells and membranes, 1 is bright; ``gap`` is in units of ``membrane``."""
    level = 0.74 + 0.05 * rng.standard_normal(int(labels.max()) + 1, dtype=np.float32)
    gray = level[labels] + 0.055 * field(grid, 1.8, rng) + 0.035 * field(grid, 6.0, rng)
    contrast = np.clip(0.52 + 0.09 * field(grid, 25.0, rng), 0.25, 0.65)
    return gray - contrast * np.exp(-0.7 * gap**2)


def _mitochondria(
    grid: Grid, gray: Floats, gap: Floats, cell: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Darken ``gray`` where mitochondria lie, with a rim and folds; return where that is."""
    count = 1 + int(rng.poisson(0.8 * grid.volume / cell ** len(grid.shape)))
    room = np.flatnonzero(gap > 0.09 * cell)
    bodies = _among(grid, room, count, radius=0.19 * cell, elongation=1.7, rng=rng)
    distance = paint(grid, bodies).first
    inside = (distance < 1) & (gap > 0.055 * cell)
    folds = np.sin(5 * field(grid, 0.16 * cell, rng))
    rim = np.exp(-(((np.minimum(distance, 2) - 0.93) / 0.08) ** 2))
    gray[inside] += (0.08 * folds - 0.16 * rim - 0.3)[inside]
    return inside


def _vesicles(grid: Grid, gap: Floats, cell: float, rng: np.random.Generator) -> Floats:
    """Darkness of small shells inside cells."""
    count = int(rng.poisson(4 * grid.volume / cell ** len(grid.shape)))
    room = np.flatnonzero(gap > 0.09 * cell)
    bodies = _among(grid, room, count, radius=2.4, elongation=1.2, rng=rng)
    distance = np.minimum(paint(grid, bodies).first, 2)
    return 0.22 * np.exp(-(((distance - 0.9) / 0.3) ** 2))


def _microscope(grid: Grid, gray: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, staining that varies over the field and between sections, noise, 8 bits."""
    image = _blur(grid, gray, rng.uniform(0.5, 0.8))
    image += 0.05 * field(grid, 0.5 * float(grid.extent.max()), rng)
    # One draw for each section; an image of one or two axes is a single section.
    sections = grid.shape[:-2] + (1, 1)[: len(grid.shape)]
    image *= 1 + 0.02 * rng.standard_normal(sections, dtype=np.float32)
    fine = rng.standard_normal(grid.shape, dtype=np.float32)
    grain = field(Grid(grid.shape, (1.0,) * len(grid.shape)), 1.4, rng)
    image += np.float32(rng.uniform(0.035, 0.085)) * (0.8 * fine + 0.6 * grain)
    return _eight_bit(image)


def _eight_bit(image: Floats) -> NDArray[np.uint8]:
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
