"""Checks of pairs: position and values of each one, and the content of all.

Headers do not reveal swapped folders, empty labels, or masks instead of objects; the pixels of a
few images do (`check_content`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod

import numpy as np

from unmask.data.exchange import exchange_message
from unmask.data.pairing import Pair
from unmask.errors import DataError, message
from unmask.io import Image
from unmask.io.orientation import apart
from unmask.io.pictures import CLASSES, looks_like_labels, looks_like_picture
from unmask.space.box import Box
from unmask.wording import format_count, format_part

# Fraction of a voxel by which positions may differ: headers are rounded.
_APART = 0.5

# Number of pairs that are examined, and voxels of each.
_LOOKED, _VOXELS = 16, 4_000_000

# Labels (*space) and voxel size to values and weight.
Encode = Callable[[np.ndarray, tuple[float, ...] | None], tuple[np.ndarray, np.ndarray]]


def check_place(labels: Image, image: Image) -> None:
    """Refuse labels whose file puts them elsewhere in the body than their image.

    Raises:
        DataError: corners are more than half a voxel apart; or one of the two says nothing of its
            position and the other was turned on reading, so that they may not lie alike.
    """
    here, there = (each.meta.get("position") for each in (image, labels))
    if here is not None and there is not None:
        lengths = (1,) * (3 - image.ndim) + image.shape[1:]
        distance = apart(here, there, lengths)
        if distance > _APART:
            raise DataError(
                f"{labels.source}: expected the affine of {image.source}, found one that "
                f"puts its corners up to {distance:.1f} voxels away. Save both on one grid, or "
                "fix the header that is wrong."
            )
    elif any(not each.meta["turn"].still for each in (image, labels) if "turn" in each.meta):
        lost, known = (image, labels) if here is None else (labels, image)
        raise DataError(
            f"{lost.source}: expected an affine as {known.source} has, found none, and that one is "
            "not stored in the order right, front, head. Save both as NIfTI with their affine."
        )


def check_origin(labels: Image, image: Image) -> None:
    """Refuse labels of another ``offset`` than their image.

    Raises:
        DataError: both state one, and they differ by more than half a voxel.
    """
    here, there = (each.meta.get("origin", {}) for each in (image, labels))
    sizes = dict(zip(image.axes[1:], image.spacing or (), strict=False))
    distance = max(
        (abs(here[a] - there[a]) / size for a, size in sizes.items() if a in here and a in there),
        default=0.0,
    )
    if distance > _APART and labels.unit == image.unit:
        raise DataError(
            f"{labels.source}: expected the offset of {image.source}, found an offset that is up "
            f"to {distance:.1f} voxels away. Cut both to the same region, or correct the offset."
        )


def check_values(labels: np.ndarray, pair: Pair, encode: Encode) -> None:
    """Ask a task whether it knows every value of a label image, before a crop happens upon it.

    Raises:
        DataError: it does not; names the file.
    """
    # One voxel per value, so that the answer costs the same for images of any size.
    ndim = pair.image.ndim
    values = label_values(labels).astype(np.int64).reshape((1,) * (ndim - 1) + (-1,))
    encode_labels(encode, values, pair)


def encode_labels(encode: Encode, labels: np.ndarray, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Values and weight of labels ``(*space)``; an error names the file.

    Raises:
        DataError: labels that the task cannot encode.
    """
    try:
        return encode(labels, pair.image.spacing)
    except DataError as error:
        source = pair.name if pair.labels is None else pair.labels.source
        raise DataError(f"{source}: {error}") from error


def label_values(labels: np.ndarray) -> np.ndarray:
    """The different values of a label image, in ascending order."""
    if labels.dtype.itemsize <= 2:
        # Counting is many times faster than sorting.
        return np.flatnonzero(np.bincount(labels.ravel()))
    return np.unique(labels)


def check_content(
    pairs: Sequence[Pair], *, objects: bool, ignore: int | None = None
) -> tuple[list[str], list[str]]:
    """Problems and notes about the content of labels, from an even sample of the images.

    Args:
        pairs: images with labels.
        objects: the task numbers objects.
        ignore: label value without truth.

    Files that cannot be read are passed over: the check that reads all of them reports them.
    """
    problems: list[str] = []
    notes: list[str] = []
    labeled = [pair for pair in pairs if pair.labels is not None]
    if not labeled:
        return problems, notes
    if not any(_has_object(pair, ignore) for pair in labeled):
        problems.append(
            message(
                _sources(labeled),
                expected="objects in at least one label image",
                found="0 everywhere",
                do="Give the label images that were drawn, with numbers from 1.",
            )
        )
        return problems, notes
    samples = [sample for pair in _even(labeled) if (sample := _sample(pair, ignore)) is not None]
    problems += _find_exchange(samples)
    if objects and not problems:
        _find_masks(samples, problems, notes)
    return problems, notes


def find_label_images(pairs: Sequence[Pair]) -> list[str]:
    """A note if most images look like labels, from an even sample of them."""
    looks: dict[str, bool] = {}
    for pair in _even(pairs):
        with suppress(DataError, ImportError):
            looks[pair.image.source] = all(map(looks_like_labels, _middle(pair.image)))
    alike = [source for source, is_alike in looks.items() if is_alike]
    if not alike or 2 * len(alike) < len(looks):
        return []
    return [
        f"{format_part(len(alike), len(looks), 'examined image', 'are')} areas of one number each, "
        f"as in labels, such as {alike[0]}: are they labels instead of images?"
    ]


def _even(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """A bounded number of pairs from everywhere in the list."""
    return pairs[:: max(1, -(-len(pairs) // _LOOKED))]


@dataclass(frozen=True)
class _Sample:
    """The middle of a pair, and numbers that tell labels from pictures.

    Attributes:
        pair: the pair.
        same: labels hold the values of the image.
        values: label values but 0 and the ignored one.
        pieces: connected pieces of them together; 0 if there are several values.
        swapped: the labels look like a picture, and the image like labels.
    """

    pair: Pair
    same: bool
    values: np.ndarray
    pieces: int
    swapped: bool


def _sample(pair: Pair, ignore: int | None) -> _Sample | None:
    try:
        image, labels = (_middle(each) for each in (pair.image, pair.labels or pair.image))
    except (DataError, ImportError):
        return None
    first, truth = image[0], labels[0]
    values = label_values(truth)
    values = values[(values != 0) & (values != (0 if ignore is None else ignore))]
    pieces = 0
    if len(values) <= CLASSES:
        from scipy import ndimage  # Predictions and evaluations come here without need for it.

        for value in values:
            structure = np.ones((3,) * truth.ndim)
            pieces += ndimage.label(truth == value, structure)[1]  # pyright: ignore
    same = bool(len(values) > CLASSES and any(np.array_equal(each, truth) for each in image))
    swapped = looks_like_picture(truth) and looks_like_labels(first)
    return _Sample(pair, same, values, pieces, swapped)


def _find_exchange(samples: Sequence[_Sample]) -> list[str]:
    """A problem where all labels look like pictures, and all images like labels."""
    pictures = [sample for sample in samples if sample.same]
    if pictures:
        return [
            message(
                _sources([sample.pair for sample in pictures]),
                expected="labels",
                found="the pixels of the image itself",
                do="Give the folder of the label images as --labels.",
            )
        ]
    if not samples or not all(sample.swapped for sample in samples):
        return []
    return [exchange_message(_labels(samples[0].pair), len(samples))]


def _find_masks(samples: Sequence[_Sample], problems: list[str], notes: list[str]) -> None:
    """Masks of classes for a task about objects: one id in many pieces."""
    drawn = [sample for sample in samples if len(sample.values)]
    few = [sample for sample in drawn if 0 < len(sample.values) < CLASSES]
    scattered = [sample for sample in few if sample.pieces >= 2 * len(sample.values)]
    one = {int(sample.values[0]) for sample in drawn if len(sample.values) == 1}
    binary = len(one) == 1 and all(len(sample.values) == 1 for sample in drawn)
    if binary and max(3, 2 * len(drawn)) <= sum(sample.pieces for sample in drawn):
        problems.append(
            message(
                _sources([sample.pair for sample in drawn]),
                expected="a number of its own for each object",
                found=f"one id ({one.pop()}) in {drawn[0].pieces} separate pieces: a mask",
                do="Number the objects (for example with skimage.measure.label), or train on "
                "classes (unmask presets: semantic2d, semantic3d).",
            )
        )
        return
    notes += [
        f"{_labels(sample.pair)}: {format_count(len(sample.values), 'id')} in {sample.pieces} "
        "separate pieces: is it a mask of classes? This task numbers objects."
        for sample in scattered
    ]


def _has_object(pair: Pair, ignore: int | None) -> bool:
    """Whether any label is neither 0 nor ignored; large images are read slab by slab."""
    if pair.labels is None:
        return False
    space = pair.labels.shape[1:]
    thick = space[0] if pair.labels.whole else max(1, _VOXELS // max(1, prod(space[1:])))
    for start in range(0, space[0], thick):
        rest = space[1:]
        box = Box((start, *(0 for _ in rest)), (min(start + thick, space[0]), *rest))
        try:
            labels = pair.labels.read(box)
        except (DataError, ImportError):
            return True
        if ((labels != 0) & (labels != (0 if ignore is None else ignore))).any():
            return True
    return False


def _middle(image: Image) -> np.ndarray:
    """The middle of an image, of a bounded number of voxels."""
    space = image.shape[1:]
    share = min(1.0, (_VOXELS / max(1, prod(space))) ** (1 / len(space)))
    size = [max(1, int(length * share)) for length in space]
    start = tuple((n - s) // 2 for n, s in zip(space, size, strict=True))
    return image.read(Box(start, tuple(a + s for a, s in zip(start, size, strict=True))))


def _labels(pair: Pair) -> str:
    return pair.name if pair.labels is None else pair.labels.source


def _sources(pairs: Sequence[Pair]) -> str:
    more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return f"{_labels(pairs[0])}{more}"
