"""What became of every object: found, missed, merged; and on the other side extra or split."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from unmask.metrics.overlap_table import Objects

# Overlap over union from which an object counts as found, and the share of an object that has to
# lie in another one for the two to belong together.
_FOUND, _INSIDE = 0.5, 0.5


class Fate(IntEnum):
    """Verdict on one object; the order is that in which outlines are drawn."""

    FOUND = 0
    MISSED = 1
    EXTRA = 2
    SPLIT = 3
    MERGED = 4


@dataclass(frozen=True)
class Fates:
    """Verdicts on the objects of one image.

    Attributes:
        truth: ``(T,)`` of true objects: FOUND, MISSED, SPLIT (into several predicted objects) or
            MERGED (with other true objects).
        predicted: ``(P,)`` of predicted objects: FOUND, EXTRA, SPLIT (a piece of a true object) or
            MERGED (covers several true objects).
        iou: ``(T,)`` overlap over union with the best predicted object, 0 without one.
    """

    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    iou: NDArray[np.float64]

    def count(self, fate: Fate) -> int:
        """Number of objects: of the truth, for EXTRA of the prediction."""
        side = self.predicted if fate is Fate.EXTRA else self.truth
        return int(np.count_nonzero(side == fate))


def judge(objects: Objects) -> Fates:
    """Verdicts from an overlap table, at an overlap over union of 0.5."""
    true, other = objects.truth_index, objects.predicted_index
    found = objects.iou >= _FOUND
    truth = np.full(len(objects.truth_ids), Fate.MISSED, np.uint8)
    predicted = np.full(len(objects.predicted_ids), Fate.EXTRA, np.uint8)
    # A true object that lies in a predicted one with another true object is merged; a predicted
    # object that lies in a true one with another predicted object is a piece of it.
    in_predicted = objects.count > _INSIDE * objects.truth_areas[true]
    in_truth = objects.count > _INSIDE * objects.predicted_areas[other]
    holds = np.bincount(other[in_predicted], minlength=len(predicted))
    pieces = np.bincount(true[in_truth], minlength=len(truth))
    merged = in_predicted & (holds[other] > 1)
    split = in_truth & (pieces[true] > 1)
    truth[true[split]] = predicted[other[split]] = Fate.SPLIT
    truth[true[merged]] = predicted[other[merged]] = Fate.MERGED
    truth[true[found]] = predicted[other[found]] = Fate.FOUND
    best = np.zeros(len(truth))
    np.maximum.at(best, true, objects.iou)
    return Fates(truth, predicted, best)
