"""Flow fields: every voxel of an object points to the object's centre (Stringer et al. 2021).

Cellpose, doi:10.1038/s41592-020-01018-x; any number of axes. ``labels_to_flows`` makes the training
target, ``flows_to_labels`` reads objects out of a predicted field.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError
from unmask.labels import tracking
from unmask.labels.diffusion import spread, squared_distance, unit_fields
from unmask.labels.fill import fill_boxes
from unmask.labels.objects import Objects, find_objects
from unmask.labels.relabel import compact, relabel
from unmask.labels.small import remove_small, sizes


@dataclass(frozen=True)
class _Published:
    """What published programs do otherwise than ``labels_to_flows``.

    All of them take one number of steps for all objects (that of the largest) and read the heat of
    touching neighbours in the gradient.

    Attributes:
        median: the source is nearest to the median of the object's voxels, not to their mean.
        logarithm: the field is the gradient of log(1 + heat).
        epsilon: added to the length of the gradient.
    """

    median: bool
    logarithm: bool
    epsilon: float


_PUBLISHED = {
    "cellpose": _Published(median=False, logarithm=False, epsilon=1e-60),
    "mediar": _Published(median=True, logarithm=True, epsilon=1e-20),
}


def labels_to_flows(labels: np.ndarray, *, compat: str | None = None) -> NDArray[np.float32]:
    """Unit vectors towards the objects' centres, along the flow of heat inside each object.

    Heat enters at the voxel nearest to the centroid and spreads over direct and diagonal neighbours
    for ``2 * sum(box lengths + 2)`` steps; the field is its gradient, scaled to length 1. It is
    zero outside objects, in objects of one voxel and where symmetry leaves no direction. An
    object's field depends on that object alone: it is the same when its neighbours are cut away.

    Args:
        labels: ``(*space)`` integer ids of any width, consecutive or not; 0 is background.
        compat: reproduce Cellpose 4 (planes; in volumes its 7-point rule) or MEDIAR (planes) to
            rounding: all objects take as many steps as the largest one, and voxels that touch
            another object read its heat. About ten times slower.

    Returns:
        ``(ndim, *space)`` float32, slow axis first.

    Raises:
        DataError: not an integer array, or negative ids.

    Example:
        >>> labels_to_flows(np.array([[0, 1, 1, 1, 0]]))[1].tolist()
        [[0.0, 1.0, 0.0, -1.0, 0.0]]
    """
    array = compact(labels)
    return _flows(array, find_objects(array), compat)


def flows_to_labels(
    flows: np.ndarray,
    foreground: np.ndarray,
    *,
    threshold: float = 0.5,
    steps: int = 200,
    min_size: int = 15,
    max_fraction: float = 0.4,
    flow_error: float | None = 0.4,
    compat: str | None = None,
) -> NDArray[np.int32]:
    """Objects are the sets of foreground voxels whose paths along the flow end together.

    Args:
        flows: ``(ndim, *space)`` displacement of one step in voxels, slow axis first (about unit
            length inside objects). A voxel with a flow that is not finite counts as background.
        foreground: ``(*space)`` booleans, or scores that ``threshold`` cuts.
        threshold: foreground is where the score is higher.
        steps: Euler steps; a path over ``n`` voxels needs about ``n``.
        min_size: smaller objects are removed and the holes of the others filled; 0: neither.
        max_fraction: objects larger than this share of the image are removed; 1 keeps all.
        flow_error: objects are removed where the mean squared distance between ``flows`` and the
            field of the found object is higher; None: no check.
        compat: sample the field and check it as Cellpose 4 or MEDIAR do; otherwise positions are
            exact voxel coordinates and each object is checked on its own.

    Returns:
        ``(*space)`` int32, ids 1, 2, 3, ...; 0 is background.

    Raises:
        DataError: shapes that do not belong together.
    """
    field, inside = _checked(flows, foreground, threshold)
    points = np.flatnonzero(inside)
    ends = tracking.follow(
        _padded(field, inside), points, inside.shape, _sampling(inside.shape, compat), steps
    )
    labels = np.zeros(inside.shape, np.int32)
    labels.reshape(-1)[points] = tracking.sinks(ends, inside.shape)
    labels = remove_small(labels, 0, max_size=max_fraction * inside.size)
    if flow_error:
        labels = _without_bad(labels, field, flow_error, compat)
    if min_size > 0:
        labels = remove_small(labels, min_size)
        fill_boxes(labels, find_objects(labels))
    return relabel(labels)


def _checked(
    flows: np.ndarray, foreground: np.ndarray, threshold: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    field, score = np.asarray(flows, np.float32), np.asarray(foreground)
    if score.ndim == 0 or field.shape != (score.ndim, *score.shape):
        raise DataError(
            f"flows: expected one channel for each axis of the foreground, "
            f"{(score.ndim, *score.shape)}, found {field.shape}. "
            "Give flows as (ndim, *space) and the foreground as (*space)."
        )
    if prod(n + 2 * tracking.REACH for n in score.shape) >= 2**31:
        raise DataError(
            f"flows: expected fewer than 2^31 voxels, found {score.shape}. Decode it in blocks."
        )
    inside = score if score.dtype == bool else score > threshold
    return field, inside & np.isfinite(field).all(0)


def _padded(field: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The field with zeros outside the foreground and around the image, ``(ndim, voxels)``."""
    padded = np.zeros((len(field), *(n + 2 for n in inside.shape)), np.float32)
    inner = padded[(slice(None), *(slice(1, -1),) * inside.ndim)]
    # A longer step than the image ends at its border in any case; huge values would overflow.
    longest = np.float32(2 * max(inside.shape, default=1))
    np.copyto(inner, np.clip(field, -longest, longest), where=inside)
    return padded.reshape(len(field), -1)


def _sampling(
    shape: tuple[int, ...], compat: str | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor and summand from a position to a coordinate of the padded field."""
    if compat is None:
        return np.ones(len(shape), np.float32), np.ones(len(shape), np.float32)
    # The published programs take positions 0 .. n - 1 for the outer edges of the first and last
    # voxel: up to half a voxel off towards the borders.
    lengths = np.array(shape, np.float64)
    factor = np.where(lengths > 1, lengths / np.maximum(lengths - 1, 1), 1.0)
    summand = np.where(lengths > 1, 0.5, 1.0)
    return factor.astype(np.float32), summand.astype(np.float32)


def flow_errors(
    labels: NDArray[np.int32], flows: NDArray[np.float32], *, compat: str | None = None
) -> NDArray[np.float64]:
    """Mean squared distance of ``flows`` to the field of each id 0, 1, 2, ...; 0 for absent ids."""
    field = np.ascontiguousarray(flows, np.float32).reshape(len(flows), -1)
    own = _flows(labels, find_objects(labels), compat).reshape(len(flows), -1)
    size = sizes(labels)
    total = squared_distance(labels.reshape(-1), field, own, len(size))
    return total / np.maximum(size, 1)


def _without_bad(
    labels: NDArray[np.int32],
    field: NDArray[np.float32],
    highest: float,
    compat: str | None,
) -> NDArray[np.int32]:
    good = flow_errors(labels, field, compat=compat) <= highest
    return np.where(good, np.arange(len(good)), 0).astype(np.int32)[labels]


def _flows(array: NDArray[np.int32], objects: Objects, compat: str | None) -> NDArray[np.float32]:
    flows = np.zeros((array.ndim, *array.shape), np.float32)
    if not len(objects):
        return flows
    boxes = np.stack([objects.start, objects.stop], 1)
    shape = np.array(array.shape, np.int64)
    if compat is not None:
        return _published_flows(array, objects, boxes, compat)
    steps = 2 * (boxes[:, 1] - boxes[:, 0] + 2).sum(1)
    flat = flows.reshape(array.ndim, -1)
    unit_fields(array.reshape(-1), shape, objects.ids, boxes, objects.mean, steps, flat)
    return flows


def _published_flows(
    array: NDArray[np.int32], objects: Objects, boxes: NDArray[np.int64], compat: str
) -> NDArray[np.float32]:
    if compat not in _PUBLISHED:
        raise DataError(
            f"compat={compat!r}: expected one of {', '.join(_PUBLISHED)} or None. "
            "Leave it out for the default definition."
        )
    rule = _PUBLISHED[compat]
    # 2 * (height + width) in planes, 6 * the sum of the three lengths in volumes.
    rounds = max(2, array.ndim * (array.ndim - 1))
    longest = int((boxes[:, 1] - boxes[:, 0] + 1).sum(1).max())
    heat = np.zeros(array.size, np.float64)
    spread(
        array.reshape(-1),
        np.array(array.shape, np.int64),
        objects.ids,
        boxes,
        _medians(array, objects) if rule.median else objects.mean,
        rounds * longest,
        _published_order(array.ndim),
        heat,
    )
    if rule.logarithm:
        heat = np.log(1.0 + heat)
    padded = np.pad(heat.reshape(array.shape), 1)
    slopes = np.stack([_slope(padded, axis) for axis in range(array.ndim)]) * (array > 0)
    return (slopes / (rule.epsilon + np.sqrt((slopes**2).sum(0)))).astype(np.float32)


def _published_order(ndim: int) -> NDArray[np.int64]:
    """Neighbours in the published order: itself, faces, and in planes the four corners."""
    offsets = [np.zeros(ndim, np.int64)]
    for axis in np.eye(ndim, dtype=np.int64):
        offsets += [-axis, axis]
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    return np.stack([*offsets, *(corners if ndim == corners.shape[1] else [])])


def _slope(padded: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Difference of the two neighbours along ``axis``, without the padding."""
    inner = [slice(1, -1)] * padded.ndim
    before, after = list(inner), list(inner)
    before[axis], after[axis] = slice(None, -2), slice(2, None)
    return padded[tuple(after)] - padded[tuple(before)]


def _medians(array: NDArray[np.int32], objects: Objects) -> NDArray[np.float64]:
    """Median coordinate of every object along every axis."""
    where = np.nonzero(array)
    owner = array[where]
    first = np.cumsum(objects.size) - objects.size
    lower, upper = first + (objects.size - 1) // 2, first + objects.size // 2
    medians = np.zeros(objects.mean.shape)
    for axis, coordinate in enumerate(where):
        ordered = coordinate[np.lexsort((coordinate, owner))]
        medians[:, axis] = 0.5 * (ordered[lower] + ordered[upper])
    return medians
