"""Divide labeled images, or regions of a single image, into the folds of a cross-validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from unmask.data.offset import crop_image
from unmask.data.pairs import Pair
from unmask.errors import DataError, message
from unmask.space.box import Box
from unmask.space.random import generator

# Largest number of regions of a single image: more would train on too little of it.
MOST_REGIONS = 3
# Smallest number of images of which some are held out.
FEWEST = 5


@dataclass(frozen=True)
class Fold:
    """One fold.

    Attributes:
        train: training images of the fold.
        held_out: images that are scored with the model of the fold.
    """

    train: tuple[Pair, ...]
    held_out: tuple[Pair, ...]


def make_folds(
    pairs: Sequence[Pair], count: int, *, seed: int, crop: Sequence[int], classes: bool = False
) -> list[Fold]:
    """Make folds in which every pair is held out exactly once.

    A single image is cut into ``count`` regions. Images with one class each are stratified by
    class, so that each fold trains on every class that has enough images.

    Args:
        pairs: labeled images, not resampled.
        count: number of folds, 2 or more.
        seed: seed of the assignment of images to folds.
        crop: size of a training crop per axis, in voxels of the images; a region is at least as
            long.
        classes: whether each image has a single class.

    Raises:
        DataError: there are fewer images than folds, or a single image is too small for regions.
    """
    if len(pairs) == 1:
        possible = count_regions(pairs[0].image.shape[1:], crop)
        if count > possible:
            raise DataError(_too_small(pairs[0], count, possible, crop))
        pairs = cut_regions(pairs[0], count)
        order = list(range(count))
    else:
        if count > len(pairs):
            raise DataError(
                message(
                    f"train.folds={count}",
                    expected="at least as many labeled images",
                    found=str(len(pairs)),
                    do=f"Give --folds {len(pairs)}, or --folds 0 to hold nothing out.",
                )
            )
        order = generator(seed, "folds").permutation(len(pairs)).tolist()
    if classes:
        order.sort(key=lambda index: class_of(pairs[index]))
    held = [sorted(order[fold::count]) for fold in range(count)]
    return [
        Fold(
            tuple(pair for index, pair in enumerate(pairs) if index not in out),
            tuple(pairs[index] for index in out),
        )
        for out in held
    ]


def hold_out(
    pairs: Sequence[Pair], share: float, *, seed: int, classes: bool = False
) -> tuple[list[Pair], list[Pair]]:
    """Divide labeled images into those to train on and those for validation, at random.

    Nothing is held out of fewer than five images, and never all of them. Images with one class each
    are stratified: the share applies to every class, with at least one image of each class that has
    two or more. A validation on one class would choose a model that always answers it.

    Args:
        pairs: labeled images.
        share: share of the images to hold out; 0: none.
        seed: seed of the choice.
        classes: whether each image has a single class.
    """
    if len(pairs) < FEWEST or share == 0:
        return list(pairs), []
    order = generator(seed, "holdout").permutation(len(pairs)).tolist()
    groups: dict[int, list[int]] = {}
    for index in order:
        groups.setdefault(class_of(pairs[index]) if classes else 0, []).append(index)
    chosen = {
        index
        for group in groups.values()
        for index in group[: min(max(1, round(len(group) * share)), len(group) - 1)]
    }
    return (
        [pair for index, pair in enumerate(pairs) if index not in chosen],
        [pair for index, pair in enumerate(pairs) if index in chosen],
    )


def class_notes(pairs: Sequence[Pair], names: Sequence[str]) -> list[str]:
    """A note on classes of whole images that cannot be both learned and validated.

    Args:
        pairs: all labeled images, before some are held out.
        names: names of the classes, in order of their numbers.
    """
    counts = Counter(map(class_of, pairs))
    images = ", ".join(f"{counts[number]} {name}" for number, name in enumerate(names, 1))
    single = [name for number, name in enumerate(names, 1) if counts[number] == 1]
    absent = [name for number, name in enumerate(names, 1) if not counts[number]]
    notes = []
    if single:
        notes.append(
            f"Only one labeled image has the class {', '.join(single)} (images: {images}): it can "
            "be learned or validated, not both. Label more images of it."
        )
    if absent:
        notes.append(
            f"No labeled image has the class {', '.join(absent)} (images: {images}), so it is not "
            "learned. Label images of it, or leave it out of task.classes."
        )
    return notes


def validation_notes(held_out: Sequence[Pair], names: Sequence[str]) -> list[str]:
    """A note on classes of whole images that no validation image has."""
    known = set(map(class_of, held_out))
    absent = [name for number, name in enumerate(names, 1) if number not in known]
    if not absent or not held_out:
        return []
    return [
        f"No validation image has the class {', '.join(absent)}, so the scores say nothing about "
        "it. Give --val-images with images of every class."
    ]


def count_regions(shape: Sequence[int], crop: Sequence[int]) -> int:
    """Number of regions that each contain a crop, at most three; 0 if the image is too small.

    Examples:
        >>> count_regions((300, 900), (256, 256)), count_regions((300, 400), (256, 256))
        (3, 0)
    """
    axis = int(np.argmax(shape))
    count = min(MOST_REGIONS, int(shape[axis] // max(1, crop[axis])))
    return count if count > 1 else 0


def cut_regions(pair: Pair, count: int) -> list[Pair]:
    """Cut an image and its labels into ``count`` equal regions along the longest axis."""
    space = tuple(pair.image.shape[1:])
    axis = int(np.argmax(space))
    edges = np.linspace(0, space[axis], count + 1).round().astype(int).tolist()
    regions = []
    for number, (start, stop) in enumerate(pairwise(edges), 1):
        low = [0] * len(space)
        high = list(space)
        low[axis], high[axis] = start, stop
        box = Box(tuple(low), tuple(high))
        labels = None if pair.labels is None else crop_image(pair.labels, box)
        name = f"{pair.name}_region{number}"
        regions.append(replace(pair, name=name, image=crop_image(pair.image, box), labels=labels))
    return regions


def class_of(pair: Pair) -> int:
    """Number of the class of a whole image, starting at 1; 0 if it has none."""
    return 0 if pair.labels is None else int(pair.labels.read().flat[0])


def _too_small(pair: Pair, count: int, possible: int, crop: Sequence[int]) -> str:
    size = " x ".join(map(str, pair.image.shape[1:]))
    do = f"Give --folds {possible}" if possible else "Label a second image"
    return message(
        pair.image.source,
        expected=f"an image that can be cut into {count} regions of a crop ({list(crop)}) or more",
        found=f"{size} voxels",
        do=f"{do}, or --folds 0 to hold nothing out.",
    )
