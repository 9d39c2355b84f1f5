"""Uncertainty of the objects of a stack that is predicted position by position.

Each position keeps the mean uncertainty and the size of its objects; an object that several
positions share, such as the slices of a volume, has the mean over all of its voxels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unmask.infer.notes import Facts, decode_image
from unmask.infer.plane_numbers import Numbers
from unmask.infer.predictor import Predictor
from unmask.infer.uncertainty import ObjectUncertainty
from unmask.io import Image
from unmask.progress import Progress

# Keys in the facts of a position: sums over the voxels of objects 1, 2, ..., their sizes, and, when
# all positions are known, their final numbers.
_SUMS, _SIZES, _IDS = "uncertainty.sums", "uncertainty.sizes", "uncertainty.ids"


def label_with_doubt(
    predictor: Predictor, plane: Image, progress: Progress | None = None
) -> tuple[np.ndarray, Facts, np.ndarray]:
    """Labels of a plane, the facts behind its notes, and its uncertainty, on its own grid."""
    place = predictor.view.place(plane)
    seen = place.seen(plane)
    scores, doubt = predictor.doubt_seen(seen, progress=progress)
    answer, facts = decode_image(predictor.task, scores, plane, place, trained=predictor.trained)
    return np.asarray(answer.labels), facts, place.back_scores(doubt[None])[0]


def measure_objects(labels: np.ndarray, doubt: np.ndarray) -> dict[str, Any]:
    """Facts on the uncertainty of the objects 1, 2, ... of a position, as JSON values.

    Examples:
        >>> measure_objects(np.array([0, 1, 2, 2]), np.array([1.0, 0.25, 0.5, 0.25]))
        {'uncertainty.sums': [0.25, 0.75], 'uncertainty.sizes': [1, 2]}
    """
    flat = labels.ravel()
    sums, sizes = np.bincount(flat, doubt.ravel())[1:], np.bincount(flat)[1:]
    return {_SUMS: [round(value, 4) for value in sums.tolist()], _SIZES: sizes.tolist()}


def note_numbers(facts: Sequence[dict[str, Any]], numbers: Numbers) -> None:
    """Add the final numbers of the objects to the facts of every position."""
    for position, each in enumerate(facts):
        first, last = numbers.offsets[position : position + 2]
        each[_IDS] = numbers.values[first:last].tolist()


def join_objects(facts: Sequence[Mapping[str, Any]]) -> ObjectUncertainty:
    """Mean uncertainty of every object of the stack; positions beyond memory have none."""
    known = [each for each in facts if _SUMS in each and _IDS in each]
    ids, sums, sizes = (
        np.concatenate([np.zeros(0), *(each[key] for each in known)])
        for key in (_IDS, _SUMS, _SIZES)
    )
    values, place = np.unique(ids.astype(np.int64), return_inverse=True)
    total = np.bincount(place, sums, len(values))
    count = np.bincount(place, sizes, len(values))
    return ObjectUncertainty(values, total / np.maximum(count, 1))


def counts_of(facts: Mapping[str, Any]) -> dict[str, int]:
    """The facts that are counted for notes."""
    own = {_SUMS, _SIZES, _IDS}
    return {name: count for name, count in facts.items() if name not in own}
