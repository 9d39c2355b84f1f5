"""Count the foreground that a decoder drops: voxels and objects, by reason, any number of axes.

A decoder removes objects that it takes for errors. If a filter fits the data badly it removes good
objects, so what each filter takes away is counted and reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import gamma, pi, prod
from typing import SupportsInt

import numpy as np
from numpy.typing import NDArray

from unmask.labels.objects import find_objects


@dataclass(frozen=True)
class Region:
    """The part of an image that is decoded at once.

    Attributes:
        inside: slices of the decoded array that count; what lies outside is context.
        voxels: voxels of the whole image.
        ends: whether the image continues before and behind the decoded array, per axis.
    """

    inside: tuple[slice, ...]
    voxels: int
    ends: tuple[tuple[bool, bool], ...] = ()

    @classmethod
    def whole(cls, space: Sequence[int]) -> Region:
        """An image that is decoded in one piece."""
        return cls(tuple(slice(0, n) for n in space), prod(space))

    def cuts(
        self, boxes: tuple[NDArray[np.int64], NDArray[np.int64]], shape: Sequence[int]
    ) -> NDArray[np.bool_]:
        """Whether each box ``(start, stop)`` reaches an end of the array inside the image."""
        found = np.zeros(len(boxes[0]), bool)
        for axis, (before, behind) in enumerate(self.ends):
            found |= before & (boxes[0][:, axis] == 0)
            found |= behind & (boxes[1][:, axis] == shape[axis])
        return found

    def holds(self, corners: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of the voxels ``(n, ndim)`` counts.

        Blocks take the first corner of an object's box for its place, so that all blocks together
        count an object once.
        """
        low = np.array([part.start for part in self.inside])
        high = np.array([part.stop for part in self.inside])
        return np.logical_and.reduce((corners >= low) & (corners < high), axis=1)


@dataclass
class Tally:
    """Running counts of one decoding; the counts of several regions of an image add up.

    Attributes:
        region: what is counted; None: everything.
        counts: whole numbers by name: ``foreground``, the voxels of the foreground; for each
            reason ``<reason>.voxels`` and ``<reason>.objects``; ``cut``, dropped objects that
            reach into the region and beyond the decoded array.
    """

    region: Region | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, counts: Mapping[str, SupportsInt]) -> None:
        """Add to counts by name; zero leaves no entry."""
        for name, count in counts.items():
            if int(count):
                self.counts[name] = self.counts.get(name, 0) + int(count)

    def inner(self, array: np.ndarray) -> np.ndarray:
        """The part of an array that counts."""
        return array if self.region is None else array[self.region.inside]

    def voxels(self, reason: str, where: NDArray[np.bool_]) -> None:
        """Count dropped voxels that belong to no object."""
        self.add({f"{reason}.voxels": np.count_nonzero(self.inner(where))})

    def objects(self, reason: str, labels: NDArray[np.int32], removed: NDArray[np.bool_]) -> None:
        """Count the objects with ``removed[id]``; id 0 is not one."""
        removed = removed.copy()
        removed[:1] = False
        gone = find_objects(np.where(removed[labels], labels, 0).astype(np.int32))
        voxels = np.count_nonzero(removed[self.inner(labels)])
        objects = np.count_nonzero(self._here(gone.start))
        self.add({f"{reason}.voxels": voxels, f"{reason}.objects": objects})
        if self.region is not None and self.region.ends:
            here = np.zeros(len(removed), bool)
            here[self.inner(labels)] = True
            cut = self.region.cuts((gone.start, gone.stop), labels.shape)
            self.add({"cut": np.count_nonzero(cut & here[gone.ids])})

    def settle(self, foreground: NDArray[np.bool_]) -> None:
        """Count the foreground, when decoding is finished."""
        self.add({"foreground": np.count_nonzero(self.inner(foreground))})

    def _here(self, corners: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.ones(len(corners), bool) if self.region is None else self.region.holds(corners)


def diameter(voxels: NDArray[np.number] | float, ndim: int) -> NDArray[np.float64]:
    """Diameter of the ball (disk, interval) of ``voxels`` voxels.

    Examples:
        >>> float(diameter(100 * 3.14159265 / 4, 2).round(3))
        10.0
    """
    unit = pi ** (ndim / 2) / gamma(ndim / 2 + 1)
    return 2 * (np.asarray(voxels, np.float64) / unit) ** (1 / ndim)
