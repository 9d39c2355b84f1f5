"""Metrics of surfaces: Hausdorff distance (95 %) and normalised surface distance.

The surface of a class is its voxels that have a face neighbour outside it; what lies beyond the
image is outside. Distances are exact Euclidean ones between voxel centres, in units of the spacing
(voxels without one). A mean goes over the classes other than 0 of truth or prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from unmask.metrics.overlap import same_shape
from unmask.space import spacing as voxel_size

Distances = tuple[NDArray[np.float64], NDArray[np.float64]]


def hd95(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    spacing: Sequence[float] | None = None,
    label: int | None = None,
) -> float:
    """95th percentile of the distances between surfaces, the larger of both directions.

    A class that is missing on one side has no distance: NaN, and left out of the mean.

    Args:
        truth: classes, any number of axes.
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
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    spacing: Sequence[float] | None = None,
    tolerance: float = 1.0,
    label: int | None = None,
) -> float:
    """Share of both surfaces that lies within ``tolerance`` of the other one.

    A class that is missing on one side scores 0; without any class the result is NaN.

    Args:
        truth: classes, any number of axes.
        predicted: classes, same shape.
        spacing: voxel size of every axis.
        tolerance: accepted distance, in units of the spacing.
        label: this class alone.

    Source: Nikolov et al. 2021, doi:10.2196/26151 (here with voxels in place of surface elements).
    """

    def of(distances: Distances) -> float:
        near = sum(int((d <= tolerance).sum()) for d in distances)
        size = sum(d.size for d in distances)
        return near / size if size else float("nan")

    return _class_mean(truth, predicted, spacing, label, of)


def _class_mean(
    truth: ArrayLike,
    predicted: ArrayLike,
    spacing: Sequence[float] | None,
    label: int | None,
    of: Callable[[Distances], float],
) -> float:
    left, right = same_shape(truth, predicted)
    sizes = voxel_size.checked(spacing, left.ndim, source="spacing") or (1.0,) * left.ndim
    classes = [label]
    if label is None:
        classes = [c for c in np.union1d(np.unique(left), np.unique(right)).tolist() if c != 0]
    values = np.array([of(_surface_distances(left == c, right == c, sizes)) for c in classes])
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _surface_distances(
    left: NDArray[np.bool_], right: NDArray[np.bool_], spacing: Sequence[float]
) -> Distances:
    """Distances of each surface's voxels to the other surface; infinite where there is no other."""
    box = ndimage.find_objects((left | right).astype(np.uint8))
    if not box:
        return np.empty(0), np.empty(0)
    one, other = _surface(left[box[0]]), _surface(right[box[0]])
    if not one.any() or not other.any():
        return np.full(int(one.sum()), np.inf), np.full(int(other.sum()), np.inf)
    to_other = ndimage.distance_transform_edt(~other, sampling=spacing)
    to_one = ndimage.distance_transform_edt(~one, sampling=spacing)
    return np.asarray(to_other)[one], np.asarray(to_one)[other]


def _surface(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return inside & ~ndimage.binary_erosion(inside)
