"""Everything that is measured before a plan is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from unmask.data.pairs import Pair
from unmask.data.portions import middle_box
from unmask.planning.image_facts import ImageFacts, measure_images, spread
from unmask.planning.kinds import Verdict, classes_or_objects
from unmask.planning.label_facts import LabelImage, measure_labels
from unmask.planning.objects import ObjectFacts, measure_objects, slenderness, voxel_shape

# Largest number of labeled images whose channels are compared.
_LOOKS = 8


@dataclass(frozen=True)
class Facts:
    """Everything that was measured.

    Attributes:
        images: facts about all images, labeled or not.
        labels: facts about the label images that were read.
        labeled: number of images with labels.
        verdict: whether labels are classes or objects.
        objects: facts about objects; None if labels are classes, or all label images are empty.
        voxel: length of a voxel per axis, relative to the shortest one.
        voxel_reason: source of ``voxel``, as a clause.
        slenderness: length over diameter that 10 % of the objects exceed; 1 for balls and classes.
        contrast: per channel, difference of the mean of labeled voxels from that of the background,
            in standard deviations of the background; empty for images of one channel.
    """

    images: ImageFacts
    labels: tuple[LabelImage, ...]
    labeled: int
    verdict: Verdict
    objects: ObjectFacts | None
    voxel: tuple[float, ...]
    voxel_reason: str
    slenderness: float = 1.0
    contrast: tuple[float, ...] = ()

    @property
    def diameter(self) -> float | None:
        """Median diameter of the objects in units of the shortest voxel edge; None: not known.

        It equals the diameter in voxels if voxels are cubes.
        """
        if self.objects is None:
            return None
        return self.objects.median * prod(self.voxel) ** (1 / self.images.ndim)

    def resized(self, scale: Sequence[float]) -> Facts:
        """The facts about images that are resized by a factor per axis (``data.scale``)."""
        shape = tuple(max(1, round(n * s)) for n, s in zip(self.images.shape, scale, strict=True))
        voxel = [length / s for length, s in zip(self.voxel, scale, strict=True)]
        return replace(
            self,
            images=replace(self.images, shape=shape),
            objects=None if self.objects is None else self.objects.resized(scale),
            voxel=tuple(length / min(voxel) for length in voxel),
        )


def measure(
    pairs: Sequence[Pair],
    *,
    ignore_label: int | None = None,
    classes: bool | None = None,
    why: str = "it was asked for",
) -> Facts:
    """Measure images and labels.

    Args:
        pairs: opened images, at least one of them with labels.
        ignore_label: label value of voxels that are ignored; None: no value.
        classes: whether labels are classes, if that is known; None: decided by the labels.
        why: where that is known from.

    Raises:
        DataError: a file cannot be read.
    """
    images = measure_images(pairs)
    labels = measure_labels(pairs, ignore_label=ignore_label)
    verdict = classes_or_objects(labels, images)
    if classes is not None and classes != verdict.classes:
        verdict = Verdict(
            classes,
            Verdict.SURE if classes else -Verdict.SURE,
            (why,),
            aligned=False,
        )
    objects = None if verdict.classes else measure_objects(labels, images.ndim)
    voxel, reason = voxel_shape(images, objects)
    labeled = sum(pair.labels is not None for pair in pairs)
    contrast = measure_contrast(pairs) if images.channels > 1 else ()
    slender = 1.0 if objects is None else slenderness(labels, voxel)
    return Facts(images, tuple(labels), labeled, verdict, objects, voxel, reason, slender, contrast)


def measure_contrast(pairs: Sequence[Pair]) -> tuple[float, ...]:
    """Contrast of labeled voxels per channel, in standard deviations; see ``Facts.contrast``."""
    rows: list[np.ndarray] = []
    for pair in spread([pair for pair in pairs if pair.labels is not None], _LOOKS):
        if pair.labels is None:
            continue
        box = middle_box(pair.labels)
        inside = pair.labels.read(box)[0] > 0
        values = pair.image.read(box).astype(np.float64)
        if 0 < inside.mean() < 1:
            apart = values[:, inside].mean(axis=1) - values[:, ~inside].mean(axis=1)
            rows.append(np.abs(apart) / np.maximum(values[:, ~inside].std(axis=1), 1e-12))
    if not rows or len({len(row) for row in rows}) > 1:
        return ()
    return tuple(float(value) for value in np.median(rows, axis=0))
