"""Every object gets the verdict that a person would give it."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.metrics.overlap_table import overlap
from unmask.reports.fates import Fate, judge


def bars(*spans: tuple[int, int, int], ndim: int) -> np.ndarray:
    """Ids along the last axis: ``(id, start, stop)``."""
    line = np.zeros(60, np.int32)
    for number, start, stop in spans:
        line[start:stop] = number
    return np.broadcast_to(line, (*[4] * (ndim - 1), 60)).copy()


def fates(truth, predicted, ndim):
    return judge(overlap(bars(*truth, ndim=ndim), bars(*predicted, ndim=ndim)).objects)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        ([(7, 0, 10)], [(3, 1, 10)], ([Fate.FOUND], [Fate.FOUND])),
        ([(7, 0, 10)], [(3, 5, 10)], ([Fate.FOUND], [Fate.FOUND])),
        ([(7, 0, 10)], [(3, 6, 10)], ([Fate.MISSED], [Fate.EXTRA])),
        ([(7, 0, 10)], [], ([Fate.MISSED], [])),
        ([], [(3, 0, 10)], ([], [Fate.EXTRA])),
        (
            [(1, 0, 10), (2, 10, 20)],
            [(5, 0, 20)],
            # Each is exactly half of the union, so the first one is found by IoU 0.5.
            ([Fate.FOUND, Fate.FOUND], [Fate.FOUND]),
        ),
        ([(1, 0, 10), (2, 10, 20)], [(5, 0, 22)], ([Fate.MERGED] * 2, [Fate.MERGED])),
        ([(1, 0, 22)], [(5, 0, 10), (6, 10, 20)], ([Fate.SPLIT], [Fate.SPLIT] * 2)),
        # The larger piece is the object, the smaller one a piece of it.
        ([(1, 0, 20)], [(5, 0, 14), (6, 14, 20)], ([Fate.FOUND], [Fate.FOUND, Fate.SPLIT])),
    ],
)
def test_verdicts(truth, predicted, expected, ndim):
    found = fates(truth, predicted, ndim)
    assert (found.truth.tolist(), found.predicted.tolist()) == expected


def test_counts_and_overlap():
    found = fates([(1, 0, 10), (2, 20, 30)], [(4, 0, 8), (9, 40, 50)], 2)
    assert [found.count(fate) for fate in Fate] == [1, 1, 1, 0, 0]
    assert found.iou.tolist() == [0.8, 0.0]
