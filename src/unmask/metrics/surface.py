"""Metrics of surfaces: Hausdorff distance (95 %) and normalized surface distance.

The surface of a class is its voxels that have a face neighbor outside it; what lies beyond the
image is outside. Distances are exact Euclidean ones between voxel centers, in units of the spacing
(voxels without one). A mean goes over the classes other than 0 of truth or prediction.

Surfaces of a useful prediction lie close together, so each of their voxels looks around itself
first, in order of the distance; the few that find nothing within some voxels ask a tree. If many
do, or if a surface fills much of its box, a distance transform of the box is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gamma, pi, prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.kernels import njit
from unmask.metrics.nearest_marks import measure_nearest
from unmask.metrics.overlap_table import same_shape
from unmask.space import spacing as voxel_size
from unmask.space.box import Box

Distances = tuple[NDArray[np.float64], NDArray[np.float64]]
# Voxels that are looked at around one, in a ball: up to 4 voxels far in three axes.
_AROUND = 250
# The transform takes about 6 ns per voxel of the box, looking around up to 400 ns per voxel of a
# surface, and a tree 2 us.
_LOOKS, _QUERY = 60, 400
# Arrays of more axes are rare, and have no transform.
_TRANSFORM_AXES = 3
# Ids up to this are renumbered by a table.
_TABLE = 1 << 22
# What rounding may add to a distance.
_ROUNDING = 1 + 1e-9


class Surfaces:
    """Distances between the surfaces of every class; what several metrics share.

    Args:
        truth: classes, any number of axes.
        predicted: classes, same shape.
        spacing: voxel size of every axis.

    Raises:
        DataError: different shapes, or a wrong number of sizes.
    """

    def __init__(
        self,
        truth: ArrayLike,
        predicted: ArrayLike,
        *,
        spacing: Sequence[float] | None = None,
    ) -> None:
        left, right = same_shape(truth, predicted)
        sizes = voxel_size.check_spacing(spacing, left.ndim, source="spacing") or (1.0,) * left.ndim
        self._sizes = np.array(sizes)
        left, right = _cropped(left, right)
        self.classes, left, right = _renumbered(left, right)
        steps, self._lengths = _ball(sizes)
        reach = np.abs(steps).max(axis=0, initial=0)
        self._shape = tuple(n + 2 * r for n, r in zip(left.shape, reach, strict=True))
        self._steps = steps @ np.cumprod([1, *self._shape[:0:-1]])[::-1]
        pads = [(r, r) for r in reach]
        self._marks = [np.pad(_surface(side), pads).ravel() for side in (left, right)]
        self._places = [_by_code(marks, len(self.classes)) for marks in self._marks]
        self._known: dict[int, Distances] = {}

    def of(self, label: int) -> Distances:
        """Distances of each surface's voxels to the other surface; infinite if there is none."""
        code = int(np.searchsorted(self.classes, label))
        if code == len(self.classes) or self.classes[code] != label:
            return np.empty(0), np.empty(0)
        if label not in self._known:
            here, there = (places[code] for places in self._places)
            one, other = self._marks
            found = self._to(here, there, other, code + 1), self._to(there, here, one, code + 1)
            self._known[label] = found
        return self._known[label]

    def _to(
        self, points: NDArray[np.int64], others: NDArray[np.int64], marks: np.ndarray, code: int
    ) -> NDArray[np.float64]:
        if not (others.size and points.size):
            return np.full(points.size, np.inf)
        box = self._box(points, others)
        if self._transforms(points.size * _LOOKS, box):
            return self._transform(points, box, marks, code)
        found = _near(points, code, marks, self._steps, self._lengths)
        far = np.flatnonzero(np.isinf(found))
        if self._transforms(far.size * _QUERY, box):
            found[far] = self._transform(points[far], box, marks, code)
        elif far.size:
            here, there = self._coordinates(points[far]), self._coordinates(others)
            from scipy.spatial import KDTree  # Only distances between far surfaces need it.

            tree = KDTree(there * self._sizes, balanced_tree=False, compact_nodes=False)
            nearest = tree.query(here * self._sizes)[1]
            found[far] = np.linalg.norm((here - there[nearest]) * self._sizes, axis=1)
        return found

    def _coordinates(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.stack(np.unravel_index(places, self._shape), axis=1)

    def _box(self, points: NDArray[np.int64], others: NDArray[np.int64]) -> Box:
        """The box of both surfaces."""
        ends = [_extent(places, self._shape) for places in (points, others)]
        start = np.minimum(ends[0][0], ends[1][0])
        stop = np.maximum(ends[0][1], ends[1][1]) + 1
        return Box(tuple(start.tolist()), tuple(stop.tolist()))

    def _transforms(self, cost: int, box: Box) -> bool:
        """Whether the transform of the box is faster than what costs as many of its voxels."""
        return cost > box.size and len(self._shape) <= _TRANSFORM_AXES

    def _transform(
        self, points: NDArray[np.int64], box: Box, marks: np.ndarray, code: int
    ) -> NDArray[np.float64]:
        inside = marks.reshape(self._shape)[box.slices] == code
        return measure_nearest(self._coordinates(points) - box.start, inside, self._sizes)


def hd95(
    truth: ArrayLike | Surfaces,
    predicted: ArrayLike | None = None,
    *,
    spacing: Sequence[float] | None = None,
    label: int | None = None,
) -> float:
    """95th percentile of the distances between surfaces, the larger of both directions.

    A class that is missing on one side has no distance: NaN, and left out of the mean.

    Args:
        truth: classes, any number of axes; or `Surfaces` in place of both.
        predicted: classes, same shape.
        spacing: voxel size of every axis.
        label: this class alone.

    Source: Maier-Hein et al. 2024 (Metrics Reloaded), doi:10.1038/s41592-023-02151-z.
    """

    def of(distances: Distances) -> float:
        if not all(d.size for d in distances):
            return float("nan")
        return max(float(np.percentile(d, 95)) for d in distances)

    return _class_mean(truth, predicted, spacing, label, of)


def nsd(
    truth: ArrayLike | Surfaces,
    predicted: ArrayLike | None = None,
    *,
    spacing: Sequence[float] | None = None,
    tolerance: float = 1.0,
    label: int | None = None,
) -> float:
    """Share of both surfaces that lies within ``tolerance`` of the other one.

    A class that is missing on one side scores 0; without any class the result is NaN.

    Args:
        truth: classes, any number of axes; or `Surfaces` in place of both.
        predicted: classes, same shape.
        spacing: voxel size of every axis.
        tolerance: accepted distance, in units of the spacing.
        label: this class alone.

    Source: Nikolov et al. 2021, doi:10.2196/26151 (here with voxels in place of surface elements).
    """

    def of(distances: Distances) -> float:
        near = sum(int((d <= tolerance * _ROUNDING).sum()) for d in distances)
        size = sum(d.size for d in distances)
        return near / size if size else float("nan")

    return _class_mean(truth, predicted, spacing, label, of)


def _class_mean(
    truth: ArrayLike | Surfaces,
    predicted: ArrayLike | None,
    spacing: Sequence[float] | None,
    label: int | None,
    of: Callable[[Distances], float],
) -> float:
    if isinstance(truth, Surfaces):
        surfaces = truth
    elif predicted is None:
        raise TypeError("Give truth and predicted, or their surfaces.")
    else:
        surfaces = Surfaces(truth, predicted, spacing=spacing)
    classes = surfaces.classes.tolist() if label is None else [label]
    values = np.array([of(surfaces.of(c)) for c in classes])
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _cropped(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in the box of what is not background in either."""
    box = []
    for axis in range(left.ndim):
        others = tuple(other for other in range(left.ndim) if other != axis)
        hits = np.flatnonzero(left.any(axis=others) | right.any(axis=others))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1) if hits.size else slice(0, 0))
    return left[tuple(box)], right[tuple(box)]


def _renumbered(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes of either side other than 0, rising, and both sides with 1 for the first of them."""
    sides = [side.view(np.uint8) if side.dtype == bool else side for side in (left, right)]
    if all(side.dtype.kind in "ui" and _small(side) for side in sides):
        there = np.zeros(1 + max(int(side.max(initial=0)) for side in sides), bool)
        for side in sides:
            there[side.ravel()] = True
        there[0] = False
        codes = (np.cumsum(there) * there).astype(np.min_scalar_type(int(there.sum())))
        return np.flatnonzero(there), codes[sides[0]], codes[sides[1]]
    classes = np.union1d(*sides)
    classes = classes[classes != 0]
    dtype = np.min_scalar_type(len(classes))
    found = [
        np.where(side == 0, 0, np.searchsorted(classes, side) + 1).astype(dtype) for side in sides
    ]
    return classes, found[0], found[1]


def _small(labels: np.ndarray) -> bool:
    return labels.min(initial=0) >= 0 and labels.max(initial=0) < _TABLE


def _surface(codes: np.ndarray) -> np.ndarray:
    """Codes where a face neighbor has another, or lies outside the array; else 0."""
    edge = np.zeros(codes.shape, bool)
    for axis in range(codes.ndim):
        lead = (slice(None),) * axis
        here, there = (*lead, slice(None, -1)), (*lead, slice(1, None))
        differs = codes[here] != codes[there]
        edge[here] |= differs
        edge[there] |= differs
        edge[(*lead, slice(None, 1))] = edge[(*lead, slice(-1, None))] = True
    return np.where(edge, codes, 0)


def _by_code(marks: np.ndarray, count: int) -> list[NDArray[np.int64]]:
    """Flat places of the codes 1 to ``count``."""
    places = np.flatnonzero(marks)
    codes = marks[places]
    places = places[np.argsort(codes, kind="stable")]
    return np.split(places, np.cumsum(np.bincount(codes, minlength=count + 1)[1:-1]))


def _ball(sizes: Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps ``(n, axes)`` to about ``_AROUND`` voxels around one, by rising distance."""
    ndim = len(sizes)
    unit = pi ** (ndim / 2) / gamma(ndim / 2 + 1)
    radius = (_AROUND * prod(sizes) / unit) ** (1 / ndim)
    reach = [int(radius / size) for size in sizes]
    steps = np.indices([2 * r + 1 for r in reach]).reshape(ndim, -1).T - reach
    lengths = np.linalg.norm(steps * sizes, axis=1)
    inside = np.flatnonzero(lengths <= radius)
    order = inside[np.argsort(lengths[inside], kind="stable")]
    return steps[order], lengths[order]


def _extent(places: NDArray[np.int64], shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """First and last place along every axis."""
    axes = np.unravel_index(places, shape)
    return np.array([a.min() for a in axes]), np.array([a.max() for a in axes])


@njit(cache=True, nogil=True)
def _near(
    points: np.ndarray, code: int, marks: np.ndarray, steps: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Distance of each point to the nearest mark of the code in the ball; infinite beyond."""
    found = np.full(points.size, np.inf)
    for number in range(points.size):
        point = points[number]
        for step in range(steps.size):
            if marks[point + steps[step]] == code:
                found[number] = lengths[step]
                break
    return found
