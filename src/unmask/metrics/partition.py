"""Metrics of partitions: variation of information and adapted Rand error.

``truth`` and ``predicted`` are label images, or one `Overlap` table in place of both. Only voxels
inside true objects are counted unless ``background=True``; prediction 0 is a segment like any
other. Without a counted voxel the result is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.metrics.overlap_table import Overlap, table_of

Convention = Literal["skimage", "cremi"]


@dataclass(frozen=True)
class Rand:
    """Adapted Rand error (0 is best) with the precision and recall it is made of."""

    error: float
    precision: float
    recall: float


@dataclass(frozen=True)
class _Voxels:
    """Counted part of a table: per pair, per true segment, per predicted segment."""

    pairs: NDArray[np.float64]
    truth_index: NDArray[np.int64]
    predicted_index: NDArray[np.int64]
    truth: NDArray[np.float64]
    predicted: NDArray[np.float64]
    unassigned: NDArray[np.float64]


def voi_split(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, background: bool = False
) -> float:
    """H(predicted | truth) in bits: large where true objects are cut (Meila 2007).

    Source: doi:10.1016/j.jmva.2006.11.013.

    Args:
        truth: label image, or an overlap table.
        predicted: label image of the same shape; left out with a table.
        background: count the voxels of truth 0 too, as one segment.
    """
    counted = _count(table_of(truth, predicted), background=background)
    return _conditional_entropy(counted.pairs, counted.truth[counted.truth_index])


def voi_merge(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, background: bool = False
) -> float:
    """H(truth | predicted) in bits: large where true objects are joined."""
    counted = _count(table_of(truth, predicted), background=background)
    return _conditional_entropy(counted.pairs, counted.predicted[counted.predicted_index])


def voi(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, background: bool = False
) -> float:
    """Variation of information in bits: ``voi_split + voi_merge``."""
    table = table_of(truth, predicted)
    return voi_split(table, background=background) + voi_merge(table, background=background)


def rand(
    truth: ArrayLike | Overlap,
    predicted: ArrayLike | None = None,
    *,
    background: bool = False,
    convention: Convention = "skimage",
) -> Rand:
    """Adapted Rand error, precision and recall (Arganda-Carreras et al. 2015).

    Source: doi:10.3389/fnana.2015.00142. With ``S = sum n_ij^2`` over pairs, ``A`` and ``B`` the
    sums of squares over true and predicted segments: precision S/B, recall S/A,
    error ``1 - 2S / (A + B)``. (scikit-image gives the same two under each other's name.)

    Args:
        truth: label image, or an overlap table.
        predicted: label image of the same shape; left out with a table.
        background: count the voxels of truth 0 too, as one segment.
        convention: "skimage" counts pairs of different voxels; "cremi" takes every voxel of
            prediction 0 as a segment of its own, as the CREMI and SNEMI evaluations do.
    """
    table = table_of(truth, predicted)
    counted = _count(table, background=background)
    if counted.truth.sum() == 0:
        return Rand(float("nan"), float("nan"), float("nan"))
    pairs, left, right = (float(n @ n) for n in (counted.pairs, counted.truth, counted.predicted))
    if convention == "skimage":
        total = counted.truth.sum()
        pairs, left, right = pairs - total, left - total, right - total
    else:
        lost = counted.unassigned
        # The reference adds the voxels of prediction 0 divided by the image's size.
        spread = lost.sum() / table.voxels - float(lost @ lost)
        pairs, right = pairs + spread, right - lost.sum() ** 2 + lost.sum() / table.voxels
    if left + right == 0:
        return Rand(float("nan"), float("nan"), float("nan"))
    return Rand(
        float(1 - 2 * pairs / (left + right)),
        float(pairs / right) if right else float("nan"),
        float(pairs / left) if left else float("nan"),
    )


def arand(
    truth: ArrayLike | Overlap,
    predicted: ArrayLike | None = None,
    *,
    background: bool = False,
    convention: Convention = "skimage",
) -> float:
    """Adapted Rand error in [0, 1], 0 is best; arguments as for `rand`.

    An empty prediction of a single true object scores 0, because it is one segment too.

    Examples:
        >>> import numpy as np
        >>> arand(np.array([[1, 1, 2, 2]]), np.array([[5, 5, 9, 9]]))
        0.0
    """
    return rand(truth, predicted, background=background, convention=convention).error


def cremi(
    truth: ArrayLike | Overlap,
    predicted: ArrayLike | None = None,
    *,
    convention: Convention = "skimage",
) -> float:
    """CREMI score ``sqrt(voi * arand)``, 0 is best.

    With ``convention="cremi"`` it is the score of the challenge's own evaluation; the default
    agrees with the other numbers of a report.
    """
    table = table_of(truth, predicted)
    # Rounding may leave -1e-17 where the agreement is perfect; maximum passes NaN on.
    return float(np.sqrt(np.maximum(0.0, voi(table) * arand(table, convention=convention))))


def _count(table: Overlap, *, background: bool) -> _Voxels:
    inside = np.ones(len(table.count), bool)
    if not background:
        inside = table.truth_ids[table.truth_index] != 0
    t, p = table.truth_index[inside], table.predicted_index[inside]
    count = table.count[inside].astype(float)
    return _Voxels(
        pairs=count,
        truth_index=t,
        predicted_index=p,
        truth=np.bincount(t, count, len(table.truth_ids)).astype(float),
        predicted=np.bincount(p, count, len(table.predicted_ids)).astype(float),
        unassigned=count[table.predicted_ids[p] == 0],
    )


def _conditional_entropy(pairs: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Entropy in bits of the pairs, given the segment of size ``whole`` that holds each."""
    total = pairs.sum()
    # Every term is 0 or more, so perfect agreement gives 0 and not a difference of roundings.
    return float((pairs * np.log2(whole / pairs)).sum() / total) if total else float("nan")
