"""Random bodies and smooth fields on a grid of any number of axes: what phantoms are made of.

All lengths are physical, that is voxels times ``spacing``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from unmask.labels.components import connected_components
from unmask.space.box import Box

# Mean over all phases of the sum of squared cubic B-spline weights.
SPLINE_POWER = 151 / 315
_SMALLEST = 8  # voxels; smaller scraps are not objects

Floats = NDArray[np.floating]
Labels = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Grid:
    """Where something is drawn: voxels and voxel size along every axis."""

    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    @property
    def extent(self) -> NDArray[np.float64]:
        """Length along every axis."""
        return np.asarray(self.shape) * np.asarray(self.spacing)

    @property
    def volume(self) -> float:
        """Length, area or volume."""
        return prod(self.extent.tolist())

    def box(self, center: NDArray[np.float64], reach: float) -> Box:
        """Voxels within ``reach`` of ``center`` along every axis, inside the grid."""
        start = np.floor((center - reach) / self.spacing).astype(int)
        stop = np.ceil((center + reach) / self.spacing).astype(int) + 1
        return Box(tuple(start.tolist()), tuple(stop.tolist())).clip(Box.of(self.shape))


@dataclass(frozen=True)
class Bodies:
    """Ellipsoids: a point x lies inside body i where ``|form[i] @ (x - center[i])| < 1``.

    Attributes:
        center: ``(N, n)``.
        form: ``(N, n, n)``.
        reach: ``(N,)`` half-width of the box in which the body is drawn.
    """

    center: NDArray[np.float64]
    form: NDArray[np.float64]
    reach: NDArray[np.float64]


@dataclass(frozen=True)
class Canvas:
    """What ``paint`` leaves.

    Attributes:
        owner: index of the nearest body + 1; 0 where no body reaches.
        first: distance to it in units of its radius; 1e6 where no body reaches.
        second: distance to the second nearest.
    """

    owner: NDArray[np.int32]
    first: Floats
    second: Floats


def field(grid: Grid, scale: float, rng: np.random.Generator) -> Floats:
    """Smooth Gaussian field of mean 0 and variance 1 that changes over about ``scale``.

    A cubic B-spline with random coefficients (Unser, Aldroubi & Eden 1993,
    doi:10.1109/78.193220); one small matrix product for each axis.
    """
    steps = np.maximum(scale / np.asarray(grid.spacing), 1.0).tolist()
    knots = [ceil((n - 1) / step) + 4 for n, step in zip(grid.shape, steps, strict=True)]
    values = rng.standard_normal(knots, dtype=np.float32)
    for axis, (n, step) in enumerate(zip(grid.shape, steps, strict=True)):
        at = np.arange(n) / step + 1 + rng.random()
        weights = _spline_weights(at, knots[axis])
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    return np.ascontiguousarray(values) / np.float32(SPLINE_POWER ** (len(knots) / 2))


def _spline_weights(at: NDArray[np.float64], knots: int) -> Floats:
    """``(len(at), knots)`` cubic B-spline weights; only four in a row are not zero."""
    weights = np.zeros((len(at), knots), np.float32)
    rows = np.arange(len(at))[:, None]
    columns = np.floor(at).astype(np.int64)[:, None] + np.arange(-1, 3)
    x = np.abs(at[:, None] - columns)
    near = 2 / 3 - x**2 + x**3 / 2
    far = np.clip(2 - x, 0, None) ** 3 / 6
    valid = (columns >= 0) & (columns < knots)
    weights[(rows + 0 * columns)[valid], columns[valid]] = np.where(x < 1, near, far)[valid]
    return weights


def displacement(grid: Grid, scale: float, size: float, rng: np.random.Generator) -> Floats:
    """``(n, *space)`` vectors of about ``size`` along each axis, smooth over ``scale``."""
    return np.stack([np.float32(size) * field(grid, scale, rng) for _ in grid.shape])


def paint(grid: Grid, bodies: Bodies, warp: Floats | None = None) -> Canvas:
    """Draw bodies; where they meet, a voxel belongs to the one it is relatively nearest to.

    Args:
        grid: where to draw.
        bodies: what to draw.
        warp: ``(n, *space)`` displacement of every voxel, which bends the bodies.
    """
    owner = np.zeros(grid.shape, np.int32)
    first = np.full(grid.shape, 1e6, np.float32)
    second = first.copy()
    forms = bodies.form.astype(np.float32)
    for index, (center, reach) in enumerate(zip(bodies.center, bodies.reach, strict=True)):
        inside = grid.box(center, reach).slices
        axes = [
            (np.arange(s.start, s.stop) * h - c).astype(np.float32)
            for s, h, c in zip(inside, grid.spacing, center, strict=True)
        ]
        offset = np.stack(np.meshgrid(*axes, indexing="ij"))
        if warp is not None:
            offset += warp[:, *inside]
        distance = np.sqrt(np.sum(np.tensordot(forms[index], offset, 1) ** 2, axis=0))
        nearest = first[inside]
        owner[inside][distance < nearest] = index + 1
        second[inside] = np.minimum(second[inside], np.maximum(nearest, distance))
        first[inside] = np.minimum(nearest, distance)
    return Canvas(owner, first, second)


def ellipsoids(
    center: NDArray[np.float64],
    radius: NDArray[np.float64],
    *,
    elongation: float,
    reach: float,
    rng: np.random.Generator,
) -> Bodies:
    """Bodies of given mean radius, stretched along random directions.

    Args:
        center: ``(N, n)``.
        radius: ``(N,)``.
        elongation: largest factor by which an axis is longer or shorter.
        reach: half-width of the drawing box in units of the longest half-axis.
        rng: draws directions and lengths.
    """
    count, ndim = center.shape
    turn = np.linalg.qr(rng.standard_normal((count, ndim, ndim)))[0]
    stretch = elongation ** rng.uniform(-1, 1, (count, ndim))
    stretch /= np.prod(stretch, axis=1, keepdims=True) ** (1 / ndim)
    half = radius[:, None] * stretch
    return Bodies(center, turn.swapaxes(1, 2) / half[:, :, None], half.max(axis=1) * reach)


def solid(owner: NDArray[np.int32], smallest: int = _SMALLEST) -> Labels:
    """Consecutive labels: the largest piece of each body stays, scraps become background.

    Args:
        owner: ``(*space)`` body indices; 0 is background.
        smallest: bodies whose largest piece has fewer voxels are left out.

    Returns:
        uint16, or uint32 if there are more bodies than uint16 can number.
    """
    pieces = connected_components(owner, connectivity=1).ravel()
    sizes = np.bincount(pieces)
    bodies = np.zeros(len(sizes), np.int64)
    bodies[pieces] = owner.ravel()
    # Stable: of two equally large pieces the first in raster order stays.
    order = np.lexsort((-sizes, bodies))
    first = np.flatnonzero(np.diff(bodies[order], prepend=-1))
    chosen = order[first]
    chosen = chosen[(bodies[chosen] > 0) & (sizes[chosen] >= smallest)]
    numbers = np.zeros(len(sizes), np.uint16 if len(chosen) < 2**16 else np.uint32)
    numbers[chosen] = np.arange(1, len(chosen) + 1)
    return numbers[pieces].reshape(owner.shape)


def separate(owner: NDArray[np.int32], smallest: int = _SMALLEST) -> Labels:
    """Consecutive labels, one for every connected piece; pieces that are too small are removed.

    Args:
        owner: ``(*space)`` body indices; 0 is background. Touching bodies stay apart.
        smallest: pieces with fewer voxels become background.

    Returns:
        uint16, or uint32 if there are more pieces than uint16 can number.
    """
    pieces = connected_components(owner, connectivity=1)
    kept = np.flatnonzero(np.bincount(pieces.ravel())[1:] >= smallest) + 1
    numbers = np.zeros(
        int(pieces.max(initial=0)) + 1, np.uint16 if len(kept) < 2**16 else np.uint32
    )
    numbers[kept] = np.arange(1, len(kept) + 1)
    return numbers[pieces]
