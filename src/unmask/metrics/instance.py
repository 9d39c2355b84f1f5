"""Metrics of objects: F1, average precision, panoptic quality and the Jaccard indices.

Every function takes ``(truth, predicted)`` label images of any number of axes, or one `Overlap`
table in place of both. If neither side has an object there is nothing to compare: the value is NaN,
undefined. ``empty="reference"`` gives what the published programs give then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.errors import DataError, message
from unmask.metrics.assignment import assign
from unmask.metrics.overlap_table import Objects, Overlap, table_of

Empty = Literal["undefined", "reference"]
Criterion = Literal["iou", "iot", "iop"]
# The thresholds of `ap`; rounded, so that an overlap of exactly 0.65 reaches 0.65.
AP_THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))


@dataclass(frozen=True)
class Matching:
    """Result of matching objects one to one; matchings of several images add up.

    Attributes:
        tp: matched pairs.
        fp: predicted objects without a partner.
        fn: true objects without a partner.
        total: sum of the criterion over the matched pairs.
        nothing: value of every ratio if there is no object on either side.
    """

    tp: int
    fp: int
    fn: int
    total: float
    nothing: float = math.nan

    def __add__(self, other: Matching) -> Matching:
        """Counts of both: the pooled matching of a data set."""
        return Matching(
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
            self.total + other.total,
            self.nothing,
        )

    def _ratio(self, part: float, whole: float) -> float:
        if self.tp + self.fp + self.fn == 0:
            return self.nothing
        return part / whole if whole else 0.0

    @property
    def precision(self) -> float:
        """Share of the predicted objects that are matched."""
        return self._ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true objects that are matched."""
        return self._ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), the detection quality (DQ) of panoptic quality."""
        return self._ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def ap(self) -> float:
        """TP / (TP + FP + FN), "average precision" or "accuracy" in the field."""
        return self._ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def sq(self) -> float:
        """Segmentation quality: mean criterion of the matched pairs, 0 without any."""
        return self._ratio(self.total, self.tp)

    @property
    def pq(self) -> float:
        """Panoptic quality: ``f1 * sq``."""
        return self._ratio(self.total, self.tp + (self.fp + self.fn) / 2)


def matching(
    truth: ArrayLike | Overlap,
    predicted: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    criterion: Criterion = "iou",
    strict: bool = False,
    empty: Empty = "undefined",
) -> Matching:
    """Match objects one to one where the criterion reaches ``threshold``.

    The number of pairs is the largest possible; among such matchings the one with the largest sum
    of criteria is taken, as StarDist does (Schmidt et al. 2018, doi:10.1007/978-3-030-00934-2_30).

    Args:
        truth: label image, or an overlap table.
        predicted: label image of the same shape; left out with a table.
        threshold: in (0, 1].
        criterion: intersection over "iou" union, "iot" area of the truth, "iop" of the prediction.
        strict: the criterion must be above ``threshold`` (panoptic quality), not equal to it.
        empty: see the module.
    """
    objects = table_of(truth, predicted).objects
    return match_objects(objects, threshold, criterion, strict=strict, empty=empty)


def f1(
    truth: ArrayLike | Overlap,
    predicted: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    empty: Empty = "undefined",
) -> float:
    """F1 of objects matched at ``IoU >= threshold``, in [0, 1].

    Args:
        truth: label image, or an overlap table.
        predicted: label image of the same shape; left out with a table.
        threshold: in (0, 1].
        empty: see the module.

    Examples:
        >>> f1(np.array([[1, 1, 0, 2]]), np.array([[7, 7, 0, 0]]))
        0.6666666666666666
    """
    return matching(truth, predicted, threshold=threshold, empty=empty).f1


def ap(
    truth: ArrayLike | Overlap,
    predicted: ArrayLike | None = None,
    *,
    threshold: float | None = None,
    empty: Empty = "undefined",
) -> float:
    """Average precision of objects, TP / (TP + FP + FN) at ``IoU >= threshold``, in [0, 1].

    Args:
        truth: label image, or an overlap table.
        predicted: label image of the same shape; left out with a table.
        threshold: in (0, 1]; None: the mean over 0.50, 0.55, ..., 0.95.
        empty: see the module.

    Examples:
        >>> ap(np.array([[1, 1, 0, 2]]), np.array([[7, 7, 0, 0]]), threshold=0.5)
        0.5
    """
    objects = table_of(truth, predicted).objects
    thresholds = AP_THRESHOLDS if threshold is None else (threshold,)
    return float(np.mean([match_objects(objects, t, empty=empty).ap for t in thresholds]))


def pq(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, empty: Empty = "undefined"
) -> float:
    """Panoptic quality at ``IoU > 0.5``, in [0, 1] (Kirillov et al. 2019, arXiv:1801.00868).

    It is the product of `sq` and `dq`; arguments as for `f1`.
    """
    return matching(truth, predicted, strict=True, empty=empty).pq


def sq(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, empty: Empty = "undefined"
) -> float:
    """Segmentation quality: mean IoU of the pairs with ``IoU > 0.5``; 0 without any.

    Arguments as for `f1`.
    """
    return matching(truth, predicted, strict=True, empty=empty).sq


def dq(
    truth: ArrayLike | Overlap, predicted: ArrayLike | None = None, *, empty: Empty = "undefined"
) -> float:
    """Detection quality: F1 at ``IoU > 0.5``, in [0, 1]; arguments as for `f1`."""
    return matching(truth, predicted, strict=True, empty=empty).f1


def match_objects(
    objects: Objects,
    threshold: float,
    criterion: Criterion = "iou",
    *,
    strict: bool = False,
    empty: Empty = "undefined",
) -> Matching:
    """`matching` for a chosen set of objects.

    Raises:
        DataError: a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise DataError(
            message(
                "threshold",
                expected="a number above 0 and up to 1",
                found=str(threshold),
                do="Write for example f1@0.5.",
            )
        )
    score = _scores(objects, criterion)
    good = score > threshold if strict else score >= threshold
    pairs = np.flatnonzero(good)
    if criterion != "iou" or threshold < 0.5:
        pairs = _stardist_pairs(objects, score, good)
    elif threshold == 0.5 and not strict:
        # Above one half a partner is unique. At one half exactly an object may have two, which
        # then are its two halves: all edges weigh the same, so only their number is to maximize.
        pairs = pairs[
            assign(objects.truth_index[pairs], objects.predicted_index[pairs], np.ones(len(pairs)))
        ]
    return Matching(
        tp=len(pairs),
        fp=len(objects.predicted_ids) - len(pairs),
        fn=len(objects.truth_ids) - len(pairs),
        total=float(score[pairs].sum()),
        nothing=math.nan if empty == "undefined" else 0.0,
    )


def _scores(objects: Objects, criterion: Criterion) -> NDArray[np.float64]:
    if criterion == "iou":
        return objects.iou
    if criterion == "iot":
        return objects.count / objects.truth_areas[objects.truth_index]
    return objects.count / objects.predicted_areas[objects.predicted_index]


def _stardist_pairs(
    objects: Objects, score: NDArray[np.float64], good: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Most ``good`` pairs; among those the largest sum of scores of *all* matched pairs."""
    fewer = max(1, min(len(objects.truth_ids), len(objects.predicted_ids)))
    chosen = assign(objects.truth_index, objects.predicted_index, good + score / (2 * fewer))
    return chosen[good[chosen]]
