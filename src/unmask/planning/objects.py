"""Objects as one set of numbers: diameters, extents, contacts and gaps over all label images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from unmask.planning.image_facts import ImageFacts
from unmask.planning.label_facts import LabelImage

# Objects of one kind are about as long as wide, so a larger ratio of their mean extents says that
# voxels are longer along the axis where objects seem short.
_FLAT = 1.8
_ENOUGH = 8
# Fewer whole objects than these, and than this share of all, do not speak for the others.
_FEW, _RARE = 5, 0.1


@dataclass(frozen=True)
class ObjectFacts:
    """Measurements of all objects of a plan, in voxels of the files.

    Attributes:
        count: number of objects that were measured.
        low: 5 % of the diameters are smaller.
        median: of the diameters.
        high: 5 % of the diameters are larger.
        longest: 99th percentile of the bounding boxes' longest edges.
        largest_share: share of its image that the largest object covers.
        touching: share of the objects that touch another one.
        foreground: median share of voxels that belong to objects.
        gap: median thickness of the background between surfaces.
        flatness: voxel size per axis that would make objects as long as wide, relative to the
            smallest; ones where too few objects were measured.
        between_images: largest median diameter of an image divided by the smallest one.
    """

    count: int
    low: float
    median: float
    high: float
    longest: float
    largest_share: float
    touching: float
    foreground: float
    gap: float
    flatness: tuple[float, ...]
    between_images: float

    def resized(self, scale: Sequence[float]) -> ObjectFacts:
        """The facts about objects that are resized by a factor per axis."""
        mean = prod(scale) ** (1 / len(scale))
        return replace(
            self,
            low=self.low * mean,
            median=self.median * mean,
            high=self.high * mean,
            # Axes of short voxels, where objects are longest, are those that are resized.
            longest=self.longest * min(scale),
            gap=self.gap * mean,
        )


def measure_objects(labels: Sequence[LabelImage], ndim: int) -> ObjectFacts | None:
    """Numbers of all objects; those cut by the border count only if hardly any others exist."""
    seen = [one for one in labels if len(one.ids)]
    if not seen:
        return None
    keep = _counted(seen)
    diameters = [one.diameters[kept] for one, kept in zip(seen, keep, strict=True)]
    every = np.concatenate(diameters)
    extents = np.concatenate([one.extents[kept] for one, kept in zip(seen, keep, strict=True)])
    low, median, high = (float(v) for v in np.percentile(every, (5, 50, 95)))
    per_image = [float(np.median(each)) for each in diameters if len(each)]
    mean = extents.mean(axis=0)
    flat = mean.max() / mean if len(every) >= _ENOUGH else np.ones(ndim)
    return ObjectFacts(
        count=len(every),
        low=low,
        median=median,
        high=high,
        longest=float(np.percentile(extents.max(axis=1), 99)),
        largest_share=max(float(one.sizes.max() / one.space.prod()) for one in seen),
        touching=float(np.mean(np.concatenate([one.touching for one in seen]))),
        foreground=float(np.median([one.foreground for one in seen])),
        gap=float(np.median([one.gap for one in seen])),
        flatness=tuple(float(f) if f >= _FLAT else 1.0 for f in flat),
        between_images=max(per_image) / min(per_image),
    )


def slenderness(labels: Sequence[LabelImage], voxel: Sequence[float]) -> float:
    """Longest edge of the bounding box over the diameter, which 10 % of the objects exceed.

    Balls have 1, tubes ten times as long as wide 4 (along an axis); 1 without objects.

    Args:
        labels: measured label images.
        voxel: length of a voxel per axis, relative to the shortest one.
    """
    seen = [one for one in labels if len(one.ids)]
    if not seen:
        return 1.0
    edges, edge = np.asarray(voxel), prod(voxel) ** (1 / len(voxel))
    ratios = [
        ((one.extents * edges).max(axis=1) / (one.diameters * edge))[kept]
        for one, kept in zip(seen, _counted(seen), strict=True)
    ]
    return float(np.percentile(np.concatenate(ratios), 90))


def _counted(seen: Sequence[LabelImage]) -> list[NDArray[np.bool_]]:
    """Which objects speak for all: those that no border cuts, unless they are few."""
    uncut = sum(int((~one.cut).sum()) for one in seen)
    # In thin stacks nearly all objects are cut; the few others are the smallest ones.
    whole = uncut >= _FEW or uncut > _RARE * sum(len(one.ids) for one in seen)
    return [~one.cut if whole else np.ones(len(one.ids), bool) for one in seen]


def voxel_shape(images: ImageFacts, objects: ObjectFacts | None) -> tuple[tuple[float, ...], str]:
    """Length of a voxel per axis relative to the shortest one, and where it is known from."""
    if images.spacing is not None:
        return (
            images.anisotropy,
            f"voxels measure {_times(images.spacing)} {images.unit or ''}".rstrip(),
        )
    if objects is not None and images.ndim > 2 and max(objects.flatness) > 1:
        return objects.flatness, (
            "no file has a voxel size, and objects are "
            f"{max(objects.flatness):.1f} times shorter along one axis"
        )
    return (1.0,) * images.ndim, "no file has a voxel size" if images.ndim > 2 else ""


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
