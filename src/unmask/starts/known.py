"""How much start weights know of labeled images before any training."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, isfinite

from unmask.data.pairs import Pair
from unmask.data.portions import middle_box
from unmask.data.source import cut_image
from unmask.infer.load import ModelLike, load_predictor
from unmask.metrics import evaluate_pair

# Images that are looked at, spread evenly over all, and voxels of the middle of each.
_IMAGES, _VOXELS = 4, 512 * 512
_METRIC = "f1@0.5"


def score_start(
    model: ModelLike, pairs: Sequence[Pair], scale: float | Sequence[float] | None
) -> float | None:
    """Mean F1 at IoU 0.5 of a model of objects on the middle of four labeled images.

    Args:
        model: shipped weights, a run or a model file.
        pairs: images, with labels or without.
        scale: factor by which the training resizes images; None: it keeps their size.

    Returns:
        None if no image has an object.

    Raises:
        CheckpointError: the model cannot be read.
        DataError: an image or its labels cannot be read, or do not fit the model.
    """
    labeled = [pair for pair in pairs if pair.labels is not None]
    size = scale if scale is None or isinstance(scale, int | float) else list(scale)
    settings = ["infer.fit=false", f"infer.scale={json.dumps(size)}"]
    predictor = load_predictor(model, settings)
    values: list[float] = []
    for pair in labeled[:: max(1, ceil(len(labeled) / _IMAGES))]:
        labels = pair.labels
        if labels is None:
            continue
        # Files that are read whole are cut as well: the network takes longer than reading.
        box = middle_box(replace(labels, whole=False), _VOXELS * labels.dtype.itemsize)
        truth = labels.read(box)[0]
        if truth.any():
            found = predictor.predict(cut_image(pair.image, box)).labels
            values.append(evaluate_pair(truth, found, [_METRIC])[_METRIC])
    known = [value for value in values if isfinite(value)]
    return statistics.fmean(known) if known else None
