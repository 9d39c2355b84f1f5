"""Diameters of the objects that a model is trained on, measured on a sample of the labels.

A network recognizes objects of about the sizes that it has seen. The card of a model keeps them, so
that prediction can compare (`unmask.infer.notes`) and rescale images (``infer.scale``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, prod
from typing import Any

import numpy as np

from unmask.data.pairs import Pair
from unmask.errors import DataError
from unmask.labels.dropped import diameter
from unmask.labels.objects import find_objects
from unmask.labels.relabeling import relabel
from unmask.space.box import Box

# Label images that are read at most, spread evenly over all, and voxels of each.
_IMAGES = 64
_VOXELS = 1 << 24
# Percentiles that stand for the smallest and the largest objects.
_LOW, _HIGH = 5, 95


@dataclass(frozen=True)
class ObjectDiameters:
    """Diameters of objects in voxels: of the disk or ball of equal size.

    Attributes:
        median: of all measured objects.
        low: 5 % are smaller.
        high: 5 % are larger.
        objects: number of measured objects.
        spacing: mean size of a voxel, the geometric mean over axes; None if some image has none.
        unit: of ``spacing``.
    """

    median: float
    low: float
    high: float
    objects: int
    spacing: float | None = None
    unit: str | None = None

    @classmethod
    def of_card(cls, entry: Any) -> ObjectDiameters | None:
        """Read what `to_card` wrote; None if it is missing or of another form."""
        pixels = entry.get("pixels") if isinstance(entry, Mapping) else None
        if not isinstance(pixels, Mapping):
            return None
        values = [pixels.get(name) for name in ("median", "p5", "p95")]
        numbers = [float(v) for v in values if isinstance(v, int | float) and 0 < v < inf]
        if len(numbers) < len(values):
            return None
        objects = entry.get("objects")
        return cls(*numbers, objects=objects if isinstance(objects, int) else 0)

    def to_card(self) -> dict[str, Any]:
        """JSON values for the card of a model, under ``object_diameters``.

        ``pixels`` are voxels of the network's grid; ``units`` are physical if all images have a
        voxel size. Both have ``p5``, ``median`` and ``p95``.
        """
        found = {"p5": self.low, "median": self.median, "p95": self.high}
        card: dict[str, Any] = {
            "pixels": {name: round(value, 2) for name, value in found.items()},
            "objects": self.objects,
        }
        if self.spacing is not None:
            sizes = {name: float(f"{value * self.spacing:.4g}") for name, value in found.items()}
            card["units"] = {**sizes, "unit": self.unit}
        return card


def measure_diameters(
    pairs: Sequence[Pair], *, ignore_label: int | None = None
) -> ObjectDiameters | None:
    """Diameters of the labeled objects, from 64 label images at most and a part of large ones.

    Objects that touch the border of what is read are left out, as they may be cut, unless no others
    are found.

    Args:
        pairs: images as the network sees them, with labels of objects.
        ignore_label: value without truth.

    Returns:
        None if there is no object.

    Raises:
        DataError: labels that cannot be read.
    """
    labeled = [pair for pair in pairs if pair.labels is not None]
    chosen = labeled[:: max(1, ceil(len(labeled) / _IMAGES))]
    whole: list[np.ndarray] = []
    cut: list[np.ndarray] = []
    for pair in chosen:
        inner, border = _diameters(pair, ignore_label)
        whole.append(inner)
        cut.append(border)
    found = np.concatenate([np.zeros(0), *whole])
    if not found.size:
        found = np.concatenate([np.zeros(0), *cut])
    if not found.size:
        return None
    low, median, high = (float(v) for v in np.percentile(found, (_LOW, 50, _HIGH)))
    spacing, unit = _voxel_size(chosen)
    return ObjectDiameters(median, low, high, len(found), spacing, unit)


def _diameters(pair: Pair, ignore_label: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Diameters of the objects inside the part that is read, and of those at its border."""
    labels = pair.labels
    if labels is None:
        raise DataError(f"{pair.name}: expected labels, found none. Give --labels.")
    box = _middle(labels.shape[1:], _VOXELS)
    values = labels.read(box)[0]
    if ignore_label is not None:
        values = np.where(values == ignore_label, 0, values)
    objects = find_objects(relabel(values))
    # An axis of one voxel cuts nothing.
    long = np.array(values.shape) > 1
    touching = ((objects.start == 0) | (objects.stop == values.shape))[:, long].any(axis=1)
    across = diameter(objects.size, int(max(1, long.sum())))
    return across[~touching], across[touching]


def _middle(space: Sequence[int], voxels: int) -> Box:
    """The box of about ``voxels`` voxels in the middle of an image."""
    share = min(1.0, voxels / max(1, prod(space))) ** (1 / len(space))
    lengths = [max(1, int(n * share)) for n in space]
    start = tuple((n - length) // 2 for n, length in zip(space, lengths, strict=True))
    return Box(start, tuple(a + length for a, length in zip(start, lengths, strict=True)))


def _voxel_size(pairs: Sequence[Pair]) -> tuple[float | None, str | None]:
    sizes = [pair.image.spacing for pair in pairs]
    units = {pair.image.unit for pair in pairs}
    if len(units) != 1 or None in units or any(each is None for each in sizes):
        return None, None
    means = [prod(each) ** (1 / len(each)) for each in sizes if each]
    # One number stands for all images, so they have to agree.
    if not means or max(means) > 1.01 * min(means):
        return None, None
    return float(np.median(means)), units.pop()
