"""Metrics of classes: Dice, intersection over union, accuracies and area under the curve.

Label images hold one class number per voxel, 0 is background. A mean goes over the classes other
than 0 that occur in truth or prediction. ``truth`` and ``predicted`` are label images of any
number of axes, or one `Overlap` table in place of both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.errors import DataError, message
from unmask.metrics.instance import Empty
from unmask.metrics.overlap_table import Overlap, table_of


def dice(
    truth: ArrayLike | Overlap,
    predicted: ArrayLike | None = None,
    *,
    label: int | None = None,
    empty: Empty = "undefined",
) -> float:
    """Dice coefficient, the mean over classes or that of the class ``label``, in [0, 1].

    If no class occurs on either side the value is NaN, undefined (``empty="reference"``: 0), as is
    the Dice of one class that occurs on neither side.

    Args:
        truth: label image, or an overlap table.
        predicted: label image of the same shape; left out with a table.
        label: the class; None: the mean over classes.
        empty: "undefined" or "reference", see above.

    Examples:
        >>> dice(np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]]))
        0.6666666666666666
    """
    classes, shared, areas = _class_counts(table_of(truth, predicted))
    return _mean(classes, 2 * shared / areas, label, empty)


def iou(
    truth: ArrayLike | Overlap,
    predicted: ArrayLike | None = None,
    *,
    label: int | None = None,
    empty: Empty = "undefined",
) -> float:
    """Intersection over union of classes, in [0, 1]; arguments and rules as for `dice`.

    Examples:
        >>> iou(np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]]))
        0.5
    """
    classes, shared, areas = _class_counts(table_of(truth, predicted))
    return _mean(classes, shared / (areas - shared), label, empty)


def accuracy(
    truth: ArrayLike | Overlap,
    predicted: ArrayLike | None = None,
    *,
    label: int | None = None,
) -> float:
    """Share of the voxels that carry the right class, background included.

    With ``label`` the share of that class's true voxels that are found (recall). NaN where there
    is no voxel to judge.
    """
    table = table_of(truth, predicted)
    right = table.truth_ids[table.truth_index] == table.predicted_ids[table.predicted_index]
    judged = np.ones_like(right)
    if label is not None:
        judged = table.truth_ids[table.truth_index] == np.uint64(label)
    voxels = table.count[judged].sum()
    return float(table.count[judged & right].sum() / voxels) if voxels else float("nan")


def balanced_accuracy(truth: ArrayLike | Overlap, predicted: ArrayLike | None = None) -> float:
    """Mean over the classes of the truth, 0 included, of the share that is found.

    Every class counts the same, however rare. NaN if there is no voxel to judge.

    Source: Brodersen et al. 2010, doi:10.1109/ICPR.2010.764.
    """
    table = table_of(truth, predicted)
    right = table.truth_ids[table.truth_index] == table.predicted_ids[table.predicted_index]
    kinds = len(table.truth_ids)
    every = np.bincount(table.truth_index, table.count, kinds)
    found = np.bincount(table.truth_index[right], table.count[right], kinds)
    return (
        float((found[every > 0] / every[every > 0]).mean()) if (every > 0).any() else float("nan")
    )


def auc(truth: ArrayLike, scores: ArrayLike, *, label: int | None = None) -> float:
    """Area under the receiver operating characteristic; ties count one half.

    Args:
        truth: classes, any shape.
        scores: of the same shape for two classes (truth 0 against the rest), or ``(C, *shape)``
            with one score per class 0..C-1: then the mean over classes, each against the rest.
        label: the area of this class alone.

    Returns:
        The area in [0, 1]; NaN where no class has voxels both inside and outside.

    Raises:
        DataError: scores of a shape that fits neither form.

    Source: Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    classes, values = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    if values.shape == classes.shape:
        chosen = classes != 0 if label is None else classes == label
        return _area(chosen.ravel(), values.ravel())
    if values.ndim == 0 or values.shape[1:] != classes.shape:
        raise DataError(
            message(
                "scores",
                expected=f"shape {classes.shape} or (classes, *{classes.shape})",
                found=f"shape {values.shape}",
                do="Put the classes on the first axis.",
            )
        )
    wanted = range(len(values)) if label is None else (label,)
    areas = np.array([_area((classes == c).ravel(), values[c].ravel()) for c in wanted])
    areas = areas[~np.isnan(areas)]
    return float(areas.mean()) if areas.size else float("nan")


def _area(positive: NDArray[np.bool_], values: NDArray[np.float64]) -> float:
    inside = int(positive.sum())
    outside = positive.size - inside
    if inside == 0 or outside == 0 or np.isnan(values).any():
        return float("nan")
    levels, place = np.unique(values, return_inverse=True)
    ones = np.bincount(place[positive], minlength=len(levels)).astype(float)
    zeros = np.bincount(place[~positive], minlength=len(levels)).astype(float)
    below = np.cumsum(zeros) - zeros / 2
    return float(ones @ below / inside / outside)


def _class_counts(
    table: Overlap,
) -> tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.float64]]:
    """Classes of either side except 0, voxels that agree, and voxels of truth plus prediction."""
    classes = np.union1d(
        table.truth_ids[table.truth_areas > 0], table.predicted_ids[table.predicted_areas > 0]
    )
    classes = classes[classes != 0]
    areas = _look_up(classes, table.truth_ids, table.truth_areas)
    areas += _look_up(classes, table.predicted_ids, table.predicted_areas)
    left = table.truth_ids[table.truth_index]
    same = left == table.predicted_ids[table.predicted_index]
    return classes, _look_up(classes, left[same], table.count[same]), areas


def _mean(
    classes: NDArray[np.uint64], values: NDArray[np.float64], label: int | None, empty: Empty
) -> float:
    if label is not None:
        values = values[classes == np.uint64(label)]
        return float(values[0]) if values.size else float("nan")
    if values.size == 0:
        return float("nan") if empty == "undefined" else 0.0
    return float(values.mean())


def _look_up(
    classes: NDArray[np.uint64], ids: NDArray[np.uint64], values: NDArray[np.int64]
) -> NDArray[np.float64]:
    known = np.isin(ids, classes)
    place = np.searchsorted(classes, ids[known])
    return np.bincount(place, values[known], len(classes)).astype(float)
