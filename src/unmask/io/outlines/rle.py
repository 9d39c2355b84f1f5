"""Run lengths of masks as COCO stores them: down the columns, background first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit


def encode(labels: np.ndarray) -> tuple[NDArray[np.uint64], list[NDArray[np.int64]]]:
    """Ids in ascending order and the run lengths of each object of ``labels`` ``(y, x)``."""
    ids, numbers = _numbered(labels)
    flat = np.ascontiguousarray(numbers.T).reshape(-1)
    counts, begins = _runs(flat, len(ids))
    keep = [k for k, key in enumerate(ids.tolist()) if key != 0]
    # No object in the last pixel leaves a run of background at the end, else there is none.
    found = [counts[begins[k] : begins[k + 1]] for k in keep]
    return ids[keep].astype(np.uint64), [runs if runs[-1] else runs[:-1] for runs in found]


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, NDArray[np.int32]]:
    """Ids in ascending order and the position of the id of every pixel."""
    if labels.size == 0 or int(labels.max()) > 4 * labels.size + (1 << 16):
        ids, numbers = np.unique(labels, return_inverse=True)
        return ids, numbers.reshape(labels.shape).astype(np.int32)
    # Ids are mostly dense: marking them is many times faster than sorting.
    there = np.zeros(int(labels.max()) + 1, bool)
    there[labels] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1).astype(np.int32)[labels]


def check_runs(counts: NDArray[np.int64], height: int, width: int) -> None:
    """Refuse run lengths of another image.

    Raises:
        ValueError: they do not fill the image.
    """
    if (counts < 0).any() or counts.sum() != height * width:
        raise ValueError(f"sum of run lengths, {counts.sum()} in an image of {height * width}")


def box_of(counts: NDArray[np.int64], height: int) -> tuple[int, int, int, int]:
    """Top, left, bottom and right (one past the end) of an object; all 0 if it has no pixel."""
    ends = np.cumsum(counts)[: len(counts) // 2 * 2]
    begins, lasts = ends[::2], ends[1::2] - 1
    begins, lasts = begins[lasts >= begins], lasts[lasts >= begins]
    if not len(begins):
        return 0, 0, 0, 0
    left, right = int(begins[0] // height), int(lasts[-1] // height)
    # A run over the end of a column covers its bottom and the top of the next one.
    if (begins // height != lasts // height).any():
        return 0, left, height, right + 1
    return int((begins % height).min()), left, int((lasts % height).max()) + 1, right + 1


def decode(counts: NDArray[np.int64], height: int) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """First row and column of an object, and its mask from there."""
    box = box_of(counts, height)
    return box[:2], _decoded(counts, height, *box)


def to_text(counts: NDArray[np.int64]) -> str:
    """Run lengths as text: differences to the last but one, 5 bits per character."""
    return _packed(counts).tobytes().decode("ascii")


def from_text(text: str) -> NDArray[np.int64]:
    """Run lengths from text.

    Raises:
        ValueError: characters that are not from such a text.
    """
    data = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if ((data < 0) | (data > 63)).any() or (len(data) and data[-1] & 32):
        raise ValueError("run lengths with strange characters")
    return _unpacked(data)


@njit(cache=True, nogil=True)
def _decoded(counts, height, top, left, bottom, right):  # pyright: ignore[reportMissingParameterType]
    mask = np.zeros((bottom - top, right - left), np.bool_)
    at = 0
    for k in range(counts.size):
        if k % 2 == 1:
            for place in range(at, at + counts[k]):
                mask[place % height - top, place // height - left] = True
        at += counts[k]
    return mask


@njit(cache=True, nogil=True)
def _runs(flat, count):  # pyright: ignore[reportMissingParameterType]
    """Run lengths of every value in a flat image, one after another, and where each begins."""
    pieces, last = np.zeros(count, np.int64), np.full(count, -1)
    at = 0
    while at < flat.size:
        value = flat[at]
        pieces[value] += 1
        while at < flat.size and flat[at] == value:
            at += 1
    begins = np.zeros(count + 1, np.int64)
    for k in range(count):
        # A run of background before every run of the object, and one at the end.
        begins[k + 1] = begins[k] + 2 * pieces[k] + 1
    counts, place = np.zeros(begins[count], np.int64), begins[:-1].copy()
    last[:] = 0
    at = 0
    while at < flat.size:
        begin, value = at, flat[at]
        while at < flat.size and flat[at] == value:
            at += 1
        counts[place[value]] = begin - last[value]
        counts[place[value] + 1] = at - begin
        place[value] += 2
        last[value] = at
    for k in range(count):
        counts[place[k]] = flat.size - last[k]
    return counts, begins


@njit(cache=True, nogil=True)
def _packed(counts):  # pyright: ignore[reportMissingParameterType]
    text, used = np.empty(13 * counts.size, np.uint8), 0
    for k in range(counts.size):
        value = counts[k] - (counts[k - 2] if k > 2 else 0)
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != -1 if bits & 16 else value != 0
            text[used] = bits + 48 + (32 if more else 0)
            used += 1
    return text[:used]


@njit(cache=True, nogil=True)
def _unpacked(data):  # pyright: ignore[reportMissingParameterType]
    counts, used, at = np.zeros(data.size, np.int64), 0, 0
    while at < data.size:
        value, shift, more = 0, 0, True
        while more:
            bits = data[at]
            value |= (bits & 31) << shift
            shift += 5
            more = bits & 32 != 0
            at += 1
            if not more and bits & 16:
                value |= -1 << shift
        if used > 2:
            value += counts[used - 2]
        counts[used] = value
        used += 1
    return counts[:used]
