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
from unmask.metrics.bounded_distances import BoundedDistances, largest_percentile
from unmask.metrics.nearest_marks import Volume
from unmask.metrics.overlap_table import same_shape
from unmask.space import spacing as voxel_size
from unmask.space.box import Box

Distances = tuple[NDArray[np.float64], NDArray[np.float64]]
# Voxels that are looked at around one, in a ball: up to 4 voxels far in three axes.
_AROUND = 250
# The transform takes about 5 ns per voxel of the box, looking around up to 400 ns per voxel of a
# surface, and a tree 2 us and as much to be built.
_LOOKS, _QUERY = 60, 800
# Every so many voxels of a surface tell whether looking around is enough for most of them.
_SAMPLE, _FAR_SHARE = 61, 0.2
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
        self._marks = [np.pad(_surface(side), pads) for side in (left, right)]
        self._places = [_by_code(marks, len(self.classes)) for marks in self._marks]
        # Arrays of more axes are rare, and have no transform.
        three = len(self._shape) <= 3
        self._volumes = [Volume(marks, self._sizes) for marks in self._marks] if three else []
        self._known: dict[int, tuple[BoundedDistances, BoundedDistances]] = {}

    def of(self, label: int) -> Distances:
        """Distances of each surface's voxels to the other surface; infinite if there is none."""
        here, there = self.bounded(label)
        return here.read(), there.read()

    def bounded(self, label: int) -> tuple[BoundedDistances, BoundedDistances]:
        """The distances of `of`, measured as far as they are asked for."""
        code = int(np.searchsorted(self.classes, label))
        if code == len(self.classes) or self.classes[code] != label:
            return _exact(np.empty(0)), _exact(np.empty(0))
        if label not in self._known:
            self._known[label] = self._between(code, 0, 1), self._between(code, 1, 0)
        return self._known[label]

    def _between(self, code: int, source: int, target: int) -> BoundedDistances:
        """Distances of a surface of one side to that of the other."""
        points, others = self._places[source][code], self._places[target][code]
        if not (others.size and points.size):
            return _exact(np.full(points.size, np.inf))
        if self._volumes:
            return self._between_in(self._volumes[target], code, source, target)
        found = self._look_around(points, code + 1, target)
        far = np.flatnonzero(np.isinf(found))
        if far.size:
            found[far] = self._ask_tree(points[far], others)
        return _exact(found)

    def _between_in(self, volume: Volume, code: int, source: int, target: int) -> BoundedDistances:
        """The same, where the transform of a box may be faster than other ways."""
        points, others = self._places[source][code], self._places[target][code]
        positions, box = volume.locate(points, others)
        if self._is_far(points, code + 1, target, box):
            return volume.measure(positions, box, code + 1)
        found = self._look_around(points, code + 1, target)
        far = np.flatnonzero(np.isinf(found))
        if far.size * _QUERY > box.size:
            found[far] = volume.measure(positions[far], box, code + 1).read()
        elif far.size:
            found[far] = self._ask_tree(points[far], others)
        return _exact(found)

    def _is_far(self, points: NDArray[np.int64], code: int, target: int, box: Box) -> bool:
        """Whether the transform of the box is faster than to look around every point first."""
        if points.size * _LOOKS < box.size:
            return False
        found = self._look_around(points[::_SAMPLE], code, target)
        return float(np.isinf(found).mean()) > _FAR_SHARE

    def _look_around(
        self, points: NDArray[np.int64], code: int, target: int
    ) -> NDArray[np.float64]:
        """Distances of the places that have another surface nearby; others are infinite."""
        marks = self._marks[target].ravel()
        return _near(points, code, marks, self._steps, self._lengths)

    def _ask_tree(
        self, points: NDArray[np.int64], others: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Distances of places to the nearest of others, few or of many axes."""
        from scipy.spatial import KDTree  # Only distances between far surfaces need it.

        here, there = (
            np.stack(np.unravel_index(places, self._shape), axis=1) for places in (points, others)
        )
        tree = KDTree(there * self._sizes, balanced_tree=False, compact_nodes=False)
        nearest = tree.query(here * self._sizes)[1]
        return np.linalg.norm((here - there[nearest]) * self._sizes, axis=1)


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

    def of(distances: Sequence[BoundedDistances]) -> float:
        if not all(d.size for d in distances):
            return float("nan")
        return largest_percentile(distances, 95)

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

    def of(distances: Sequence[BoundedDistances]) -> float:
        near = sum(d.count_within(tolerance * _ROUNDING) for d in distances)
        size = sum(d.size for d in distances)
        return near / size if size else float("nan")

    return _class_mean(truth, predicted, spacing, label, of)


def _class_mean(
    truth: ArrayLike | Surfaces,
    predicted: ArrayLike | None,
    spacing: Sequence[float] | None,
    label: int | None,
    of: Callable[[Sequence[BoundedDistances]], float],
) -> float:
    if isinstance(truth, Surfaces):
        surfaces = truth
    elif predicted is None:
        raise TypeError("Give truth and predicted, or their surfaces.")
    else:
        surfaces = Surfaces(truth, predicted, spacing=spacing)
    classes = surfaces.classes.tolist() if label is None else [label]
    values = np.array([of(surfaces.bounded(c)) for c in classes])
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _exact(distances: NDArray[np.float64]) -> BoundedDistances:
    return BoundedDistances(distances)


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
    ends = np.zeros(count + 1, np.int64)
    places = _sort_places(marks.ravel(), ends)
    return np.split(places, ends[:-1])[1:]


@njit(cache=True, nogil=True)
def _sort_places(marks: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Places of all codes but 0, ordered by the code; where those of each code end."""
    for place in range(marks.size):
        ends[marks[place]] += 1
    ends[0] = 0
    ends[:] = np.cumsum(ends)
    found = np.empty(ends[-1], np.int64)
    following = ends.copy()
    following[1:] = ends[:-1]
    for place in range(marks.size):
        code = marks[place]
        if code:
            found[following[code]] = place
            following[code] += 1
    return found


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
