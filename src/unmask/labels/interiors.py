"""Objects as background, interior and boundary, and back; any number of axes.

The boundary is inside the objects, so that the interiors of touching objects are separate (Caicedo
et al. 2019, doi:10.1002/cyto.a.23863). ``compat="neurips"`` gives what the baseline of the NeurIPS
2022 cell segmentation challenge does (Ma et al. 2024, doi:10.1038/s41592-024-02233-6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unmask.labels.components import connected_components
from unmask.labels.dropped import Tally
from unmask.labels.fill import fill_boxes
from unmask.labels.growing import grow_objects
from unmask.labels.objects import find_objects
from unmask.labels.relabeling import compact, relabel
from unmask.labels.small import remove_small, sizes

BACKGROUND, INTERIOR, BOUNDARY, UNKNOWN = 0, 1, 2, 3
# Of the published program: smallest interior and smallest hole in pixels.
_PUBLISHED_SIZE, _PUBLISHED_HOLE = 16, 64
# Not background, by the scores.
_FOREGROUND = 0.5


def labels_to_interiors(
    labels: np.ndarray,
    width: Sequence[int],
    *,
    known: NDArray[np.bool_] | None = None,
    compat: str | None = None,
) -> NDArray[np.uint8]:
    """Class of each voxel: 0 background, 1 interior, 2 boundary, 3 unknown.

    An object without a voxel that is ``width`` away from its edge gets a thinner boundary, so that
    every object has an interior. An object that the border of the image cuts has no edge there.

    Args:
        labels: ``(*space)`` integer ids, 0 is background.
        width: thickness of the boundary in voxels, per axis.
        known: where the truth is known. Voxels next to unknown ones, and of objects that may end
            there, are unknown too.
        compat: ``neurips``: the boundary is two voxels thick in objects and one in the background,
            and interiors of fewer than 16 voxels are background.

    Returns:
        ``(*space)`` uint8.

    Raises:
        DataError: not an integer array, or negative ids.

    Examples:
        >>> labels_to_interiors(np.array([0, 5, 5, 5, 7, 7, 7]), [1]).tolist()
        [0, 2, 1, 2, 2, 1, 1]
    """
    sure = np.ones(labels.shape, bool) if known is None else known
    ids = compact(np.where(sure, labels, 0))
    if compat == "neurips":
        classes = _published_classes(ids)
    else:
        classes = np.where(ids > 0, BOUNDARY, BACKGROUND).astype(np.uint8)
        interior = _interior(ids, sure, width)
        classes[interior] = INTERIOR
        if not sure.all():
            near: Any = ndimage.maximum_filter(~sure, _window(width), mode="nearest")
            classes[near & interior] = UNKNOWN
    classes[~sure] = UNKNOWN
    return classes


def interiors_to_labels(
    scores: np.ndarray,
    width: Sequence[int],
    *,
    threshold: float = 0.5,
    min_size: int = 16,
    grow: bool = True,
    compat: str | None = None,
    tally: Tally | None = None,
) -> NDArray[np.int32]:
    """Objects are the connected interiors, grown back over their boundaries.

    Args:
        scores: ``(3, *space)`` probabilities of background, interior and boundary.
        width: thickness of the boundary in voxels, per axis.
        threshold: voxels with a higher probability are interior.
        min_size: objects of fewer voxels are removed.
        grow: grow the objects by the boundary, where background has a probability below 0.5;
            otherwise they are as much thinner as the boundary is thick.
        compat: ``neurips``: holes of fewer than 64 voxels are filled before objects are separated,
            interiors that meet at corners are one object, and objects do not grow.
        tally: counts the foreground that is dropped, by reason: ``min_size``, and ``boundary`` (no
            interior is near).

    Returns:
        ``(*space)`` int32, ids 1, 2, 3, ...; 0 is background.
    """
    interior = scores[INTERIOR] > threshold
    if compat == "neurips":
        return _published_objects(interior, min_size, tally)
    labels = connected_components(interior, connectivity=1)
    fill_boxes(labels, find_objects(labels))
    foreground = labels > 0
    if grow:
        foreground |= scores[BACKGROUND] < _FOREGROUND
        labels = grow_objects(labels, foreground, growth(width))
    removed = sizes(labels) < min_size
    if tally is not None:
        tally.voxels("boundary", foreground & (labels == 0))
        tally.objects("min_size", labels, removed)
        tally.settle(foreground)
    return relabel(np.where(removed[labels], 0, labels))


def growth(width: Sequence[int]) -> list[int]:
    """Steps over faces that lead from any voxel of a boundary to the interior, per axis.

    The corner of a box is its width away along every axis.
    """
    return [len(width) * each for each in width]


def _window(width: Sequence[int]) -> tuple[int, ...]:
    return tuple(2 * each + 1 for each in width)


def _interior(
    ids: NDArray[np.int32], sure: NDArray[np.bool_], width: Sequence[int]
) -> NDArray[np.bool_]:
    """Voxels that are ``width`` away from the edge of their object, or as far as any of it is."""
    found = _alone(ids, ~sure, width)
    thinner = width
    while (lost := _without(found, ids)).any() and max(thinner) > 1:
        thinner = [max(0, each - 1) for each in thinner]
        found |= _alone(ids, ~sure, thinner) & lost[ids]
    if lost.any():
        # Objects of one or two voxels across: all that does not touch another object.
        found |= _alone(ids, ids == 0, [min(1, each) for each in width]) & lost[ids]
        found |= _without(found, ids)[ids]
    return found


def _without(interior: NDArray[np.bool_], ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which ids have voxels, but none of them in the interior."""
    voxels = sizes(ids)
    lost = (voxels > 0) & (np.bincount(ids[interior], minlength=len(voxels)) == 0)
    lost[0] = False
    return lost


def _alone(
    ids: NDArray[np.int32], neutral: NDArray[np.bool_], width: Sequence[int]
) -> NDArray[np.bool_]:
    """Voxels of objects with no other id within ``width``; ``neutral`` voxels do not count."""
    window, top = _window(width), np.iinfo(ids.dtype).max
    low = ndimage.minimum_filter(np.where(neutral, top, ids), window, mode="nearest")
    high = ndimage.maximum_filter(np.where(neutral, -1, ids), window, mode="nearest")
    return (ids > 0) & (low == ids) & (high == ids)


def _published_classes(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    cross = ndimage.generate_binary_structure(ids.ndim, 1)
    low = ndimage.minimum_filter(ids, footprint=cross, mode="nearest")
    high = ndimage.maximum_filter(ids, footprint=cross, mode="nearest")
    boundary: Any = ndimage.binary_dilation((low != high) & (ids > 0), cross)
    pieces = connected_components((ids > 0) & ~boundary, connectivity=1)
    interior = remove_small(pieces, _PUBLISHED_SIZE) > 0
    return np.where(boundary, BOUNDARY, interior).astype(np.uint8)


def _published_objects(
    interior: NDArray[np.bool_], min_size: int, tally: Tally | None
) -> NDArray[np.int32]:
    holes = connected_components(~interior, connectivity=1)
    filled = remove_small(holes, _PUBLISHED_HOLE) == 0
    pieces = connected_components(filled, connectivity=1)
    if tally is not None:
        tally.objects("min_size", pieces, sizes(pieces) < min_size)
        tally.settle(filled)
    return connected_components(remove_small(pieces, min_size) > 0)
