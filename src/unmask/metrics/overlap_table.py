"""The one table below every metric: which ids of two label images share how many voxels.

One pass over runs of equal (truth, predicted) pairs fills a hash table, so time grows with the
voxels and memory with the pairs that touch; no matrix of all objects against all objects exists.
Tables of disjoint blocks add up to the table of the whole, so volumes can be streamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.errors import DataError, message
from unmask.kernels import njit

Ids = NDArray[np.uint64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Objects:
    """Foreground of an overlap table: objects of both sides and the pairs of them that touch.

    Attributes:
        truth_ids: ``(T,)`` ids, ascending; likewise ``predicted_ids`` ``(P,)``.
        truth_areas: ``(T,)`` voxels of each object; likewise ``predicted_areas``.
        truth_index: ``(K,)`` position in ``truth_ids`` of each touching pair; pairs are sorted by
            it, then by ``predicted_index``.
        predicted_index: ``(K,)`` position in ``predicted_ids``.
        count: ``(K,)`` voxels that both objects share, at least 1.
    """

    truth_ids: Ids
    predicted_ids: Ids
    truth_areas: Ints
    predicted_areas: Ints
    truth_index: Ints
    predicted_index: Ints
    count: Ints

    @cached_property
    def union(self) -> Ints:
        """``(K,)`` voxels of either object of each pair."""
        areas = self.truth_areas[self.truth_index] + self.predicted_areas[self.predicted_index]
        return areas - self.count

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """``(K,)`` intersection over union of each pair, in (0, 1]."""
        return self.count / self.union

    def keep(self, truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Objects:
        """Only the objects marked in ``truth`` ``(T,)`` and ``predicted`` ``(P,)``."""
        pairs = truth[self.truth_index] & predicted[self.predicted_index]
        return Objects(
            truth_ids=self.truth_ids[truth],
            predicted_ids=self.predicted_ids[predicted],
            truth_areas=self.truth_areas[truth],
            predicted_areas=self.predicted_areas[predicted],
            truth_index=(np.cumsum(truth) - 1)[self.truth_index[pairs]],
            predicted_index=(np.cumsum(predicted) - 1)[self.predicted_index[pairs]],
            count=self.count[pairs],
        )


@dataclass(frozen=True, eq=False)
class Overlap(Objects):
    """Sparse contingency table of two label images, background (id 0) included.

    Attributes:
        voxels: voxels counted (those that are not ignored).
        predicted_ignored: ``(P,)`` voxels of each predicted id that lie where truth is ignored;
            ``predicted_areas`` does not hold them.
    """

    voxels: int
    predicted_ignored: Ints

    @cached_property
    def objects(self) -> Objects:
        """The objects: ids other than 0.

        A predicted object that lies to more than half where truth is ignored is left out: nobody
        can say whether it is right (an extension; no published metric has an ignore label).
        """
        unsure = 2 * self.predicted_ignored > self.predicted_areas + self.predicted_ignored
        return self.keep(
            (self.truth_ids != 0) & (self.truth_areas > 0),
            (self.predicted_ids != 0) & (self.predicted_areas > 0) & ~unsure,
        )

    def __add__(self, other: Overlap) -> Overlap:
        """Table of two disjoint blocks whose ids mean the same objects."""
        ignored_ids = np.concatenate([self.predicted_ids, other.predicted_ids])
        ignored = np.concatenate([self.predicted_ignored, other.predicted_ignored])
        return _table(
            np.concatenate([self.truth_ids[self.truth_index], other.truth_ids[other.truth_index]]),
            np.concatenate(
                [
                    self.predicted_ids[self.predicted_index],
                    other.predicted_ids[other.predicted_index],
                ]
            ),
            np.concatenate([self.count, other.count]),
            ignored=(ignored_ids[ignored > 0], ignored[ignored > 0]),
        )


def overlap(truth: ArrayLike, predicted: ArrayLike, *, ignore: int | None = None) -> Overlap:
    """Count the voxels shared by every pair of ids.

    Args:
        truth: label image of any integer type and any number of axes, 0 is background.
        predicted: label image of the same shape; the types may differ.
        ignore: voxels with this id in ``truth`` are not counted on either side.

    Raises:
        DataError: different shapes, values that are not integers, negative ids.

    Examples:
        >>> table = overlap([[0, 1, 1]], [[0, 7, 0]])
        >>> table.objects.iou
        array([0.5])
    """
    left, right = same_shape(truth, predicted)
    _refuse_scores(left, "truth")
    _refuse_scores(right, "predicted")
    pairs = _count(_unsigned(left), _unsigned(right))
    a, b, count = (pairs[:, 0], pairs[:, 1], pairs[:, 2].astype(np.int64))
    known = np.ones(len(a), bool)
    code = _code(ignore, left.dtype)
    if code is not None:
        known = a != code
    _refuse_negative(a[known], left.dtype, "truth")
    _refuse_negative(b, right.dtype, "predicted")
    return _table(a[known], b[known], count[known], ignored=(b[~known], count[~known]))


def table_of(truth: ArrayLike | Overlap, predicted: ArrayLike | None) -> Overlap:
    """The table a metric is about: given as such, or counted from two label images."""
    if isinstance(truth, Overlap):
        if predicted is not None:
            raise TypeError("Give either one overlap table, or truth and predicted.")
        return truth
    if predicted is None:
        raise TypeError("Give truth and predicted, or one overlap table.")
    return overlap(truth, predicted)


def same_shape(truth: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays, if they have the same shape.

    Raises:
        DataError: they have not.
    """
    left, right = np.asarray(truth), np.asarray(predicted)
    if left.shape != right.shape:
        raise DataError(
            message(
                "predicted",
                expected=f"the shape of truth {left.shape}",
                found=f"{right.shape}",
                do="Compare label images of the same size, on the same grid.",
            )
        )
    return left, right


def _refuse_scores(labels: np.ndarray, name: str) -> None:
    if labels.dtype.kind not in "biu":
        raise DataError(
            message(
                name,
                expected="a label image of whole numbers",
                found=f"values of type {labels.dtype}",
                do="Give label images, not scores; convert with .astype('int32') if they are ids.",
            )
        )


def _unsigned(labels: np.ndarray) -> np.ndarray:
    """The same memory read as unsigned numbers: a view, so nothing is copied."""
    if labels.dtype.kind == "u":
        return labels
    return labels.view(labels.dtype.str.replace("i", "u").replace("b", "u"))


def _code(ignore: int | None, dtype: np.dtype) -> np.uint64 | None:
    """How ``ignore`` looks in the unsigned view; None where the type cannot hold it."""
    if ignore is None:
        return None
    bits = 8 * dtype.itemsize
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if dtype.kind == "i" else (0, 1 << bits)
    return np.uint64(ignore % (1 << bits)) if low <= ignore < high else None


def _refuse_negative(ids: NDArray[np.uint64], dtype: np.dtype, name: str) -> None:
    bits = 8 * dtype.itemsize
    if dtype.kind == "i" and ids.size and int(ids.max()) >= 1 << (bits - 1):
        raise DataError(
            message(
                name,
                expected="ids of 0 (background) and above",
                found=f"the id {int(ids.max()) - (1 << bits)}",
                do="If it marks unknown voxels of the truth, name it as the ignore label.",
            )
        )


def _count(left: np.ndarray, right: np.ndarray) -> NDArray[np.uint64]:
    """Rows (id, id, voxels), each pair once, in no order."""
    # Two types keep the compiled kernel to two versions; conversion happens in small buffers.
    wide = max(left.dtype.itemsize, right.dtype.itemsize) > 4
    kind = np.uint64 if wide else np.uint32
    entries, used = np.zeros((1024, 3), np.uint64), 0
    chunks = np.nditer(  # pyright: ignore[reportCallIssue]
        [left, right],
        flags=["external_loop", "buffered", "growinner", "zerosize_ok"],
        # Numpy's own annotations misspell "contig"
        op_flags=[["readonly", "contig"]] * 2,  # pyright: ignore[reportArgumentType]
        op_dtypes=[kind, kind],
        buffersize=1 << 16,
    )
    with chunks:
        for a, b in chunks:
            entries, used = _count_runs(np.atleast_1d(a), np.atleast_1d(b), entries, used)
    return entries[entries[:, 2] > 0]


def _table(a: Ids, b: Ids, count: Ints, *, ignored: tuple[Ids, Ints]) -> Overlap:
    """Build a table from pairs of ids, in any order, repeats allowed."""
    truth_ids, left = _ranked(a)
    predicted_ids, right = _ranked(np.concatenate([b, ignored[0]]))
    lost = np.bincount(right[len(b) :], ignored[1], len(predicted_ids)).astype(np.int64)
    left, right, count = _merged(left, right[: len(b)], count, (len(truth_ids), len(predicted_ids)))
    return Overlap(
        truth_ids=truth_ids,
        predicted_ids=predicted_ids,
        truth_areas=np.bincount(left, count, len(truth_ids)).astype(np.int64),
        predicted_areas=np.bincount(right, count, len(predicted_ids)).astype(np.int64),
        truth_index=left,
        predicted_index=right,
        count=count,
        voxels=int(count.sum()),
        predicted_ignored=lost,
    )


def _ranked(ids: Ids) -> tuple[Ids, Ints]:
    """Ids in ascending order, each once, and the position of every given id among them."""
    if ids.size == 0 or int(ids.max()) > 4 * ids.size + (1 << 16):
        unique, index = np.unique(ids, return_inverse=True)
        return unique, index.astype(np.int64)
    # Ids are mostly dense: marking them is several times faster than sorting.
    there = np.zeros(int(ids.max()) + 1, bool)
    there[ids] = True
    return np.flatnonzero(there).astype(np.uint64), (np.cumsum(there) - 1)[ids]


def _merged(left: Ints, right: Ints, count: Ints, shape: Sequence[int]) -> tuple[Ints, Ints, Ints]:
    """Pairs in order of (left, right), each once."""
    order = _counting_order(right, shape[1])
    order = order[_counting_order(left[order], shape[0])]
    left, right, count = left[order], right[order], count[order]
    if left.size == 0:
        return left, right, count
    first = np.ones(left.size, bool)
    first[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return left[first], right[first], np.add.reduceat(count, np.flatnonzero(first))


@njit(cache=True, nogil=True)
def _counting_order(keys, size):  # pyright: ignore[reportMissingParameterType]
    """Stable order of small whole numbers, linear in their number."""
    start = np.zeros(size + 1, np.int64)
    for key in keys:
        start[key + 1] += 1
    for key in range(size):
        start[key + 1] += start[key]
    order = np.empty(keys.size, np.int64)
    for place in range(keys.size):
        key = keys[place]
        order[start[key]] = place
        start[key] += 1
    return order


@njit(cache=True, nogil=True)
def _slot(entries, a, b):  # pyright: ignore[reportMissingParameterType]
    """Row of the pair, or the free row where it belongs (linear probing)."""
    # Neighbors in the image mostly have neighboring ids; rows close together keep the part of
    # the table in use inside the cache (1.7 times faster than scattered rows at 100 000 objects).
    # The folds keep ids that differ only in high bits apart.
    near = a ^ (a >> np.uint64(32))
    near ^= near >> np.uint64(16)
    near ^= near >> np.uint64(8)
    far = a ^ b
    far ^= far >> np.uint64(32)
    last = np.uint64(entries.shape[0] - 1)
    far = (far * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    row = (near * np.uint64(4) + far) & last
    while entries[row, 2] != 0 and (entries[row, 0] != a or entries[row, 1] != b):
        row = (row + np.uint64(1)) & last
    return row


@njit(cache=True, nogil=True)
def _doubled(entries):  # pyright: ignore[reportMissingParameterType]
    larger = np.zeros((2 * entries.shape[0], 3), np.uint64)
    for old in range(entries.shape[0]):
        if entries[old, 2] != 0:
            row = _slot(larger, entries[old, 0], entries[old, 1])
            larger[row] = entries[old]
    return larger


@njit(cache=True, nogil=True)
def _count_runs(first, second, entries, used):  # pyright: ignore[reportMissingParameterType]
    """Add two flat id arrays to the hash table ``entries`` of ``used`` rows; it may be replaced."""
    at = 0
    while at < first.size:
        a, b, start = first[at], second[at], at
        while at < first.size and first[at] == a and second[at] == b:
            at += 1
        if 3 * used >= 2 * entries.shape[0]:
            entries = _doubled(entries)
        row = _slot(entries, np.uint64(a), np.uint64(b))
        if entries[row, 2] == 0:
            entries[row, 0], entries[row, 1] = a, b
            used += 1
        entries[row, 2] += np.uint64(at - start)
    return entries, used
