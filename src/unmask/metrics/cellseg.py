"""F1 by the rules of the NeurIPS 2022 cell segmentation challenge.

Objects that touch the outer frame are removed from truth and prediction alike; large images are
scored in tiles whose counts are pooled (Ma et al. 2024, doi:10.1038/s41592-024-02233-6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from unmask.metrics.instance import Empty, Matching, match_objects
from unmask.metrics.overlap_table import overlap, same_shape
from unmask.space.box import Box, tiles

FRAME = 2
TILE = 2000
LARGE = 25_000_000


def cellseg_matching(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    threshold: float = 0.5,
    empty: Empty = "reference",
) -> Matching:
    """Counts of the challenge: frame removed, matched at ``IoU >= threshold``.

    Images below 25 million voxels are scored whole, larger ones in tiles of 2000 along every axis,
    with the frame removed from each tile, as if the image were padded with background.

    Args:
        truth: label image, any number of axes.
        predicted: label image of the same shape.
        threshold: in (0, 1].
        empty: "reference" is the challenge's rule: nothing to match scores 0; "undefined": NaN.
    """
    left, right = same_shape(truth, predicted)
    nothing = math.nan if empty == "undefined" else 0.0
    if left.size < LARGE:
        return _inside(left, right, left.shape, threshold, empty)
    total = Matching(0, 0, 0, 0.0, nothing)
    block = (TILE,) * left.ndim
    for tile in tiles(left.shape, block, (0,) * left.ndim):
        here = tile.write.slices
        total = total + _inside(left[here], right[here], block, threshold, empty)
    return total


def cellseg_f1(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    threshold: float = 0.5,
    empty: Empty = "reference",
) -> float:
    """F1 of `cellseg_matching`, in [0, 1]; arguments as there.

    It is 0 where nothing is left to match, as the challenge scores it.
    """
    return cellseg_matching(truth, predicted, threshold=threshold, empty=empty).f1


def _inside(
    truth: np.ndarray,
    predicted: np.ndarray,
    padded: Sequence[int],
    threshold: float,
    empty: Empty,
) -> Matching:
    objects = overlap(truth, predicted).objects
    inner = objects.keep(
        ~np.isin(objects.truth_ids, _frame_ids(truth, padded)),
        ~np.isin(objects.predicted_ids, _frame_ids(predicted, padded)),
    )
    return match_objects(inner, threshold, empty=empty)


def _frame_ids(labels: np.ndarray, padded: Sequence[int]) -> np.ndarray:
    """Ids within `FRAME` voxels of the border of the padded tile that starts with ``labels``."""
    whole, found = Box.of(labels.shape), [np.empty(0, np.uint64)]
    for axis, length in enumerate(padded):
        for start, stop in ((0, FRAME), (max(0, length - FRAME), length)):
            slab = Box(
                tuple(start if a == axis else 0 for a in range(labels.ndim)),
                tuple(stop if a == axis else n for a, n in enumerate(labels.shape)),
            ).clip(whole)
            found.append(np.unique(labels[slab.slices]).astype(np.uint64))
    return np.unique(np.concatenate(found))
