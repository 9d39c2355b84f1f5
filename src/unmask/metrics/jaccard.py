"""Aggregated Jaccard indices: four different numbers that carry one name in the field.

``truth`` and ``predicted`` are label images, or one `Overlap` table in place of both. Both empty
is NaN, undefined, as in the published programs; one empty is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.metrics.assignment import assign
from unmask.metrics.overlap_table import Objects, Overlap, table_of


def aji(truth: ArrayLike | Overlap, predicted: ArrayLike | None = None) -> float:
    """Aggregated Jaccard index (Kumar et al. 2017, doi:10.1109/TMI.2017.2677499), as HoVer-Net.

    Every true object takes the predicted one of largest IoU, which may serve several; objects of
    either side that are not used count in the denominator.
    """
    objects = table_of(truth, predicted).objects
    return _aggregate(objects, _best(objects))


def aji_plus(truth: ArrayLike | Overlap, predicted: ArrayLike | None = None) -> float:
    """Aggregated Jaccard index with one-to-one pairs of largest summed IoU (HoVer-Net's AJI+).

    Source: Graham et al. 2019, doi:10.1016/j.media.2019.101563.
    """
    objects = table_of(truth, predicted).objects
    pairs = assign(objects.truth_index, objects.predicted_index, objects.iou)
    return _aggregate(objects, pairs)


def aji_cellpose(truth: ArrayLike | Overlap, predicted: ArrayLike | None = None) -> float:
    """The index that cellpose calls AJI: matched intersection over the union of the foregrounds.

    It is larger than the index of Kumar et al. wherever objects are split or merged.
    """
    objects = table_of(truth, predicted).objects
    fewer = max(1, min(len(objects.truth_ids), len(objects.predicted_ids)))
    weight = (objects.iou >= 0.5) + objects.iou / (2 * fewer)
    pairs = assign(objects.truth_index, objects.predicted_index, weight)
    shared = objects.count.sum()
    union = objects.truth_areas.sum() + objects.predicted_areas.sum() - shared
    return _quotient(objects.count[pairs].sum(), union)


def aji_pea(truth: ArrayLike | Overlap, predicted: ArrayLike | None = None) -> float:
    """The index of the Pixel-Embedded-Affinity tables, defect included, to compare with them.

    True objects choose in the order of their ids among predictions not used before. One that
    touches none (an absent id counts as such) takes the prediction of id 1: its whole area goes
    into the denominator and it can serve nobody else.
    """
    objects = table_of(truth, predicted).objects
    if not len(objects.truth_ids) or not len(objects.predicted_ids):
        return _quotient(0, objects.truth_areas.sum() + objects.predicted_areas.sum())
    used = np.zeros(len(objects.predicted_ids), bool)
    starts = np.searchsorted(objects.truth_index, np.arange(len(objects.truth_ids) + 1))
    shared = joined = last = 0

    def take_first() -> int:
        """Area that a true object without partner costs: prediction 1, unless it is used."""
        if used[0] or objects.predicted_ids[0] != 1:
            return 0
        used[0] = True
        return int(objects.predicted_areas[0])

    for at, name in enumerate(objects.truth_ids.tolist()):
        if name > last + 1:
            joined += take_first()
        last = name
        pairs = np.arange(starts[at], starts[at + 1])
        pairs = pairs[~used[objects.predicted_index[pairs]]]
        if pairs.size == 0:
            joined += int(objects.truth_areas[at]) + take_first()
            continue
        best = pairs[np.argmax(objects.iou[pairs])]
        shared += int(objects.count[best])
        joined += int(objects.union[best])
        used[objects.predicted_index[best]] = True
    return _quotient(shared, joined + objects.predicted_areas[~used].sum())


def _best(objects: Objects) -> NDArray[np.int64]:
    """For every true object that touches anything its pair of largest IoU, lowest id first."""
    rows = objects.truth_index
    if rows.size == 0:
        return np.empty(0, np.int64)
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    largest = np.maximum.reduceat(objects.iou, starts)
    length = np.diff(np.r_[starts, rows.size])
    hits = np.flatnonzero(objects.iou == np.repeat(largest, length))
    return hits[np.unique(rows[hits], return_index=True)[1]]


def _aggregate(objects: Objects, pairs: NDArray[np.int64]) -> float:
    unused_truth = np.ones(len(objects.truth_ids), bool)
    unused_truth[objects.truth_index[pairs]] = False
    unused = np.ones(len(objects.predicted_ids), bool)
    unused[objects.predicted_index[pairs]] = False
    rest = objects.truth_areas[unused_truth].sum() + objects.predicted_areas[unused].sum()
    return _quotient(objects.count[pairs].sum(), objects.union[pairs].sum() + rest)


def _quotient(shared: float, union: float) -> float:
    return float(shared / union) if union else float("nan")
