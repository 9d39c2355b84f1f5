"""Compiled painters of ellipsoids, tubes and tessellations on a grid of any number of axes.

The painters take flat arrays and lists of shapes. A box around each shape is visited, so the cost
depends on the voxels that shapes cover, not on their number times the size of the image. The same
loops in NumPy need about 80 us per shape for the calls alone, which is too slow for images with
hundreds of objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.phantoms.bodies import Bodies, Floats, Grid

FAR = 1e6

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Painted:
    """Which shape owns each voxel, and where in the shape the voxel lies.

    Attributes:
        owner: ``(*space)`` shape number, starting at 1; 0 is background.
        depth: 0 at the middle of the shape, 1 at its surface; outside, for ellipsoids, the
            smallest value over all shapes whose box covers the voxel, else 1e6.
        along: for tubes, position along the tube from 0 to 1.
        over: for tubes, ``(K, 2)`` pairs of shapes of which the first covers a part of the second.
    """

    owner: NDArray[np.int32]
    depth: Floats
    along: Floats
    over: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))


@dataclass(frozen=True)
class Tubes:
    """Chains of cones with round ends: a chain of ``P`` points with a radius at each.

    Attributes:
        points: ``(N, P, n)``.
        radius: ``(N, P)``.
        owner: ``(N,)`` number of the object that the chain belongs to, ascending.
    """

    points: NDArray[np.float64]
    radius: NDArray[np.float64]
    owner: NDArray[np.int64]


@dataclass(frozen=True)
class Seeds:
    """Seeds of a tessellation, one per cell of a lattice.

    Attributes:
        at: ``(K, n)`` positions in the frame of the lattice, in C order.
        weight: ``(K,)`` squared lengths; a larger one gives a larger cell.
        group: ``(K,)`` numbers, starting at 1; neighbors of the same group are one cell.
        lattice: number of seeds per axis.
        step: distance of lattice planes per axis.
        rotation: ``(n, n)`` from the grid to the frame of the lattice, which keeps rows of cells
            from following the axes of the image.
        middle: ``(n,)`` point of the grid about which the lattice is rotated.
    """

    at: NDArray[np.float64]
    weight: NDArray[np.float64]
    group: NDArray[np.int64]
    lattice: tuple[int, ...]
    step: NDArray[np.float64]
    rotation: NDArray[np.float64]
    middle: NDArray[np.float64]

    @property
    def centers(self) -> NDArray[np.float64]:
        """Positions of the seeds on the grid."""
        return self.at @ self.rotation + self.middle


def paint_ellipsoids(
    grid: Grid, bodies: Bodies, warp: Floats | None = None, *, stacked: bool = False
) -> Painted:
    """Draw ellipsoids; where two meet, the voxel belongs to the relatively nearer one.

    Args:
        grid: where to draw.
        bodies: what to draw.
        warp: ``(n, *space)`` displacement of every voxel, which bends the bodies.
        stacked: a later body lies on top of earlier ones instead.
    """
    painted = _blank(grid)
    low, high = _boxes(grid, bodies.center, bodies.reach[:, None])
    _ellipsoids(
        painted.owner.reshape(-1), painted.depth.reshape(-1), np.array(grid.shape),
        np.array(grid.spacing), bodies.center.astype(np.float64), bodies.form, low, high,
        _flat(grid, warp), stacked,
    )  # fmt: skip
    return painted


def paint_tubes(grid: Grid, tubes: Tubes, warp: Floats | None = None) -> Painted:
    """Draw tubes in the order of ``owner``: a later object lies on top of earlier ones."""
    painted = _blank(grid)
    n = len(grid.shape)
    start = tubes.points[:, :-1].reshape(-1, n)
    stop = tubes.points[:, 1:].reshape(-1, n)
    radii = np.stack([tubes.radius[:, :-1].ravel(), tubes.radius[:, 1:].ravel()], axis=1)
    steps = tubes.points.shape[1] - 1
    along = np.tile(np.arange(steps) / max(1, steps), len(tubes.points))
    # A warp moves voxels by up to its largest value.
    slack = 0.0 if warp is None else np.abs(_flat(grid, warp)).max(axis=1, initial=0)
    reach = np.abs(stop - start) / 2 + radii.max(axis=1, initial=0)[:, None] + slack
    low, high = _boxes(grid, (start + stop) / 2, reach)
    over = _cones(
        painted.owner.reshape(-1), painted.depth.reshape(-1), painted.along.reshape(-1),
        np.array(grid.shape), np.array(grid.spacing), start, stop, radii,
        np.repeat(tubes.owner, steps), along, 1 / max(1, steps), low, high, _flat(grid, warp),
    )  # fmt: skip
    return replace(painted, over=np.unique(over, axis=0))


def paint_cells(
    grid: Grid, seeds: Seeds, warp: Floats | None = None
) -> tuple[NDArray[np.int32], Floats]:
    """Divide the space into cells (a power diagram; Aurenhammer 1987, doi:10.1137/0216006).

    Returns:
        ``(*space)`` group of the nearest seed, and the distance to the wall between it and the
        nearest other cell.
    """
    owner = np.zeros(grid.shape, np.int32)
    gap = np.zeros(grid.shape, np.float32)
    around = np.array(list(product((-1, 0, 1), repeat=len(grid.shape))), np.int64)
    _power_diagram(
        owner.reshape(-1), gap.reshape(-1), np.array(grid.shape), np.array(grid.spacing),
        seeds.at, seeds.weight, seeds.group, np.array(seeds.lattice), seeds.step, seeds.rotation,
        seeds.middle, around, _flat(grid, warp),
    )  # fmt: skip
    return owner, gap


def _blank(grid: Grid) -> Painted:
    return Painted(
        np.zeros(grid.shape, np.int32),
        np.full(grid.shape, FAR, np.float32),
        np.zeros(grid.shape, np.float32),
    )


def _flat(grid: Grid, warp: Floats | None) -> Floats:
    """``(n, voxels)``, or ``(n, 0)`` without a warp."""
    n = len(grid.shape)
    if warp is None:
        return np.zeros((n, 0), np.float32)
    return np.ascontiguousarray(warp, np.float32).reshape(n, -1)


def _boxes(
    grid: Grid, center: NDArray[np.float64], reach: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First voxel, and the one after the last, within ``reach`` of each center."""
    limit = np.array(grid.shape)
    low = np.floor((center - reach) / grid.spacing).astype(np.int64)
    high = np.ceil((center + reach) / grid.spacing).astype(np.int64) + 1
    return np.clip(low, 0, limit), np.clip(high, 0, limit)


@njit(cache=True, nogil=True)
def _row(
    row: int,
    low: Ints,
    high: Ints,
    shape: Ints,
    index: Ints,
) -> int:
    """Set ``index`` of all axes but the last for a row of a box; return where the row begins."""
    last = len(shape) - 1
    for axis in range(last - 1, -1, -1):
        size = high[axis] - low[axis]
        index[axis] = low[axis] + row % size
        row //= size
    flat = 0
    for axis in range(last):
        flat = flat * shape[axis] + index[axis]
    return flat * shape[last]


@njit(cache=True, nogil=True)
def _rows(
    low: Ints,
    high: Ints,
) -> int:
    """Number of rows of a box."""
    rows = 1
    for axis in range(len(low) - 1):
        rows *= high[axis] - low[axis]
    return rows


@njit(cache=True, nogil=True)
def _ellipsoids(  # noqa: PLR0913 - a kernel: flat arrays in, no objects
    owner: NDArray[np.int32],
    depth: Floats,
    shape: Ints,
    spacing: Reals,
    center: Reals,
    form: Reals,
    low: Ints,
    high: Ints,
    warp: Floats,
    stacked: bool,  # noqa: FBT001 - kernels take no keywords
) -> None:
    n = len(shape)
    index = np.zeros(n, np.int64)
    offset = np.zeros(n)
    for body in range(len(center)):
        for row in range(_rows(low[body], high[body])):
            begin = _row(row, low[body], high[body], shape, index)
            for x in range(low[body, n - 1], high[body, n - 1]):
                voxel = begin + x
                index[n - 1] = x
                for a in range(n):
                    offset[a] = index[a] * spacing[a] - center[body, a]
                    if warp.shape[1] > 0:
                        offset[a] += warp[a, voxel]
                total = 0.0
                for i in range(n):
                    value = 0.0
                    for a in range(n):
                        value += form[body, i, a] * offset[a]
                    total += value * value
                distance = np.float32(np.sqrt(total))
                on_top = stacked and distance < 1
                if on_top or (distance < depth[voxel] and not (stacked and owner[voxel] > 0)):
                    depth[voxel] = distance
                    if distance < 1:
                        owner[voxel] = body + 1


@njit(cache=True, nogil=True)
def _cones(  # noqa: PLR0913, C901 - a kernel: flat arrays in, no objects
    owner: NDArray[np.int32],
    depth: Floats,
    along: Floats,
    shape: Ints,
    spacing: Reals,
    start: Reals,
    stop: Reals,
    radii: Reals,
    chain: Ints,
    begin_at: Reals,
    share: float,
    low: Ints,
    high: Ints,
    warp: Floats,
) -> Ints:
    n = len(shape)
    # The first entry tells the compiler the type of the list.
    pairs = [(np.int64(0), np.int64(0))]
    index = np.zeros(n, np.int64)
    offset = np.zeros(n)
    for cone in range(len(start)):
        length = 0.0
        for a in range(n):
            length += (stop[cone, a] - start[cone, a]) ** 2
        for row in range(_rows(low[cone], high[cone])):
            begin = _row(row, low[cone], high[cone], shape, index)
            for x in range(low[cone, n - 1], high[cone, n - 1]):
                voxel = begin + x
                index[n - 1] = x
                dot = 0.0
                for a in range(n):
                    offset[a] = index[a] * spacing[a] - start[cone, a]
                    if warp.shape[1] > 0:
                        offset[a] += warp[a, voxel]
                    dot += offset[a] * (stop[cone, a] - start[cone, a])
                t = 0.0 if length == 0 else min(1.0, max(0.0, dot / length))
                total = 0.0
                for a in range(n):
                    total += (offset[a] - t * (stop[cone, a] - start[cone, a])) ** 2
                radius = radii[cone, 0] + t * (radii[cone, 1] - radii[cone, 0])
                if total >= radius * radius:
                    continue
                distance = np.float32(np.sqrt(total) / radius)
                below = np.int64(owner[voxel])
                if below != 0 and below != chain[cone] and pairs[-1] != (chain[cone], below):
                    pairs.append((chain[cone], below))
                if below != chain[cone] or distance < depth[voxel]:
                    owner[voxel] = chain[cone]
                    depth[voxel] = distance
                    along[voxel] = begin_at[cone] + t * share
    result = np.zeros((len(pairs) - 1, 2), np.int64)
    for k in range(1, len(pairs)):
        result[k - 1, 0], result[k - 1, 1] = pairs[k]
    return result


@njit(cache=True, nogil=True)
def _near_seeds(  # noqa: PLR0913 - a kernel: flat arrays in, no objects
    base: int,
    at: Reals,
    weight: Reals,
    group: Ints,
    lattice: Ints,
    around: Ints,
    local: Reals,
    constant: Reals,
    groups: Ints,
) -> None:
    """The seeds around a cell: |x - s|^2 - w = |x|^2 - 2 x s + (|s|^2 - w); |x|^2 is common."""
    for k in range(len(around)):
        offset = 0
        for a in range(len(lattice)):
            offset = offset * lattice[a] + around[k, a]
        groups[k] = group[base + offset]
        constant[k] = -weight[base + offset]
        for a in range(len(lattice)):
            local[a, k] = -2 * at[base + offset, a]
            constant[k] += at[base + offset, a] ** 2


@njit(cache=True, nogil=True)
def _power_diagram(  # noqa: PLR0913, C901 - a kernel: flat arrays in, no objects
    owner: NDArray[np.int32],
    gap: Floats,
    shape: Ints,
    spacing: Reals,
    at: Reals,
    weight: Reals,
    group: Ints,
    lattice: Ints,
    step: Reals,
    rotation: Reals,
    middle: Reals,
    around: Ints,
    warp: Floats,
) -> None:
    n, near = len(shape), len(around)
    point, place = np.zeros(n), np.zeros(n)
    # The seeds around the voxel before: neighbors in a row mostly have the same ones.
    known = -1
    local, constant = np.zeros((n, near)), np.zeros(near)
    power, groups = np.zeros(near), np.zeros(near, np.int64)
    for voxel in range(len(owner)):
        rest = voxel
        for a in range(n - 1, -1, -1):
            point[a] = (rest % shape[a]) * spacing[a] - middle[a]
            rest //= shape[a]
            if warp.shape[1] > 0:
                point[a] += warp[a, voxel]
        base = 0
        for a in range(n):
            place[a] = 0.0
            for b in range(n):
                place[a] += rotation[a, b] * point[b]
            cell = int(np.floor(place[a] / step[a] + lattice[a] / 2))
            base = base * lattice[a] + min(max(cell, 1), lattice[a] - 2)
        if base != known:
            known = base
            _near_seeds(base, at, weight, group, lattice, around, local, constant, groups)
        power[:] = constant
        for a in range(n):
            for k in range(near):
                power[k] += place[a] * local[a, k]
        best = 0
        for k in range(1, near):
            if power[k] < power[best]:
                best = k
        second = -1
        for k in range(near):
            if groups[k] != groups[best] and (second < 0 or power[k] < power[second]):
                second = k
        owner[voxel] = groups[best]
        if second < 0:
            # Inside a group that is larger than the neighborhood that was searched.
            gap[voxel] = step.min() / 2
            continue
        apart = 0.0
        for a in range(n):
            apart += (local[a, second] - local[a, best]) ** 2
        gap[voxel] = (power[second] - power[best]) / (np.sqrt(apart) + 1e-9)
