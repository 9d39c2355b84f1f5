"""Link objects of neighboring planes, and of successive time points, that are the same object.

Links are found from overlaps: pairs of objects and their number of common voxels, counted plane by
plane. So memory depends on the number of objects, not on the number of voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unmask.labels.stitch import mark_largest

# Share of the smaller object that has to lie in the larger one.
SHARE = 0.5
# Both daughters of a division are inside the mother by `SHARE`; the smaller one has at least this
# share of the voxels of the larger one, so that debris is not a daughter.
_EVEN = 0.4
# Objects without an overlap are linked if their sizes differ by less than this factor.
_ALIKE = 2.0


@dataclass(frozen=True)
class Overlaps:
    """Objects of two label images of one grid that share voxels.

    Attributes:
        here: ``(n,)`` id in the first image.
        there: ``(n,)`` id in the second.
        shared: ``(n,)`` voxels that both have.
    """

    here: NDArray[np.int64]
    there: NDArray[np.int64]
    shared: NDArray[np.int64]

    @classmethod
    def count(cls, here: np.ndarray, there: np.ndarray) -> Overlaps:
        """Count the overlaps of two label images, 0 is background."""
        both = (here != 0) & (there != 0)
        left, right = here[both].astype(np.int64), there[both].astype(np.int64)
        width = int(right.max(initial=0)) + 1
        codes, shared = np.unique(left * width + right, return_counts=True)
        return cls(codes // width, codes % width, shared.astype(np.int64))

    @classmethod
    def total(cls, parts: Sequence[Overlaps]) -> Overlaps:
        """Add the overlaps that were counted in parts of one pair of images."""
        here = np.concatenate([part.here for part in parts])
        there = np.concatenate([part.there for part in parts])
        pairs, place = np.unique(np.stack([here, there], axis=1), axis=0, return_inverse=True)
        shared = np.zeros(len(pairs), np.int64)
        np.add.at(shared, place.reshape(-1), np.concatenate([part.shared for part in parts]))
        return cls(pairs[:, 0], pairs[:, 1], shared)


@dataclass(frozen=True)
class Frame:
    """The objects at one point in time, in the order of their ids.

    Attributes:
        ids: ``(n,)`` ascending.
        size: ``(n,)`` voxels.
        center: ``(n, ndim)`` mean position, in units of the voxel size if that is known.
        voxel: volume of a voxel in the units of ``center``.
    """

    ids: NDArray[np.int64]
    size: NDArray[np.int64]
    center: NDArray[np.float64]
    voxel: float = 1.0

    @property
    def diameter(self) -> NDArray[np.float64]:
        """``(n,)`` of circles or balls of the same size, in the units of ``center``."""
        ndim = self.center.shape[1]
        unit = {2: np.pi / 4, 3: np.pi / 6}.get(ndim, 1.0)
        return (self.size * self.voxel / unit) ** (1 / ndim)


@dataclass(frozen=True)
class Tracks:
    """Tracks of objects over time, which may divide.

    Attributes:
        number: ``(objects,)`` track of every object; tracks start at 1.
        parents: track of the mother by track, for tracks that begin with a division.
    """

    number: NDArray[np.int64]
    parents: dict[int, int] = field(default_factory=dict)


def link_largest(
    overlaps: Overlaps, size_here: np.ndarray, size_there: np.ndarray
) -> NDArray[np.int64]:
    """Pairs of ids of which each is the other's largest overlap; every id is in one pair at most.

    At least half of the smaller object has to lie in the larger one.

    Args:
        overlaps: of the two label images.
        size_here: voxels of every id of the first image, by id.
        size_there: the same for the second.

    Returns:
        ``(pairs, 2)`` id here, id there.

    Examples:
        >>> here, there = np.array([1, 1, 1, 0, 2]), np.array([3, 3, 0, 0, 0])
        >>> link_largest(Overlaps.count(here, there), np.bincount(here),
        ...              np.bincount(there)).tolist()
        [[1, 3]]
    """
    left, right, shared = overlaps.here, overlaps.there, overlaps.shared
    good = mark_largest(left, shared) & mark_largest(right, shared)
    good &= shared >= SHARE * np.minimum(size_here[left], size_there[right])
    return np.stack([left[good], right[good]], axis=1)


def track_objects(frames: Sequence[Frame], overlaps: Sequence[Overlaps]) -> Tracks:
    """Track objects over time by their overlaps, then by their distance.

    Two objects are linked if each is the other's largest overlap. Two objects that lie in one
    object of the previous frame are its daughters, and begin tracks of their own. Remaining objects
    are linked to the nearest remaining one, if it is less than one diameter away and less than
    twice as large or small.

    Args:
        frames: the objects of every time point; ids start at 1 and continue over all frames.
        overlaps: overlaps of each frame with the next one; one fewer than frames.

    Examples:
        >>> one = Frame(np.array([1]), np.array([9]), np.array([[3.0, 3.0]]))
        >>> two = Frame(np.array([2]), np.array([9]), np.array([[3.0, 5.0]]))
        >>> nothing = Overlaps(*np.zeros((3, 0), np.int64))
        >>> track_objects([one, two], [nothing]).number.tolist()
        [1, 1]
    """
    count = sum(len(frame.ids) for frame in frames)
    size = np.zeros(count + 1, np.int64)
    for frame in frames:
        size[frame.ids] = frame.size
    before = np.zeros(count + 1, np.int64)
    mother = np.zeros(count + 1, np.int64)
    for here, there, shared in zip(frames, frames[1:], overlaps, strict=False):
        pairs = link_largest(shared, size, size)
        daughters = _find_daughters(shared, pairs, size)
        pairs = pairs[~np.isin(pairs[:, 1], daughters[:, 1])]
        mother[daughters[:, 1]] = daughters[:, 0]
        taken = np.concatenate([pairs, daughters])
        before[pairs[:, 1]] = pairs[:, 0]
        near = _link_nearest(here, there, taken)
        before[near[:, 1]] = near[:, 0]
    number = np.zeros(count + 1, np.int64)
    tracks = 0
    for each in range(1, count + 1):
        if before[each]:
            number[each] = number[before[each]]
        else:
            tracks += 1
            number[each] = tracks
    parents = {int(number[each]): int(number[mother[each]]) for each in np.flatnonzero(mother)}
    return Tracks(number[1:], parents)


def _find_daughters(overlaps: Overlaps, pairs: np.ndarray, size: np.ndarray) -> NDArray[np.int64]:
    """``(n, 2)`` mother and daughter, two rows for each division."""
    inside = overlaps.shared >= SHARE * size[overlaps.there]
    # An object that lies in two belongs to the one with the larger overlap.
    inside &= mark_largest(overlaps.there, overlaps.shared)
    found: list[tuple[int, int]] = []
    left, counts = np.unique(overlaps.here[inside], return_counts=True)
    for mother in left[(counts > 1) & np.isin(left, pairs[:, 0])]:
        own = overlaps.there[inside & (overlaps.here == mother)]
        own = own[np.argsort(-size[own], kind="stable")][:2]
        if len(own) == 2 and size[own[1]] >= _EVEN * size[own[0]]:
            found += [(int(mother), int(each)) for each in own]
    return np.array(found, np.int64).reshape(-1, 2)


def _link_nearest(here: Frame, there: Frame, taken: np.ndarray) -> NDArray[np.int64]:
    """Pairs of objects that are each other's nearest among those that are not taken."""
    first = np.flatnonzero(~np.isin(here.ids, taken[:, 0]))
    second = np.flatnonzero(~np.isin(there.ids, taken[:, 1]))
    if not len(first) or not len(second):
        return np.zeros((0, 2), np.int64)
    from scipy.spatial import KDTree  # Objects of a stack need no distances.

    distance, forth = KDTree(there.center[second]).query(here.center[first])
    _, back = KDTree(here.center[first]).query(there.center[second])
    mutual = np.asarray(back)[forth] == np.arange(len(first))
    one, two = first, second[forth]
    near = distance < (here.diameter[one] + there.diameter[two]) / 2
    larger = np.maximum(here.size[one], there.size[two])
    alike = larger < _ALIKE * np.minimum(here.size[one], there.size[two])
    good = mutual & near & alike
    return np.stack([here.ids[one[good]], there.ids[two[good]]], axis=1)
