"""Where objects lie: loose clusters, lattices, bent paths, colonies of rods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.phantoms.bodies import Bodies, Grid
from unmask.phantoms.painting import Seeds

Points = NDArray[np.float64]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of ``low`` and ``high``."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def fitting_diameter(grid: Grid, limits: tuple[float, float], rng: np.random.Generator) -> float:
    """A log-uniform diameter within ``limits``; at most half of the longer side of a section."""
    high = max(limits[0], min(limits[1], 0.5 * float(grid.extent[-2:].max())))
    return log_uniform(rng, limits[0], high)


def count_for(grid: Grid, diameter: float, density: float) -> int:
    """Number of balls of a diameter that cover about the share ``density`` of the grid."""
    n = len(grid.shape)
    room = float(np.prod(grid.extent + diameter / 2))
    # A ball fills about 0.8 ** (n - 1) of its cube.
    return max(1, round(density * room / (diameter**n * 0.8 ** (n - 1))))


def scatter(
    grid: Grid,
    radius: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    clustering: float = 0.6,
    nearest: float = 0.85,
) -> Points:
    """Centers of balls that hardly overlap, some free and some against one that is placed.

    Args:
        grid: centers may lie outside by half a radius, so that objects cross the border.
        radius: ``(N,)``; if there is no room, the last ones are not placed.
        rng: draws positions.
        clustering: share of balls that are put against another one.
        nearest: smallest distance of two centers in units of the sum of their radii.

    Returns:
        ``(M, n)`` with ``M <= N``.
    """
    n, count = len(grid.shape), len(radius)
    tries = 8 * count + 8
    margin = float(radius.mean()) / 2 if count else 0.0
    free = rng.uniform(-margin, grid.extent + margin, (tries, n))
    direction = rng.standard_normal((tries, n))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    chance = rng.random((tries, 3))
    return _scatter(
        free, direction, chance, radius, grid.extent + margin, margin, clustering, nearest
    )


@njit(cache=True, nogil=True)
def _scatter(
    free: Points,
    direction: Points,
    chance: Points,
    radius: NDArray[np.float64],
    limit: NDArray[np.float64],
    margin: float,
    clustering: float,
    nearest: float,
) -> Points:
    count, n = len(radius), free.shape[1]
    centers = np.zeros((count, n))
    center = np.zeros(n)
    placed = 0
    for attempt in range(len(free)):
        if placed == count:
            break
        center[:] = free[attempt]
        if placed and chance[attempt, 0] < clustering:
            neighbor = int(chance[attempt, 1] * placed)
            away = nearest + (1.12 - nearest) * chance[attempt, 2]
            away *= radius[placed] + radius[neighbor]
            center[:] = centers[neighbor] + direction[attempt] * away
        fits = True
        for a in range(n):
            fits = fits and -margin <= center[a] <= limit[a]
        for i in range(placed):
            if not fits:
                break
            total = 0.0
            for a in range(n):
                total += (center[a] - centers[i, a]) ** 2
            fits = total >= (nearest * (radius[placed] + radius[i])) ** 2
        if fits:
            centers[placed] = center
            placed += 1
    return centers[:placed]


def far_apart(center: Points, radius: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which balls stay if every ball that meets an earlier one that stays is removed."""
    kept = np.zeros(len(center), np.bool_)
    for i in range(len(center)):
        apart = np.linalg.norm(center[:i][kept[:i]] - center[i], axis=1)
        kept[i] = bool(np.all(apart >= radius[:i][kept[:i]] + radius[i]))
    return kept


def lattice_seeds(
    grid: Grid,
    step: float,
    rng: np.random.Generator,
    *,
    jitter: float = 0.38,
    spread: float = 0.25,
    stretch: NDArray[np.float64] | None = None,
) -> Seeds:
    """One seed per cell of a lattice that covers the grid and two steps around it.

    Args:
        grid: what to cover.
        step: distance of lattice planes.
        rng: draws positions and weights.
        jitter: largest displacement of a seed, in steps; below 0.5.
        spread: variation of the weights, in squared steps.
        stretch: factor on ``step`` per axis.
    """
    n = len(grid.shape)
    steps = np.full(n, step) * (1.0 if stretch is None else stretch)
    rotation = orthonormal(1, n, rng)[0]
    if grid.extent.max() > 2 * grid.extent.min():
        # The box that holds a long grid in any direction would have too many seeds: rotate only
        # about the long axis.
        rotation = np.eye(n)
        rotation[-2:, -2:] = orthonormal(1, 2, rng)[0]
    # The box that holds the rotated grid.
    size = np.abs(rotation) @ grid.extent
    counts = (np.ceil(size / steps) + 4).astype(int)
    axes = [
        (np.arange(count) - (count - 1) / 2) * length
        for count, length in zip(counts, steps, strict=True)
    ]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, n)
    at += rng.uniform(-jitter, jitter, at.shape) * steps
    weight = spread * step**2 * rng.uniform(-1, 1, len(at))
    group = np.arange(1, len(at) + 1)
    return Seeds(at, weight, group, tuple(counts.tolist()), steps, rotation, grid.extent / 2)


def near_grid(grid: Grid, points: Points, margin: float) -> NDArray[np.bool_]:
    """Whether points lie on the grid or within ``margin`` of it."""
    return np.all((points > -margin) & (points < grid.extent + margin), axis=1)


def value_at(grid: Grid, image: NDArray[Any], points: Points) -> NDArray[Any]:
    """Values of an image at points; outside the grid, at the nearest voxel."""
    index = np.clip((points / grid.spacing).astype(int), 0, np.array(grid.shape) - 1)
    return image[tuple(index.T)]


def merge_seeds(grid: Grid, seeds: Seeds, share: float, rng: np.random.Generator) -> Seeds:
    """Join a share of the seeds: pairs of neighbors, and balls of seeds that become large cells."""
    group = seeds.group.reshape(seeds.lattice).copy()
    n = group.ndim
    for _ in range(2):
        axis = int(rng.integers(n))
        joined = rng.random(group.shape) < share / 2
        group = np.where(joined, np.roll(group, 1, axis), group)
    steps = (seeds.at / seeds.step).reshape(*seeds.lattice, n)
    chosen = near_grid(grid, seeds.centers, float(seeds.step.max()))
    chosen &= rng.random(len(chosen)) < 0.04 * share
    for index in np.argwhere(chosen.reshape(seeds.lattice)):
        window = tuple(slice(max(0, i - 2), i + 3) for i in index)
        radius = rng.uniform(0.9, 1.9) * rng.uniform(0.7, 1.4, n)
        offset = (steps[window] - steps[tuple(index)]) / radius
        group[window][np.sum(offset**2, axis=-1) < 1] = group[tuple(index)]
    return replace(seeds, group=group.ravel())


def random_ellipsoids(
    center: Points,
    radius: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    elongation: float = 1.35,
    reach: float = 1.35,
) -> Bodies:
    """Ellipsoids of given mean radius with random directions and lengths of axes.

    Args:
        center: ``(N, n)``.
        radius: ``(N,)``.
        rng: draws directions and lengths.
        elongation: largest factor by which a half-axis is longer or shorter than the mean.
        reach: half-width of the box that is drawn, in units of the longest half-axis.
    """
    count, n = center.shape
    rotation = orthonormal(count, n, rng)
    stretch = elongation ** rng.uniform(-1, 1, (count, n))
    stretch /= np.prod(stretch, axis=1, keepdims=True) ** (1 / n)
    half = radius[:, None] * stretch
    longest = half.max(axis=1, initial=0)
    return Bodies(center, rotation / half[:, :, None], longest * reach)


def orthonormal(count: int, n: int, rng: np.random.Generator) -> Points:
    """``(count, n, n)`` random orthogonal matrices by Gram-Schmidt.

    ``numpy.linalg.qr`` calls LAPACK once per matrix, which takes longer than painting an ellipsoid.
    """
    rows = rng.standard_normal((count, n, n))
    for i in range(n):
        for j in range(i):
            rows[:, i] -= np.sum(rows[:, i] * rows[:, j], axis=1, keepdims=True) * rows[:, j]
        rows[:, i] /= np.linalg.norm(rows[:, i], axis=1, keepdims=True)
    return rows


def planes(count: int, n: int, rng: np.random.Generator, flat: float = 1.0) -> Points:
    """``(count, 2, n)`` pairs of orthogonal unit vectors; ``flat`` < 1 shrinks the first axes.

    In two axes they span the image; in more, each pair spans a random plane.
    """
    pairs = rng.standard_normal((count, n, 2))
    pairs[:, : max(0, n - 2)] *= flat
    return np.linalg.qr(pairs)[0].swapaxes(1, 2)


def bent_paths(
    middle: Points,
    length: NDArray[np.float64],
    bend: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    points: int = 12,
    flat: float = 1.0,
) -> Points:
    """Smooth curves in random planes whose direction turns along the way.

    Args:
        middle: ``(N, n)`` center of each curve.
        length: ``(N,)``.
        bend: ``(N,)`` how far the direction turns, in radians.
        rng: draws the curves.
        points: number of points per curve.
        flat: below 1, the curves lie closer to the plane of the last two axes.

    Returns:
        ``(N, points, n)``.
    """
    count, n = middle.shape
    t = np.linspace(0, 1, points - 1)
    waves = rng.uniform(0.3, 1.1, (count, 1)) * 2 * np.pi
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    swing = np.sin(waves * t + phase) + rng.uniform(-0.5, 0.5, (count, 1)) * t
    angle = rng.uniform(0, 2 * np.pi, (count, 1)) + bend[:, None] / 2 * swing
    u, v = planes(count, n, rng, flat).swapaxes(0, 1)
    steps = np.cos(angle)[..., None] * u[:, None] + np.sin(angle)[..., None] * v[:, None]
    steps *= (length / (points - 1))[:, None, None]
    path = np.concatenate([np.zeros((count, 1, n)), np.cumsum(steps, axis=1)], axis=1)
    return path - path.mean(axis=1, keepdims=True) + middle[:, None]
