"""Flow fields: every voxel of an object points to the object's center (Stringer et al. 2021).

Cellpose, doi:10.1038/s41592-020-01018-x; any number of axes. ``labels_to_flows`` makes the training
target, ``flows_to_labels`` reads objects out of a predicted field.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError
from unmask.labels import compat as published
from unmask.labels import tracking
from unmask.labels.diffusion import squared_distance, unit_fields
from unmask.labels.dropped import Tally
from unmask.labels.fill import fill_boxes
from unmask.labels.objects import Objects, find_objects
from unmask.labels.relabeling import compact, relabel
from unmask.labels.small import sizes


def labels_to_flows(labels: np.ndarray, *, compat: str | None = None) -> NDArray[np.float32]:
    """Unit vectors toward the objects' centers, along the flow of heat inside each object.

    Heat enters at the voxel nearest to the centroid and spreads over direct and diagonal neighbors
    for ``2 * sum(box lengths + 2)`` steps; the field is its gradient, scaled to length 1. It is
    zero outside objects, in objects of one voxel and where symmetry leaves no direction. An
    object's field depends on that object alone: it is the same when its neighbors are cut away.

    Args:
        labels: ``(*space)`` integer ids of any width, consecutive or not; 0 is background.
        compat: reproduce Cellpose 4 (planes; in volumes its 7-point rule) or MEDIAR (planes) to
            rounding: all objects take as many steps as the largest one, and voxels that touch
            another object read its heat. About ten times slower.

    Returns:
        ``(ndim, *space)`` float32, slow axis first.

    Raises:
        DataError: not an integer array, or negative ids.

    Examples:
        >>> labels_to_flows(np.array([[0, 1, 1, 1, 0]]))[1].tolist()
        [[0.0, 1.0, 0.0, -1.0, 0.0]]
    """
    array = compact(labels)
    return _flows(array, find_objects(array), published.check_compat(compat))


def flows_to_labels(  # noqa: PLR0913 - the published program's options, each once
    flows: np.ndarray,
    foreground: np.ndarray,
    *,
    threshold: float = 0.5,
    steps: int = 200,
    min_size: int = 15,
    max_fraction: float = 0.4,
    flow_error: float | None = 0.4,
    compat: str | None = None,
    tally: Tally | None = None,
    device: str | None = None,
) -> NDArray[np.int32]:
    """Objects are the sets of foreground voxels whose paths along the flow end together.

    Args:
        flows: ``(ndim, *space)`` displacement of one step in voxels, slow axis first (about unit
            length inside objects). A voxel with a flow that is not finite counts as background.
        foreground: ``(*space)`` booleans, or scores that ``threshold`` cuts.
        threshold: foreground is where the score is higher.
        steps: Euler steps; a path over ``n`` voxels needs about ``n``.
        min_size: smaller objects are removed and the holes of the others filled; 0: neither.
        max_fraction: objects larger than this share of the image are removed; 1 keeps all. If
            ``tally`` has a region, its whole image is meant.
        flow_error: objects are removed where the mean squared distance between ``flows`` and the
            field of the found object is higher; None: no check.
        compat: track and check as Cellpose 4 or MEDIAR do (MEDIAR with min_size 0, max_fraction
            0.9); otherwise positions are exact voxel coordinates and each object is checked on
            its own.
        tally: counts the foreground that is dropped, by reason: ``undefined`` (flow or score is not
            finite), ``speck`` (MEDIAR's cleaning), ``unsettled`` (its path ends at no sink), and
            ``max_fraction``, ``flow_error`` and ``min_size``.
        device: where paths are followed, such as ``cuda``; None, or with ``compat``: on the CPU.

    Returns:
        ``(*space)`` int32, ids 1, 2, 3, ...; 0 is background.

    Raises:
        DataError: shapes that do not belong together.
    """
    field, inside = _check(flows, foreground, threshold)
    finite = inside
    if published.check_compat(compat) == "mediar":
        inside = published.mediar_foreground(inside)
    labels = _gather(field, inside, steps, compat, device)
    if tally is not None:
        tally.voxels("undefined", _find_undefined(np.asarray(foreground), threshold, finite))
        tally.voxels("speck", finite & ~inside)
        tally.voxels("unsettled", inside & (labels == 0))
    whole = inside.size if tally is None or tally.region is None else tally.region.voxels
    labels = _keep(labels, "max_fraction", sizes(labels) <= max_fraction * whole, tally)
    if flow_error:
        good = flow_errors(labels, field, compat=compat) <= flow_error
        labels = _keep(labels, "flow_error", good, tally)
    if min_size > 0:
        labels = _keep(labels, "min_size", sizes(labels) >= min_size, tally)
        fill_boxes(labels, find_objects(labels))
    if tally is not None:
        tally.settle(finite)
    return relabel(labels)


def _find_undefined(
    scores: np.ndarray, threshold: float, finite: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Where a score, or the flow of the foreground, is not a finite number."""
    if scores.dtype == bool:
        return scores & ~finite
    return ((scores > threshold) & ~finite) | np.isnan(scores)


def _keep(
    labels: NDArray[np.int32], reason: str, good: NDArray[np.bool_], tally: Tally | None
) -> NDArray[np.int32]:
    """The objects with ``good[id]``; the others become background and are counted."""
    good[0] = True
    if good.all():
        return labels
    if tally is not None:
        tally.objects(reason, labels, ~good)
    return np.where(good, np.arange(len(good)), 0).astype(np.int32)[labels]


def _check(
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


def _pad(field: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The field with zeros outside the foreground and around the image, ``(voxels * ndim,)``."""
    padded = np.zeros((*(n + 2 for n in inside.shape), len(field)), np.float32)
    inner = np.moveaxis(padded[(slice(1, -1),) * inside.ndim], -1, 0)
    # A longer step than the image ends at its border in any case; huge values would overflow.
    longest = np.float32(2 * max(inside.shape, default=1))
    np.copyto(inner, np.clip(field, -longest, longest), where=inside)
    return padded.reshape(-1)


def _gather(
    field: NDArray[np.float32],
    inside: NDArray[np.bool_],
    steps: int,
    compat: str | None,
    device: str | None,
) -> NDArray[np.int32]:
    """Label image of the sinks that the foreground's voxels end in."""
    shape, labels = inside.shape, np.zeros(inside.shape, np.int32)
    moving = published.mediar_moving(field, inside) if compat == "mediar" else inside
    points = np.flatnonzero(moving)
    padded = _pad(field, inside)
    if device is None or compat is not None:
        ends = tracking.follow(padded, points, shape, steps, exact=compat is None)
    else:
        # On the CPU labels are decoded without PyTorch.
        from unmask.labels.tracking_device import follow_on_device

        planes = padded.reshape(*(length + 2 for length in shape), len(shape))
        ends = follow_on_device(np.moveaxis(planes, -1, 0), points, steps, device)
    if compat == "mediar":
        # Voxels that do not move count too, where they are. That fewer than 5 moving ones give no
        # objects, as published, needs no rule: a sink takes more than 10 ends.
        home = tracking.homes(shape)
        home[points] = ends
        found = tracking.sinks(home, shape, by_count=False)
        return found.reshape(shape) if len(points) else labels
    labels.reshape(-1)[points] = tracking.sinks(ends, shape)
    return labels


def flow_errors(
    labels: NDArray[np.int32], flows: NDArray[np.float32], *, compat: str | None = None
) -> NDArray[np.float64]:
    """Mean squared distance of ``flows`` to the field of each id 0, 1, 2, ...; 0 for absent ids."""
    field = np.ascontiguousarray(flows, np.float32).reshape(len(flows), -1)
    own = _flows(labels, find_objects(labels), compat).reshape(len(flows), -1)
    size = sizes(labels)
    total = squared_distance(labels.reshape(-1), field, own, len(size))
    return total / np.maximum(size, 1)


def _flows(array: NDArray[np.int32], objects: Objects, compat: str | None) -> NDArray[np.float32]:
    flows = np.zeros((array.ndim, *array.shape), np.float32)
    if not len(objects):
        return flows
    boxes = np.stack([objects.start, objects.stop], 1)
    shape = np.array(array.shape, np.int64)
    if compat is not None:
        return published.published_flows(array, objects, boxes, compat)
    steps = 2 * (boxes[:, 1] - boxes[:, 0] + 2).sum(1)
    flat = flows.reshape(array.ndim, -1)
    unit_fields(array.reshape(-1), shape, objects.ids, boxes, objects.mean, steps, flat)
    return flows
