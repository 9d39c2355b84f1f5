"""Label images of the outlines, masks and run lengths that archives describe objects by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from unmask.io.outlines.fill import Filled, fill
from unmask.io.outlines.rle import check_runs, decode, from_text


def paint_objects(objects: Iterable[Filled], shape: tuple[int, int]) -> np.ndarray:
    """Number objects starting at 1; where two overlap, the smaller one is seen.

    Args:
        objects: their pixels.
        shape: ``(y, x)`` of the image.
    """
    labels = np.zeros(shape, np.uint32)
    ordered = sorted(objects, key=lambda each: int(each.mask.sum()), reverse=True)
    for number, each in enumerate((one for one in ordered if one.mask.any()), 1):
        top, left = each.corner
        height, width = each.mask.shape
        labels[top : top + height, left : left + width][each.mask] = number
    return labels


def fill_polygons(polygons: Sequence[Sequence[float]], shape: tuple[int, int]) -> list[Filled]:
    """Fill the pieces of one object of COCO, each a list x, y, x, y, ...; lines have no pixels.

    Args:
        polygons: the pieces; all of them are one object.
        shape: ``(y, x)`` of the image.
    """
    rings = [np.asarray(each, float).reshape(-1, 2)[:, ::-1] for each in polygons]
    return [fill([ring], shape) for ring in rings if len(ring) > 2]


def join_pieces(pieces: Sequence[Filled], shape: tuple[int, int]) -> Filled:
    """Join the pieces of one object."""
    if len(pieces) == 1:
        return pieces[0]
    mask = np.zeros(shape, bool)
    for each in pieces:
        top, left = each.corner
        height, width = each.mask.shape
        mask[top : top + height, left : left + width] |= each.mask
    return Filled((0, 0), mask)


def coco_object(segmentation: Any, shape: tuple[int, int]) -> Filled:
    """Fill one object of COCO: polygons, or run lengths as a list or as text.

    Raises:
        ValueError: run lengths of another size, or no even number of coordinates.
    """
    if not isinstance(segmentation, Mapping):
        return join_pieces(fill_polygons(segmentation, shape), shape)
    stored = segmentation["counts"]
    counts = from_text(stored) if isinstance(stored, str) else np.array(stored, np.int64)
    check_runs(counts, *shape)
    return Filled(*decode(counts, shape[0]))


def kaggle_object(text: str, shape: tuple[int, int]) -> Filled:
    """Fill the pairs "start length" of Kaggle: down the columns, the first pixel is 1.

    Raises:
        ValueError: text that is not such pairs, or pixels outside of the image.
    """
    numbers = np.array(text.split(), np.int64).reshape(-1, 2)
    starts, lengths = numbers[:, 0] - 1, numbers[:, 1]
    if (starts < 0).any() or (lengths < 0).any() or (starts + lengths > shape[0] * shape[1]).any():
        raise ValueError(f"pixels outside of an image of {shape}")
    flat = np.zeros(shape[0] * shape[1], bool)
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        flat[start : start + length] = True
    return Filled((0, 0), flat.reshape(shape[::-1]).T)
