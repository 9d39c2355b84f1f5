"""Random bodies and smooth fields on a grid of any number of axes: what phantoms are made of.

All lengths are physical, that is voxels times ``spacing``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unmask.space.box import Box

# Mean over all phases of the sum of squared cubic B-spline weights.
_SPLINE_POWER = 151 / 315
_SMALLEST = 8  # voxels; smaller scraps are no objects

Floats = NDArray[np.floating]


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

    def box(self, centre: NDArray[np.float64], reach: float) -> Box:
        """Voxels within ``reach`` of ``centre`` along every axis, inside the grid."""
        start = np.floor((centre - reach) / self.spacing).astype(int)
        stop = np.ceil((centre + reach) / self.spacing).astype(int) + 1
        return Box(tuple(start.tolist()), tuple(stop.tolist())).clip(Box.of(self.shape))


@dataclass(frozen=True)
class Bodies:
    """Ellipsoids: a point x lies inside body i where ``|form[i] @ (x - centre[i])| < 1``.

    Attributes:
        centre: ``(N, n)``.
        form: ``(N, n, n)``.
        reach: ``(N,)`` half-width of the box in which the body is drawn.
    """

    centre: NDArray[np.float64]
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
        weights = _spline(at[:, None] - np.arange(knots[axis]))
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    return np.ascontiguousarray(values) / np.float32(_SPLINE_POWER ** (len(knots) / 2))


def _spline(x: NDArray[np.float64]) -> Floats:
    """Cubic B-spline."""
    x = np.abs(x)
    near = 2 / 3 - x**2 + x**3 / 2
    far = np.clip(2 - x, 0, None) ** 3 / 6
    return np.where(x < 1, near, far).astype(np.float32)


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
    for index, (centre, reach) in enumerate(zip(bodies.centre, bodies.reach, strict=True)):
        inside = grid.box(centre, reach).slices
        axes = [
            (np.arange(s.start, s.stop) * h - c).astype(np.float32)
            for s, h, c in zip(inside, grid.spacing, centre, strict=True)
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
    centre: NDArray[np.float64],
    radius: NDArray[np.float64],
    *,
    elongation: float,
    reach: float,
    rng: np.random.Generator,
) -> Bodies:
    """Bodies of given mean radius, stretched along random directions.

    Args:
        centre: ``(N, n)``.
        radius: ``(N,)``.
        elongation: largest factor by which an axis is longer or shorter.
        reach: half-width of the drawing box in units of the longest half-axis.
        rng: draws directions and lengths.
    """
    count, ndim = centre.shape
    turn = np.linalg.qr(rng.standard_normal((count, ndim, ndim)))[0]
    stretch = elongation ** rng.uniform(-1, 1, (count, ndim))
    stretch /= np.prod(stretch, axis=1, keepdims=True) ** (1 / ndim)
    half = radius[:, None] * stretch
    return Bodies(centre, turn.swapaxes(1, 2) / half[:, :, None], half.max(axis=1) * reach)


def solid(owner: NDArray[np.int32]) -> NDArray[np.unsignedinteger]:
    """Consecutive labels: of a body in several pieces the largest stays, scraps go.

    Returns:
        uint16, or uint32 where there are more bodies than uint16 can number.
    """
    labels = np.zeros(owner.shape, np.uint32)
    count = 0
    for value, box in enumerate(ndimage.find_objects(owner), start=1):
        if box is None:
            continue
        pieces = np.zeros(labels[box].shape, np.int32)
        ndimage.label(owner[box] == value, output=pieces)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        if sizes.max() >= _SMALLEST:
            count += 1
            labels[box][pieces == sizes.argmax()] = count
    return labels.astype(np.uint16) if count < 2**16 else labels
