"""Metrics of the leaf segmentation challenge (CVPPP): best Dice and differences in count.

Source: Scharr et al. 2016, doi:10.1007/s00138-015-0737-3. ``truth`` and ``predicted`` are label
images, or one `Overlap` table in place of both. Background is exactly 0; objects are counted by
their ids, so gaps between ids do not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from unmask.metrics.instance import Empty
from unmask.metrics.overlap_table import Objects, Overlap, table_of


def sbd(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, empty: Empty = "undefined"
) -> float:
    """Symmetric best Dice: the smaller of the two directions (the definition of the papers)."""
    return min(_both_directions(table_of(truth, predicted).objects, empty))


def sbd_max(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, empty: Empty = "undefined"
) -> float:
    """The larger direction: what the challenge's website computed from 2018 to 2021."""
    return max(_both_directions(table_of(truth, predicted).objects, empty))


def best_dice(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, empty: Empty = "undefined"
) -> float:
    """Mean over the true objects of the largest Dice that any predicted object reaches.

    The other direction is ``best_dice(predicted, truth)``.
    """
    return _both_directions(table_of(truth, predicted).objects, empty)[0]


def dic(truth: ArrayLike | Overlap, predicted: ArrayLike | None = None) -> float:
    """Difference in count: predicted minus true number of objects."""
    objects = table_of(truth, predicted).objects
    return float(len(objects.predicted_ids) - len(objects.truth_ids))


def abs_dic(truth: ArrayLike | Overlap, predicted: ArrayLike | None = None) -> float:
    """Size of the difference in count."""
    return abs(dic(truth, predicted))


def fgbg_dice(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, empty: Empty = "undefined"
) -> float:
    """Dice of the two foregrounds, whatever the objects; both empty is NaN (reference 0)."""
    objects = table_of(truth, predicted).objects
    areas = objects.truth_areas.sum() + objects.predicted_areas.sum()
    if areas == 0:
        return float("nan") if empty == "undefined" else 0.0
    return float(2 * objects.count.sum() / areas)


def _both_directions(objects: Objects, empty: Empty) -> tuple[float, float]:
    """Best Dice over true, over predicted objects; both empty is NaN (reference 0), one empty 0."""
    t, p = objects.truth_index, objects.predicted_index
    if len(objects.truth_ids) == 0 or len(objects.predicted_ids) == 0:
        both = len(objects.truth_ids) + len(objects.predicted_ids) == 0
        value = float("nan") if both and empty == "undefined" else 0.0
        return value, value
    score = 2 * objects.count / (objects.truth_areas[t] + objects.predicted_areas[p])
    best_truth = np.zeros(len(objects.truth_ids))
    best_predicted = np.zeros(len(objects.predicted_ids))
    np.maximum.at(best_truth, t, score)
    np.maximum.at(best_predicted, p, score)
    return float(best_truth.mean()), float(best_predicted.mean())
