"""Labels of a part of an image: where they are in it, and that part of the image.

The position comes from the setting ``data.label_offset``, or from both files: the affines of NIfTI,
or ``offset`` and voxel size of HDF5 and Zarr.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unmask.errors import DataError, message
from unmask.io import Image
from unmask.space.box import Box

# Voxels by which an offset may differ from a whole number: headers are rounded.
_ROUNDED = 0.1


def part_with_labels(
    image: Image, labels: Image, offset: Sequence[int] | None = None, notes: list[str] | None = None
) -> Image:
    """The part of ``image`` that ``labels`` cover; the image itself if both have one shape.

    Args:
        image: the image, or a prediction for it.
        labels: labels of the image or of a part of it.
        offset: first voxel of the labels in the image; None: as the files say.
        notes: gets a line on the part that is used.

    Raises:
        DataError: another shape and no known position, or a position outside of the image.
    """
    space, size = image.shape[1:], labels.shape[1:]
    if offset is None and space == size:
        return image
    start = offset_in_files(image, labels) if offset is None else tuple(offset)
    if start is None:
        raise DataError(_other_shape(image, labels))
    fits = len(start) == len(space) == len(size) and all(
        min(a, m - n - a) >= 0 for a, n, m in zip(start, size, space, strict=True)
    )
    if not fits:
        raise DataError(
            message(
                labels.source,
                expected=f"labels inside of {image.source}, {space}",
                found=f"{size} voxels at {tuple(start)}",
                do="Correct data.label_offset (voxels, slow axis first), or the offset in the "
                "files.",
            )
        )
    if notes is not None and size != space:
        notes.append(
            f"{labels.source}: labels of {size} voxels at {start} of {image.source}, {space}; only "
            "this part of the image is used."
        )
    return crop_image(image, Box(start, tuple(a + n for a, n in zip(start, size, strict=True))))


def crop_image(image: Image, box: Box) -> Image:
    """A box of an image as an image; its position in the file is not that of the image."""
    if box == Box.of(image.shape[1:]):
        return image

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        moved = [
            slice(part.start + a, part.stop + a)
            for part, a in zip(index[1:], box.start, strict=True)
        ]
        return image.fetch((index[0], *moved))

    kept = ("files", "notes", "channels", "selected")
    meta = {key: image.meta[key] for key in kept if key in image.meta}
    return replace(image, shape=(image.shape[0], *box.shape), fetch=fetch, meta=meta)


def offset_in_files(image: Image, labels: Image) -> tuple[int, ...] | None:
    """First voxel of the labels in the image from both files; None if they do not say it."""
    here, there = labels.meta.get("position"), image.meta.get("position")
    if here is not None and there is not None:
        return _by_affine(np.asarray(here), np.asarray(there), image.ndim)
    own, other = labels.meta.get("origin", {}), image.meta.get("origin", {})
    if not (own or other) or image.spacing is None or labels.unit != image.unit:
        return None
    if labels.spacing is None or not np.allclose(labels.spacing, image.spacing, rtol=1e-3):
        return None
    # A file of the whole image often has no offset, which is one of 0.
    voxels = [
        (own.get(axis, 0.0) - other.get(axis, 0.0)) / size
        for axis, size in zip(image.axes[1:], image.spacing, strict=True)
    ]
    return _round_to_voxels(voxels)


def _by_affine(labels: np.ndarray, image: np.ndarray, ndim: int) -> tuple[int, ...] | None:
    if ndim != len("zyx") or not np.allclose(labels[:3, :3], image[:3, :3], rtol=1e-3, atol=1e-4):
        return None
    voxels = np.linalg.solve(image[:3, :3], labels[:3, 3] - image[:3, 3])
    return _round_to_voxels(voxels[::-1].tolist())


def _round_to_voxels(voxels: Sequence[float]) -> tuple[int, ...] | None:
    near = all(np.isfinite(each) and abs(each - round(each)) <= _ROUNDED for each in voxels)
    whole = tuple(round(each) for each in voxels) if near else ()
    # Files that say nothing of their own have equal positions: labels that lost a row as well.
    return whole if any(whole) else None


def _other_shape(image: Image, labels: Image) -> str:
    space, size = image.shape[1:], labels.shape[1:]
    differences = [
        f"{axis} has {n} voxels instead of {m}"
        for axis, n, m in zip(image.axes[1:].lower(), size, space, strict=False)
        if n != m
    ]
    swapped = sorted(size) == sorted(space) and len(size) == len(space)
    inside = len(size) == len(space) and all(n <= m for n, m in zip(size, space, strict=True))
    if swapped:
        do = "The axes have another order: turn the labels or the image."
    elif inside:
        do = (
            "If they are of a part of the image, say where its first voxel is: "
            f"--set data.label_offset=[{','.join('0' * len(size))}]. Otherwise give labels "
            "of its size."
        )
    else:
        do = "Give labels of the same size and axis order."
    named = "" if labels.name == image.name else f" {image.source}"
    return message(
        labels.source,
        expected=f"the size of its image{named}, {space}",
        found=f"{size} ({', '.join(differences)})",
        do=do,
    )
