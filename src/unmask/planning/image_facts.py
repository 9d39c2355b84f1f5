"""What is measured on images before a network is chosen: sizes, voxels, channels, intensities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from unmask.data.pairs import Pair
from unmask.data.portions import middle_box
from unmask.io import Image

# Images whose pixels are read, spread evenly over all of them.
_IMAGES = 32
# Percentiles between which the values of an image are compared with those of others.
_LOW, _HIGH = 1, 99
# Channels of color images, with alpha or without; other numbers are stains, which have an order.
_COLORS = (3, 4)
# Smallest share of the value range by which channels differ in a color image.
_COLOR = 0.02


@dataclass(frozen=True)
class ImageFacts:
    """Measurements of the images of one plan.

    Attributes:
        count: number of images.
        ndim: number of spatial axes.
        shape: median length per axis, in voxels.
        smallest: smallest length per axis, in voxels.
        largest: voxels of the largest image.
        channels: largest number of channels of a file, or of those that were chosen.
        color: whether three or four channels differ; false for gray saved as RGB.
        dtypes: number types with their counts, most frequent first.
        spacing: median voxel size per axis, in ``unit``; None if no file has one.
        with_spacing: number of images that have a voxel size.
        unit: of ``spacing``.
        spacing_ratio: largest voxel volume divided by the smallest one, among images that have one.
        low: median of the images' 1st percentiles.
        high: median of the images' 99th percentiles.
        minimum: smallest value seen.
        selected: numbers of the chosen channels in the files, starting at 0; empty: all are used.
    """

    count: int
    ndim: int
    shape: tuple[int, ...]
    smallest: tuple[int, ...]
    largest: int
    channels: int
    color: bool
    dtypes: tuple[tuple[str, int], ...]
    spacing: tuple[float, ...] | None
    with_spacing: int
    unit: str | None
    spacing_ratio: float
    low: float
    high: float
    minimum: float
    selected: tuple[int, ...] = ()

    @property
    def anisotropy(self) -> tuple[float, ...]:
        """Voxel size per axis divided by the smallest one; ones if no voxel size is known."""
        if self.spacing is None:
            return (1.0,) * self.ndim
        least = min(self.spacing)
        return tuple(size / least for size in self.spacing)


def spread(items: Sequence[Pair], most: int) -> list[Pair]:
    """At most ``most`` of the items, evenly spread, always the same ones."""
    step = max(1.0, len(items) / most)
    return [items[int(index * step)] for index in range(min(most, len(items)))]


def measure_images(pairs: Sequence[Pair]) -> ImageFacts:
    """Measure images: headers of all of them, pixels of 32 at most and a part of large ones.

    Args:
        pairs: opened images; labels are not read.

    Raises:
        DataError: an image cannot be read.
    """
    images = [pair.image for pair in pairs]
    shapes = np.array([image.shape[1:] for image in images])
    sizes = [image.spacing for image in images if image.spacing is not None]
    volumes = [prod(size) for size in sizes]
    looks = [_look(pair.image) for pair in spread(pairs, _IMAGES)]
    units = Counter(image.unit for image in images if image.spacing is not None)
    channels = max(image.shape[0] for image in images)
    return ImageFacts(
        count=len(images),
        ndim=images[0].ndim,
        shape=tuple(int(n) for n in np.median(shapes, axis=0)),
        smallest=tuple(int(n) for n in shapes.min(axis=0)),
        largest=int(shapes.prod(axis=1).max()),
        channels=channels,
        color=channels in _COLORS and any(look.color for look in looks),
        dtypes=tuple(Counter(str(image.dtype) for image in images).most_common()),
        spacing=tuple(float(f"{n:.6g}") for n in np.median(sizes, axis=0)) if sizes else None,
        with_spacing=len(sizes),
        unit=units.most_common(1)[0][0] if units else None,
        spacing_ratio=max(volumes) / min(volumes) if volumes else 1.0,
        low=float(np.median([look.low for look in looks])),
        high=float(np.median([look.high for look in looks])),
        minimum=min(look.minimum for look in looks),
        selected=tuple(images[0].meta.get("selected", ())),
    )


@dataclass(frozen=True)
class _Look:
    low: float
    high: float
    minimum: float
    color: bool


def _look(image: Image) -> _Look:
    values = image.read(middle_box(image))
    low, high = np.percentile(values, (_LOW, _HIGH))
    # Gray images are often saved as three equal channels; a network need not see them thrice.
    apart = np.abs(np.diff(values[:3].astype(np.float32), axis=0)).mean() if len(values) > 1 else 0
    return _Look(float(low), float(high), float(values.min()), bool(apart > _COLOR * (high - low)))
