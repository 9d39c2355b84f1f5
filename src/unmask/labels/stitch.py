"""Objects of blocks that were labeled apart become objects of the whole, any number of axes.

An object that several blocks have labeled with exactly the same voxels is one object. For all
others the slab of voxels around a face decides, which both blocks at it have labeled: where their
footprints in the slab agree, the two are one object. Union-find gathers the pieces over all blocks.
Nothing depends on the order of blocks or pairs, and memory is eight bytes per object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError
from unmask.kernels import njit
from unmask.labels.components import connected_components

# Share of the smaller footprint that has to lie in the larger one.
_SHARE = 0.5


def match_ids(here: np.ndarray, there: np.ndarray) -> NDArray[np.int64]:
    """Pairs of ids that name one object in two labelings of the same slab.

    Ids are compared footprint by footprint: the pieces, connected over faces, that an object has in
    the slab. Two footprints match where each is the other's largest overlap and half of the smaller
    one is shared. So thresholded objects of any shape, spirals too, are joined exactly as if they
    were labeled in one pass, and an uncertain border does not join neighbors.

    Args:
        here: ``(*slab)`` ids by one block, 0 is background.
        there: ``(*slab)`` ids by the other.

    Returns:
        ``(pairs, 2)``: id here, id there; each pair once, rising.

    Raises:
        DataError: two shapes.

    Examples:
        >>> match_ids(np.array([[4, 4, 0, 5]]), np.array([[1, 1, 0, 2]])).tolist()
        [[4, 1], [5, 2]]
    """
    if here.shape != there.shape:
        raise DataError(
            f"stitching: expected one slab seen twice, found shapes {here.shape} and "
            f"{there.shape}. Give both blocks' labels of the same voxels."
        )
    both = np.flatnonzero((here != 0) & (there != 0))
    if not len(both):
        return np.zeros((0, 2), np.int64)
    own, other = (
        connected_components(here, connectivity=1),
        connected_components(there, connectivity=1),
    )
    left, right, shared = _overlaps(own.reshape(-1)[both], other.reshape(-1)[both])
    smaller = np.minimum(_sizes(own)[left], _sizes(other)[right])
    good = mark_largest(left, shared) & mark_largest(right, shared) & (shared >= _SHARE * smaller)
    pairs = np.stack([_ids(own, here)[left[good]], _ids(other, there)[right[good]]], axis=1)
    return np.unique(pairs, axis=0)


def digests(
    labels: np.ndarray, ids: NDArray[np.int64], corner: Sequence[int], space: Sequence[int]
) -> NDArray[np.uint64]:
    """A number for each object that depends on its voxels alone, wherever it was cut out.

    Two cuts of a volume that both hold the whole of an object give the same number for it; for
    different sets of voxels numbers are different but for one case in 2^64.

    Args:
        labels: ``(*cut)`` ids, 0 is background.
        ids: ids that are asked for.
        corner: first voxel of the cut in the volume.
        space: lengths of the volume.

    Examples:
        >>> labels = np.array([0, 3, 3, 0])
        >>> one = digests(labels, np.array([3]), (5,), (20,))
        >>> bool(one == digests(labels[1:], np.array([3]), (6,), (20,)))
        True
    """
    table = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    table[ids] = np.arange(1, len(ids) + 1)
    strides = np.append(np.cumprod(np.array(space[:0:-1], np.int64))[::-1], 1).astype(np.int64)
    starts = int(strides @ np.array(corner, np.int64))
    lengths = np.array(labels.shape, np.int64)
    found = np.zeros(len(ids) + 1, np.uint64)
    _digest(np.ascontiguousarray(labels).reshape(-1), lengths, strides, starts, table, found)
    return found[1:]


def number_pieces(pairs: NDArray[np.int64], written: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the whole object for every piece: 1, 2, 3, ... by its first piece.

    Args:
        pairs: ``(pairs, 2)`` numbers of pieces that belong together.
        written: ``(pieces,)`` whether a piece has voxels in the result; the others only connect.

    Returns:
        ``(pieces,)`` number of the object; 0 where none of its pieces is written.

    Raises:
        DataError: a pair of pieces that are not there.

    Examples:
        >>> number_pieces(np.array([[0, 2]]), np.array([True, True, True, False])).tolist()
        [1, 2, 1, 0]
    """
    pairs = np.ascontiguousarray(pairs, np.int64).reshape(-1, 2)
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(written):
        raise DataError(
            f"stitching: expected pieces 0 .. {len(written) - 1}, found {pairs.min()} .. "
            f"{pairs.max()}. The tables of the blocks do not belong together; start again."
        )
    root = _roots(pairs, len(written))
    seen = np.zeros(len(written), bool)
    seen[root[written]] = True
    return np.where(seen, np.cumsum(seen), 0)[root]


def _overlaps(
    left: NDArray[np.int32], right: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Every pair of footprints that share voxels, and how many."""
    width = int(right.max()) + 1
    codes = left.astype(np.int64) * width + right
    span = (int(left.max()) + 1) * width
    if span <= 4 * len(codes) + 4096:
        # Counting is many times faster than sorting.
        table = np.bincount(codes, minlength=span)
        found = np.flatnonzero(table)
        count = table[found]
    else:
        found, count = np.unique(codes, return_counts=True)
    return found // width, found % width, count


def mark_largest(side: NDArray[np.int64], shared: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a pair is the one with the largest overlap of its footprint; the first of equals."""
    order = np.lexsort((-shared, side))
    first = np.ones(len(order), bool)
    first[1:] = side[order[1:]] != side[order[:-1]]
    chosen = np.zeros(len(order), bool)
    chosen[order[first]] = True
    return chosen


def _sizes(pieces: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.bincount(pieces.reshape(-1))


def _ids(pieces: NDArray[np.int32], labels: np.ndarray) -> NDArray[np.int64]:
    """Id of every footprint."""
    ids = np.zeros(int(pieces.max()) + 1, np.int64)
    ids[pieces.reshape(-1)] = labels.reshape(-1)
    return ids


@njit(cache=True, nogil=True)
def _roots(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Smallest piece of every piece's object."""
    parent = np.arange(count)
    for k in range(len(pairs)):
        a, b = pairs[k, 0], pairs[k, 1]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        parent[max(a, b)] = min(a, b)
    # A parent is never larger than its child, so it already points to its root.
    for i in range(count):
        parent[i] = parent[parent[i]]
    return parent


@njit(cache=True, nogil=True)
def _digest(
    labels: NDArray[np.integer],
    lengths: NDArray[np.int64],
    strides: NDArray[np.int64],
    start: int,
    table: NDArray[np.int64],
    found: NDArray[np.uint64],
) -> None:
    """Sum of a mixed number (splitmix64) of every voxel's place, for each object of ``table``."""
    last = len(lengths) - 1
    width = lengths[last]
    for row in range(len(labels) // max(1, width)):
        place, rest = start, row
        for axis in range(last - 1, -1, -1):
            place += (rest % lengths[axis]) * strides[axis]
            rest //= lengths[axis]
        for i in range(width):
            entry = table[labels[row * width + i]]
            if entry > 0:
                mixed = np.uint64(place + i) + np.uint64(0x9E3779B97F4A7C15)
                mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                found[entry] += mixed ^ (mixed >> np.uint64(31))
