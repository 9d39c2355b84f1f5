"""Pictures of predictions: outlines on the image, colored by what became of each object."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from unmask.metrics.overlap_table import Objects, overlap
from unmask.reports.fates import Fate, Fates, judge

Rgb = NDArray[np.uint8]

# Colors that people with any form of color blindness can tell apart (Okabe and Ito 2008, Color
# Universal Design), on gray images of any brightness.
COLORS: dict[Fate, tuple[int, int, int]] = {
    Fate.FOUND: (0, 158, 115),
    Fate.MISSED: (230, 159, 0),
    Fate.EXTRA: (213, 94, 0),
    Fate.SPLIT: (86, 180, 233),
    Fate.MERGED: (204, 121, 167),
}
# Longest edge of a picture in pixels, and the smallest enlargement of small images.
_EDGE = 420
_JPEG_QUALITY = 82


def middle_plane(labels: np.ndarray) -> tuple[int | slice, ...]:
    """Index of the plane of the last two axes that holds most foreground."""
    index: list[int | slice] = []
    part = labels
    while part.ndim > 2:
        filled = np.count_nonzero(part.reshape(len(part), -1), axis=1)
        place = int(filled.argmax()) if filled.any() else len(part) // 2
        index.append(place)
        part = part[place]
    return (*index, slice(None), slice(None))


def render_rgb(image: np.ndarray) -> Rgb:
    """``(y, x, 3)`` of a plane ``(C, y, x)``; up to three channels, stretched to their range."""
    planes = image[:3] if len(image) >= 3 else image[:1].repeat(3, axis=0)
    values = np.moveaxis(planes, 0, -1).astype(np.float32)
    low, high = np.percentile(values, (0.5, 99.5))
    return (np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)


def outline(
    background: Rgb, truth: np.ndarray, predicted: np.ndarray, objects: Objects, fates: Fates
) -> Rgb:
    """Outlines of the predicted objects, and of the true ones that were missed or merged.

    Args:
        background: ``(y, x, 3)``.
        truth: ``(y, x)`` true ids.
        predicted: ``(y, x)`` predicted ids.
        objects: of the whole image or volume.
        fates: of these objects.
    """
    picture = background.copy()
    by_truth = _fate_of(truth, objects.truth_ids, fates.truth)
    by_predicted = _fate_of(predicted, objects.predicted_ids, fates.predicted)
    for fate in (Fate.MISSED, Fate.MERGED):
        picture[_edges(np.where(by_truth == fate, truth, 0))] = COLORS[fate]
    for fate in (Fate.MERGED, Fate.EXTRA, Fate.SPLIT, Fate.FOUND):
        picture[_edges(np.where(by_predicted == fate, predicted, 0))] = COLORS[fate]
    return picture


def differences(background: Rgb, truth: np.ndarray, predicted: np.ndarray) -> Rgb:
    """Voxels of wrong classes, tinted: missed foreground, extra foreground, another class."""
    picture = background.astype(np.float32)
    wrong = truth != predicted
    for fate, where in (
        (Fate.MISSED, wrong & (predicted == 0)),
        (Fate.EXTRA, wrong & (truth == 0)),
        (Fate.SPLIT, wrong & (truth != 0) & (predicted != 0)),
    ):
        picture[where] = 0.35 * picture[where] + 0.65 * np.array(COLORS[fate], np.float32)
    result = picture.astype(np.uint8)
    result[_edges(predicted)] = COLORS[Fate.FOUND]
    return result


def draw(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, *, objects: bool) -> Rgb:
    """A plane of a prediction on its image, at the size of a picture.

    Args:
        image: ``(C, *space)``.
        truth: ``(*space)`` true labels.
        predicted: ``(*space)`` predicted labels.
        objects: labels number objects; otherwise they are classes.
    """
    plane = middle_plane(truth if truth.any() else predicted)
    background = render_rgb(image[:, *plane])
    true, other = truth[plane], predicted[plane]
    if not objects:
        return np.asarray(_fit(differences(background, true, other)))
    table = overlap(truth, predicted).objects
    return np.asarray(_fit(outline(background, true, other, table, judge(table))))


def join_pictures(pictures: Sequence[Rgb]) -> Rgb:
    """Join pictures ``(y, x, 3)`` side by side, on white."""
    height = max(len(picture) for picture in pictures)
    padded = [
        np.pad(p, ((0, height - len(p)), (0, 4), (0, 0)), constant_values=255) for p in pictures
    ]
    return np.concatenate(padded, axis=1)


def _fit(picture: Rgb) -> Pillow.Image:
    """At most 420 pixels along the longer edge; small pictures are enlarged."""
    height, width = picture.shape[:2]
    factor = _EDGE / max(height, width)
    whole = Pillow.fromarray(picture)
    if factor >= 2:
        return whole.resize((width * int(factor), height * int(factor)), Pillow.Resampling.NEAREST)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        return whole.resize(size, Pillow.Resampling.BOX)
    return whole


def jpeg(picture: Rgb) -> bytes:
    """The picture as JPEG, at most 420 pixels along its longer edge; small ones are enlarged."""
    whole = _fit(picture)
    buffer = io.BytesIO()
    # Full color resolution: halved, thin outlines lose their color.
    whole.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def thick(picture_edge: int) -> int:
    """Width of an outline in pixels that stays visible after the picture has been reduced."""
    return max(1, round(picture_edge / _EDGE))


def _fate_of(labels: np.ndarray, ids: np.ndarray, fates: np.ndarray) -> np.ndarray:
    """The fate of every pixel's object; background has a value of no fate."""
    if not len(ids):
        return np.full(labels.shape, 255, np.uint8)
    place = np.searchsorted(ids, labels).clip(max=len(ids) - 1)
    return np.where(labels == ids[place], fates[place], 255).astype(np.uint8)


def _edges(labels: np.ndarray) -> NDArray[np.bool_]:
    """Pixels of objects next to another value, as wide as the picture needs."""
    edge = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        near = np.moveaxis(labels, axis, 0)
        marks = np.moveaxis(edge, axis, 0)
        differs = near[1:] != near[:-1]
        marks[1:] |= differs
        marks[:-1] |= differs
    edge &= labels > 0
    width = thick(max(labels.shape))
    if width > 1:
        grown = ndimage.binary_dilation(edge, iterations=width // 2)
        edge = np.asarray(grown, bool)
    return edge
