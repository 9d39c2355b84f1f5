"""Correct single objects of a label image: split one at points, merge several, remove one.

A correction is the box that it changes and the ids of that box afterwards, so that an editor can
apply it and undo it without a copy of a large image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import watershed

from unmask.errors import DataError, message
from unmask.labels.relabeling import check_labels
from unmask.space.box import Box

_Labels = Integer[np.ndarray, "*space"]


@dataclass(frozen=True)
class Correction:
    """A change of a label image.

    Attributes:
        box: the part that changes.
        labels: ids of the part afterwards.
    """

    box: Box
    labels: _Labels

    def apply(self, labels: _Labels) -> None:
        """Write the correction into a label image."""
        labels[self.box.slices] = self.labels


def split_object(
    labels: _Labels,
    label: int,
    points: Sequence[Sequence[float]],
    *,
    spacing: Sequence[float] | None = None,
) -> Correction:
    """Split an object into one part per point; cuts run through its narrowest places.

    The parts are the basins of the distance to the border of the object. The part of the first
    point keeps the id, the others get new ids above the largest one.

    Args:
        labels: ``(*space)`` ids, 0 is background.
        label: the object.
        points: two positions or more in voxels, all inside of the object.
        spacing: voxel size, slow axis first; None: equal along all axes.

    Raises:
        DataError: no such object, fewer than two different points, or a point outside of the
            object.

    Examples:
        >>> labels = np.array([[1, 1, 1, 1, 1, 0]])
        >>> correction = split_object(labels, 1, [(0, 0), (0, 4)])
        >>> correction.apply(labels)
        >>> labels
        array([[1, 1, 1, 2, 2, 0]])
    """
    check_labels(labels)
    mask, box = _mask_of(labels, [label])
    places = [tuple(int(np.rint(value)) for value in point) for point in points]
    inner = [tuple(np.subtract(place, box.start)) for place in places]
    if len(set(places)) < max(2, len(places)) or not all(_is_inside(mask, each) for each in inner):
        raise DataError(
            message(
                f"object {label}",
                expected="two different points or more inside of it",
                found=", ".join(map(str, places)) or "none",
                do="Place one point into each part.",
            )
        )
    top = int(labels.max())
    ids = [label, *range(top + 1, top + len(places))]
    _check_room(labels, ids[-1])
    markers = np.zeros(mask.shape, np.int32)
    for number, place in enumerate(inner, start=1):
        markers[place] = number
    # A layer of background makes the border of the box a border of the object.
    depth = np.asarray(distance_transform_edt(np.pad(mask, 1), sampling=spacing))
    parts = watershed(-depth[(slice(1, -1),) * mask.ndim], markers, mask=mask)
    changed = labels[box.slices].copy()
    changed[mask] = np.array([0, *ids], labels.dtype)[parts[mask]]
    return Correction(box, changed)


def merge_objects(labels: _Labels, ids: Sequence[int]) -> Correction:
    """Give several objects the id of the first one.

    Raises:
        DataError: fewer than two different objects, or one that does not exist.

    Examples:
        >>> labels = np.array([1, 1, 2, 0, 3])
        >>> merge_objects(labels, [2, 1]).labels
        array([2, 2, 2])
    """
    check_labels(labels)
    different = list(dict.fromkeys(ids))
    if len(different) < 2:
        raise DataError(
            message(
                "merge",
                expected="two different objects or more",
                found=", ".join(map(str, different)) or "none",
                do="Choose another object.",
            )
        )
    return _replace(labels, different, different[0])


def remove_object(labels: _Labels, label: int) -> Correction:
    """Turn an object into background.

    Raises:
        DataError: no such object.
    """
    check_labels(labels)
    return _replace(labels, [label], 0)


def _replace(labels: _Labels, ids: Sequence[int], value: int) -> Correction:
    mask, box = _mask_of(labels, ids)
    changed = labels[box.slices].copy()
    changed[mask] = value
    return Correction(box, changed)


def _mask_of(labels: _Labels, ids: Sequence[int]) -> tuple[Bool[np.ndarray, "*box"], Box]:
    """The voxels of objects inside the box around all of them."""
    mask = np.isin(labels, list(ids))
    missing = sorted({*ids} - {int(each) for each in np.unique(labels[mask]) if each})
    if missing:
        raise DataError(
            message(
                "labels",
                expected="an object with each of the ids",
                found=f"none with {', '.join(map(str, missing))}",
                do="Choose objects of this label image; 0 is background.",
            )
        )
    spans = []
    for axis in range(mask.ndim):
        others = tuple(each for each in range(mask.ndim) if each != axis)
        lines = np.flatnonzero(mask.any(axis=others))
        spans.append((int(lines[0]), int(lines[-1]) + 1))
    box = Box(tuple(start for start, _ in spans), tuple(stop for _, stop in spans))
    return mask[box.slices], box


def _is_inside(mask: Bool[np.ndarray, "*box"], place: Sequence[int]) -> bool:
    within = all(0 <= at < length for at, length in zip(place, mask.shape, strict=True))
    return within and bool(mask[tuple(place)])


def _check_room(labels: _Labels, largest: int) -> None:
    """Refuse an id that the type of the labels does not hold.

    Raises:
        DataError: it does not.
    """
    if largest > np.iinfo(labels.dtype).max:
        raise DataError(
            message(
                "labels",
                expected=f"a type that holds the new id {largest}",
                found=str(labels.dtype),
                do="Convert the labels to a larger type, such as uint32.",
            )
        )
