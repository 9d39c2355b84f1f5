"""Cut labeled objects out of images and paste them into others, in any number of axes.

After Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation" (arXiv:2012.07177).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unmask.labels.components import connected_components

# Width in voxels of the margin around an object in which the background is measured.
_MARGIN = 3
# Standard deviation in voxels of the blur at the border between an object and its new background.
_SEAM = 0.6


@dataclass(frozen=True)
class Cutout:
    """An object with the image around it.

    Attributes:
        image: ``(C, *box)``.
        mask: ``(*box)`` where the object is.
        ground: ``(C,)`` median of the background next to the object; None if there is none.
        value: label of the object in its image.
    """

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    ground: NDArray[np.float32] | None
    value: int


def cut_objects(
    image: NDArray[Any],
    labels: NDArray[Any],
    *,
    connected: bool = False,
    skip: Sequence[int] = (),
) -> list[Cutout]:
    """Cut out the objects that do not touch the border of the image.

    Args:
        image: ``(C, *space)``.
        labels: ``(*space)``; values of 0 and below are background.
        connected: whether labels are classes; each connected piece of a class is then an object.
        skip: label values that are not objects, such as that of voxels without annotation.
    """
    values, places = np.unique(labels, return_inverse=True)
    numbers = np.where(
        (values > 0) & ~np.isin(values, list(skip)), np.arange(1, len(values) + 1), 0
    )
    parts = numbers[places.reshape(labels.shape)]
    if connected:
        pieces = connected_components((parts > 0).astype(np.int32), connectivity=1)
        # Touching pieces of different classes are different objects.
        _, parts = np.unique(pieces * (len(values) + 1) + parts * (pieces > 0), return_inverse=True)
        parts = parts.reshape(labels.shape) * (pieces > 0)
    cutouts = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        if box is None or any(
            s.start == 0 or s.stop == n for s, n in zip(box, labels.shape, strict=True)
            if n > 1
        ):  # fmt: skip
            continue
        wide = tuple(slice(max(0, s.start - _MARGIN), s.stop + _MARGIN) for s in box)
        mask = parts[wide] == number
        value = int(labels[wide][mask][0])
        part = image[(slice(None), *wide)]
        cutouts.append(Cutout(part, mask, _ground(part, labels[wide] == 0), value))
    return cutouts


def paste_cutout(
    image: NDArray[np.floating],
    labels: NDArray[Any],
    cutout: Cutout,
    corner: Sequence[int],
    value: int,
    *,
    visible: float = 0.5,
    sizes: dict[int, int] | None = None,
) -> bool:
    """Paste an object into ``image`` and ``labels``, which are changed in place.

    Covered voxels lose their label. Nothing is pasted if another object would be partly covered
    and keep less than the share ``visible`` of its voxels, or would fall into pieces.

    Args:
        image: ``(C, *space)``.
        labels: ``(*space)``.
        cutout: the object; parts outside the image are cut off.
        corner: first voxel of the box of the cutout; may be negative.
        value: label of the pasted object.
        visible: smallest share of another object that must stay visible, in [0, 1]; 0 allows all.
        sizes: number of voxels of every object before anything was pasted; the pasted object is
            added. None: the present objects count as complete.

    Returns:
        Whether it was pasted.
    """
    target, source = [], []
    for first, size, length in zip(corner, cutout.mask.shape, labels.shape, strict=True):
        start, stop = max(0, first), min(length, first + size)
        if start >= stop:
            return False
        target.append(slice(start, stop))
        source.append(slice(start - first, stop - first))
    inside, part = tuple(target), tuple(source)
    mask = cutout.mask[part]
    if not mask.any() or (visible > 0 and _harms(labels, inside, mask, visible, sizes or {})):
        return False
    region = image[(slice(None), *inside)]
    values = cutout.image[(slice(None), *part)].astype(np.float32)
    ground = _ground(region, (labels[inside] == 0) & ~mask)
    if ground is not None and cutout.ground is not None:
        values += (ground - cutout.ground).reshape(-1, *(1,) * mask.ndim)
    cover = np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), _SEAM))
    cover[~mask] *= 0.5
    region += cover * (values - region)
    labels[inside][mask] = value
    if sizes is not None:
        sizes[value] = int(mask.sum())
    return True


def turn_cutout(cutout: Cutout, rng: np.random.Generator, *, moving: int = 2) -> Cutout:
    """Mirror an object along random axes and rotate it by right angles in the last two axes."""
    image, mask = cutout.image, cutout.mask
    for axis in range(max(0, mask.ndim - moving), mask.ndim):
        if rng.random() < 0.5:
            image, mask = np.flip(image, axis + 1), np.flip(mask, axis)
    if mask.ndim > 1:
        turns = int(rng.integers(4))
        image, mask = np.rot90(image, turns, (-2, -1)), np.rot90(mask, turns, (-2, -1))
    return Cutout(image, mask, cutout.ground, cutout.value)


def _harms(
    labels: NDArray[Any],
    inside: tuple[slice, ...],
    mask: NDArray[np.bool_],
    visible: float,
    sizes: dict[int, int],
) -> bool:
    """Whether an object under the mask would be left too small or in pieces."""
    for value in np.unique(labels[inside][mask]).tolist():
        if value <= 0:
            continue
        whole = labels == value
        left = whole.copy()
        left[inside] &= ~mask
        kept = int(left.sum())
        small = kept < visible * sizes.get(value, int(whole.sum()))
        if kept and (small or _pieces(left) > _pieces(whole)):
            return True
    return False


def _pieces(mask: NDArray[np.bool_]) -> int:
    return int(connected_components(mask.astype(np.int32), connectivity=1).max(initial=0))


def _ground(image: NDArray[Any], empty: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    if not empty.any():
        return None
    return np.median(image[:, empty], axis=1).astype(np.float32)
