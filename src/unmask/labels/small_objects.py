"""What becomes of small objects: their neighbors flood them, or they merge as published."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, message
from unmask.labels.relabeling import compact
from unmask.labels.small import remove_small
from unmask.labels.watershed import flood


def refill_small(
    labels: np.ndarray,
    min_size: int,
    landscape: NDArray[np.float32],
    *,
    foreground: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Remove objects of fewer than ``min_size`` voxels and let the others grow into their place.

    Args:
        labels: ``(*space)`` ids, 0 is background.
        min_size: smallest size that stays.
        landscape: ``(*space)`` boundary values; objects grow from low to high.
        foreground: ``(*space)`` where objects may grow; None: where ``labels`` has objects.

    Returns:
        ``(*space)`` int32 with the ids of the remaining objects; pieces of foreground that none of
        them reaches become background.
    """
    array = compact(labels)
    kept = remove_small(array, min_size)
    return flood(landscape, kept, array > 0 if foreground is None else foreground)


def merge_small(labels: np.ndarray, passes: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """Merge small objects into the commonest neighbor, as the program of PEA does.

    A pass ``(size, window)`` goes through the ids in ascending order, background included: one of
    at most ``size`` voxels takes the commonest id of a window that begins half its width before
    the centroid, or the next one where that is background; its own id is passed over there and
    ends the merge otherwise. Windows of fewer than three ids, and those that begin outside the
    image, change nothing. Sizes are those at the start of the pass, as published: an id that has
    taken in others is still looked at, all of it with its new centroid.

    Args:
        labels: ``(*space)`` ids, 0 is background.
        passes: pairs of size and window in voxels, applied in order.

    Returns:
        ``(*space)`` int32, a new array.

    Raises:
        DataError: a pass that is not a pair of positive whole numbers.
    """
    merged = compact(labels).copy()
    for each in passes:
        whole = all(isinstance(number, int | np.integer) for number in each)
        if len(each) != 2 or not whole or min(each) < 1:
            raise DataError(
                message(
                    "merges",
                    expected="pairs of size and window, whole numbers of 1 voxel or more",
                    found=str(each),
                    do="Write for example [[5, 5], [20, 11]].",
                )
            )
        _pass(merged, *each)
    return merged


def _pass(labels: NDArray[np.int32], size: int, window: int) -> None:
    """One pass, in place."""
    flat = labels.reshape(-1)
    order = np.argsort(flat, kind="stable")
    ids, first = np.unique(flat[order], return_index=True)
    members = dict(zip(ids.tolist(), np.split(order, first[1:]), strict=True))
    small = [own for own, voxels in members.items() if len(voxels) <= size]
    for own in small:
        voxels = members[own]
        places = np.unravel_index(voxels, labels.shape)
        corner = [int(place.mean()) - window // 2 for place in places]
        new = _commonest(labels, own, corner, window)
        if new != own:
            flat[voxels] = new
            members[new] = np.concatenate([members[new], voxels])


def _commonest(labels: NDArray[np.int32], own: int, corner: Sequence[int], window: int) -> int:
    """The id that ``own`` takes."""
    if min(corner) < 0:
        return own
    ids, counts = np.unique(labels[tuple(slice(a, a + window) for a in corner)], return_counts=True)
    if len(ids) <= 2:
        return own
    best = ids[np.argsort(-counts, kind="stable")].tolist()
    if best[0] != 0:
        return best[0]
    return best[2] if best[1] == own else best[1]
