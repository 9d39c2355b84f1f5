"""Columns of the table of objects, and the definition of each.

Plain names are in voxels; names that end in a unit (``_um``, ``_um2``, ``_um3``) are in units of
the voxel size. All coordinates are index times voxel size: a centroid counts from the center of the
first voxel, as everywhere in Python. Where scikit-image has the value
(``skimage.measure.regionprops_table``) ours is equal, except for orientations of objects without a
longest axis, and for the solidity of flat objects in volumes, whose hull scikit-image cannot draw.

| column | definition |
|---|---|
| ``image``, ``time``, ``plane`` | name of the image, and position on the axis that was divided |
| ``id`` | value of the label image |
| ``area`` (2D), ``volume`` (3D) | number of voxels |
| ``centroid_y`` ... | mean of the coordinates of its voxels |
| ``bbox_y_min``, ``bbox_y_max`` ... | first voxel and one past the last voxel along the axis |
| ``axis_major_length`` ... | full axes of the ellipse or ellipsoid with the same second moments |
| ``orientation`` (2D) | angle from the y axis to the major axis in radians, -pi/2 to pi/2 |
| ``axis_major_z`` ... (3D) | unit vector of the major axis, last nonzero component positive |
| ``solidity`` | voxels divided by the voxels in the convex hull |
| ``perimeter`` (2D) | see `unmask.measurement.perimeter` |
| ``surface`` (3D) | area of the mesh that marching cubes draw around the voxels |
| ``euler_number`` | pieces minus holes (3D: minus tunnels, plus cavities), full connectivity |
| ``nearest_distance``, ``nearest_id`` | smallest distance between centroids, found in a k-d tree |
| ``touching_neighbors`` | objects with a voxel next to one of its voxels, diagonals included |
| ``touches_border`` | whether the box reaches the border of the image |
| ``uncertainty`` | of predicted objects: mean over its voxels, 0 is sure and 1 undecided |
| ``score`` | of predicted objects: probability that they are right, by the model's calibration |
| ``mean_NAME``, ``median_``, ``min_``, ``max_``, ``sum_``, ``std_`` | of the channel, all voxels |

With a voxel size, orientations, the major axis and ``nearest_id`` are those in physical space.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.measurement.exact import variances
from unmask.measurement.moments import covariance
from unmask.measurement.part import Part
from unmask.measurement.perimeter import lengths
from unmask.measurement.windows import AREA_UNIT

Columns = dict[str, np.ndarray]
# By number of axes: what a number of voxels is called, and the names of the main axes.
_SIZES = {2: "area", 3: "volume"}
_MAIN_AXES = {2: ("major", "minor"), 3: ("major", "middle", "minor")}


def object_columns(
    part: Part,
    shape: tuple[int, ...],
    *,
    axes: str,
    spacing: tuple[float, ...] | None,
    unit: str | None,
    channels: tuple[str, ...],
) -> tuple[Columns, tuple[str, ...]]:
    """All columns from ``id`` on, and the names of the centroid's columns.

    Args:
        part: all blocks together.
        shape: of the image, ``(*space)``.
        axes: a letter for each axis of space, such as "zyx".
        spacing: voxel size.
        unit: symbol of its unit.
        channels: names of the channels of ``part.values``.
    """
    ndim = part.ndim
    size = part.size.astype(float)
    centroid = part.origin + part.first / size[:, None]
    cov = covariance(part.size, part.first, part.second)
    name = _SIZES.get(ndim, "size")
    columns: Columns = {"id": part.ids, name: part.size}
    if spacing:
        columns[f"{name}_{unit}{ndim}"] = size * np.prod(spacing)
    steps = np.array(spacing or ())
    columns |= _along(centroid, "centroid_{}", axes, steps, unit)
    bounds = np.stack([part.start, part.stop], 2).reshape(len(size), 2 * ndim)
    sides = [f"{axis}_{end}" for axis in axes for end in ("min", "max")]
    columns |= _along(bounds, "bbox_{}", sides, np.repeat(steps, 2), unit)
    columns |= _main_axes(cov, axes, steps, unit)
    if part.convex.any() or not len(size):
        columns["solidity"] = size / np.maximum(part.convex, 1)
    columns |= _boundary(part, spacing, unit)
    columns["euler_number"] = part.border[:, 0] >> ndim
    columns |= _neighbors(part, centroid, steps, unit)
    touches = ((part.start == 0) | (part.stop == np.array(shape))) & (np.array(shape) > 1)
    columns["touches_border"] = touches.any(1)
    columns |= _intensities(part, channels)
    suffix = f"_{unit}" if spacing else ""
    return columns, tuple(f"centroid_{axis}{suffix}" for axis in axes)


def _along(
    values: np.ndarray, pattern: str, names: str | list[str], steps: np.ndarray, unit: str | None
) -> Columns:
    """A column for each axis, then one in physical units for each axis."""
    columns = {pattern.format(name): values[:, k] for k, name in enumerate(names)}
    if len(steps):
        columns |= {
            f"{pattern.format(name)}_{unit}": values[:, k] * steps[k]
            for k, name in enumerate(names)
        }
    return columns


def _main_axes(cov: NDArray[np.float64], axes: str, steps: np.ndarray, unit: str | None) -> Columns:
    ndim = cov.shape[1]
    names = _MAIN_AXES.get(ndim, ())
    columns = dict(zip([f"axis_{name}_length" for name in names], _lengths(cov), strict=False))
    physical = cov * np.outer(steps, steps) if len(steps) else cov
    if len(steps):
        keys = [f"axis_{name}_length_{unit}" for name in names]
        columns |= dict(zip(keys, _lengths(physical), strict=False))
    return columns | _DIRECTIONS.get(ndim, _no_direction)(physical, axes)


def _lengths(cov: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n, k)`` lengths of the main axes, longest first: an ellipsoid's variance is a^2/(n+2)."""
    ndim = cov.shape[1]
    eigen = np.linalg.eigvalsh(cov)[:, ::-1] if len(cov) else np.zeros((0, ndim))
    return 2 * np.sqrt((ndim + 2) * np.maximum(eigen, 0)).T


def _angle(cov: NDArray[np.float64], axes: str) -> Columns:  # noqa: ARG001 - as _vector
    y, x, both = cov[:, 0, 0], cov[:, 1, 1], cov[:, 0, 1]
    angle = 0.5 * np.arctan2(2 * both, y - x)
    # No longest axis: the value that scikit-image gives.
    return {"orientation": np.where((y == x) & (both == 0), -np.pi / 4, angle)}


def _vector(cov: NDArray[np.float64], axes: str) -> Columns:
    vectors = np.linalg.eigh(cov)[1][:, :, -1] if len(cov) else np.zeros((0, len(axes)))
    last = np.array([row[np.flatnonzero(row)[-1]] for row in vectors])
    vectors = np.where(last[:, None] < 0, -vectors, vectors) if len(cov) else vectors
    return {f"axis_major_{axis}": vectors[:, k] for k, axis in enumerate(axes)}


def _no_direction(cov: NDArray[np.float64], axes: str) -> Columns:  # noqa: ARG001 - as _vector
    return {}


_DIRECTIONS = {2: _angle, 3: _vector}


def _perimeters(part: Part, spacing: tuple[float, ...] | None, unit: str | None) -> Columns:
    steps = part.border[:, 1:]
    columns = {"perimeter": lengths(steps, (1.0, 1.0))}
    if spacing:
        columns[f"perimeter_{unit}"] = lengths(steps, (spacing[0], spacing[1]))
    return columns


def _surfaces(part: Part, spacing: tuple[float, ...] | None, unit: str | None) -> Columns:
    columns = {"surface": part.border[:, 1] * AREA_UNIT}
    if spacing:
        columns[f"surface_{unit}2"] = part.border[:, 2] * AREA_UNIT * max(spacing) ** 2
    return columns


def _boundary(part: Part, spacing: tuple[float, ...] | None, unit: str | None) -> Columns:
    known = {2: _perimeters, 3: _surfaces}
    return known[part.ndim](part, spacing, unit) if part.ndim in known else {}


def _neighbors(
    part: Part, centroid: NDArray[np.float64], steps: np.ndarray, unit: str | None
) -> Columns:
    distance, nearest = nearest_neighbors(centroid)
    columns: Columns = {"nearest_distance": distance}
    if len(steps):
        distance, nearest = nearest_neighbors(centroid * steps)
        columns[f"nearest_distance_{unit}"] = distance
    known = nearest >= 0
    ids = np.zeros(len(nearest), np.uint64)
    ids[known] = part.ids[nearest[known]]
    columns["nearest_id"] = ids
    touching = np.searchsorted(part.ids, part.pairs.reshape(-1))
    columns["touching_neighbors"] = np.bincount(touching, minlength=len(part.ids))
    return columns


def nearest_neighbors(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance ``(k,)`` from every point to the nearest other one, and its index.

    A single point has the distance NaN and the index -1.
    """
    # Here, because the import takes a tenth of a second.
    from scipy.spatial import KDTree

    count = len(points)
    if count < 2:
        return np.full(count, np.nan), np.full(count, -1)
    answer = KDTree(points).query(points, k=2)
    distances, found = np.asarray(answer[0], float), np.asarray(answer[1], np.int64)
    # Of points in one place any may come first; the other one is at distance 0 too.
    other = (found[:, 0] == np.arange(count)).astype(int)
    rows = np.arange(count)
    return distances[rows, other], found[rows, other]


def _intensities(part: Part, channels: tuple[str, ...]) -> Columns:
    if part.values is None:
        return {}
    values, size = part.values, part.size
    deviation = np.sqrt(variances(size, values.sums, values.squares))
    columns: Columns = {}
    for c, name in enumerate(channels):
        total = values.sums[0, :, c]
        columns |= {
            f"mean_{name}": total / size,
            f"median_{name}": values.median[:, c],
            f"min_{name}": values.low[:, c],
            f"max_{name}": values.high[:, c],
            f"sum_{name}": total,
            f"std_{name}": deviation[:, c],
        }
    return columns
