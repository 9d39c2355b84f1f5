"""What published programs do otherwise than ``unmask.labels.flows``, to rounding.

Cellpose 4 (Stringer et al. 2021, doi:10.1038/s41592-020-01018-x) and MEDIAR (Lee et al. 2022,
arXiv:2212.03465), which carries an early version of Cellpose's code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError
from unmask.kernels import njit
from unmask.labels.components import connected_components
from unmask.labels.diffusion import box_strides, row_count, row_start, spread
from unmask.labels.objects import Objects
from unmask.labels.small import remove_small

# MEDIAR removes holes and pieces of the foreground below this size before it tracks.
_MEDIAR_SPECK = 16
_MEDIAR_MOVING = 1e-3


@dataclass(frozen=True)
class _Published:
    """What published programs do otherwise than ``labels_to_flows``.

    All of them take one number of steps for all objects (that of the largest) and read the heat of
    touching neighbors in the gradient.

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


def check_compat(compat: str | None) -> str | None:
    """The name itself.

    Raises:
        DataError: no such program.
    """
    if compat is not None and compat not in _PUBLISHED:
        raise DataError(
            f"compat={compat!r}: expected one of {', '.join(_PUBLISHED)} or None. "
            "Leave it out for the default definition."
        )
    return compat


def published_flows(
    array: NDArray[np.int32], objects: Objects, boxes: NDArray[np.int64], compat: str
) -> NDArray[np.float32]:
    """Fields of all objects of an int32 label image ``(ndim, *space)``."""
    rule = _PUBLISHED[compat]
    # 2 * (height + width) in planes, 6 * the sum of the three lengths in volumes.
    rounds = max(2, array.ndim * (array.ndim - 1))
    longest = int((boxes[:, 1] - boxes[:, 0] + 1).sum(1).max())
    heat = np.zeros(array.size, np.float64)
    given = (array.reshape(-1), np.array(array.shape, np.int64), objects.ids, boxes)
    spread(
        *given,
        _medians(*given) if rule.median else objects.mean,
        rounds * longest,
        _order_neighbors(array.ndim),
        heat,
    )
    if rule.logarithm:
        heat = np.log(1.0 + heat)
    padded = np.pad(heat.reshape(array.shape), 1)
    slopes = np.stack([_slope(padded, axis) for axis in range(array.ndim)]) * (array > 0)
    return (slopes / (rule.epsilon + np.sqrt((slopes**2).sum(0)))).astype(np.float32)


def _order_neighbors(ndim: int) -> NDArray[np.int64]:
    """Neighbors in the published order: itself, faces, and in planes the four corners."""
    offsets = [np.zeros(ndim, np.int64)]
    for axis in np.eye(ndim, dtype=np.int64):
        offsets += [-axis, axis]
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    return np.stack([*offsets, *(corners if ndim == corners.shape[1] else [])])


def _slope(padded: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Difference of the two neighbors along ``axis``, without the padding."""
    inner = [slice(1, -1)] * padded.ndim
    before, after = list(inner), list(inner)
    before[axis], after[axis] = slice(None, -2), slice(2, None)
    return padded[tuple(after)] - padded[tuple(before)]


@njit(cache=True, nogil=True)
def _medians(
    labels: NDArray[np.int32],
    shape: NDArray[np.int64],
    ids: NDArray[np.int32],
    boxes: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Median coordinate of every object along every axis, from counts in its box."""
    ndim = len(shape)
    whole = box_strides(shape, 0)
    medians = np.zeros((len(ids), ndim), np.float64)
    for k in range(len(ids)):
        first, lengths = boxes[k, 0], boxes[k, 1] - boxes[k, 0]
        counts = np.zeros((ndim, lengths.max()), np.int64)
        for row in range(row_count(lengths)):
            there = row_start(row, lengths, whole, first)
            found = 0
            for i in range(lengths[ndim - 1]):
                here = np.int64(labels[there + i] == ids[k])
                counts[ndim - 1, i] += here
                found += here
            rest = row
            for axis in range(ndim - 2, -1, -1):
                counts[axis, rest % lengths[axis]] += found
                rest //= lengths[axis]
        size = counts[0].sum()
        for axis in range(ndim):
            below = 0
            for place in range(lengths[axis]):
                count = counts[axis, place]
                # The two middle voxels; one and the same where the size is odd
                for middle in ((size - 1) // 2, size // 2):
                    if below <= middle < below + count:
                        medians[k, axis] += 0.5 * (first[axis] + place)
                below += count
    return medians


def mediar_foreground(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Foreground without small holes and small pieces, joined by faces."""
    filled = ~_without_specks(~inside)
    return _without_specks(filled)


def mediar_moving(field: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels that MEDIAR moves: those with a flow along the slow axis, the rest stays at home."""
    return inside & (np.abs(field[0]) > _MEDIAR_MOVING)


def _without_specks(image: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return remove_small(connected_components(image, connectivity=1), _MEDIAR_SPECK) > 0
