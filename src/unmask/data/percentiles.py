"""Percentiles, extremes and undefined values of images of any shape and real number type."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod

import numpy as np

from unmask.kernels import njit

_SAMPLES = 1 << 22
_CHUNK = 1 << 24


def percentiles(
    values: np.ndarray, shares: tuple[float, ...], *, nonzero: bool = False
) -> tuple[float, ...]:
    """Percentiles of the finite values, by the nearest rank; zeros if there is no value.

    Integers of 8 and 16 bits are counted in a histogram, others are partly sorted. Of more than
    four million values evenly spread ones are taken.

    Args:
        values: any shape, any real number type.
        shares: percentiles between 0 and 100.
        nonzero: leave out zeros.

    Examples:
        >>> percentiles(np.arange(101), (0, 50, 100))
        (0.0, 50.0, 100.0)
    """
    sample = spread(values)
    if sample.dtype.kind in "biu" and sample.dtype.itemsize <= 2:
        return _histogram_percentiles(sample, shares, nonzero=nonzero)
    kept = select_finite(sample, nonzero=nonzero)
    if kept.size == 0:
        return (0.0,) * len(shares)
    ranks = [_rank(share, kept.size) for share in shares]
    kept.partition(sorted(set(ranks)))
    return tuple(float(kept[rank]) for rank in ranks)


def interpolate(
    values: np.ndarray, shares: tuple[float, ...], *, nonzero: bool = False
) -> tuple[float, ...]:
    """Percentiles of all finite values, linear between ranks as numpy's; zeros for no value.

    Args:
        values: ``(C, *space)``; a first axis that repeats one channel is counted, not copied.
        shares: percentiles between 0 and 100.
        nonzero: leave out zeros.

    Examples:
        >>> interpolate(np.array([[1, 2, 4]], np.uint8), (50, 75))
        (2.0, 3.0)
    """
    times = len(values) if values.strides[0] == 0 else 1
    values = values[:1] if times > 1 else values
    if values.dtype.kind in "biu" and values.dtype.itemsize <= 2:
        up_to, least = _histogram(values, nonzero=nonzero)
        total = int(up_to[-1])
        places = _places(shares, total * times)
        at = {rank: least + int(np.searchsorted(up_to, rank // times, "right")) for rank in places}
    else:
        kept = select_finite(values, nonzero=nonzero)
        total = kept.size
        places = _places(shares, total * times)
        if total:
            kept.partition([rank // times for rank in places])
        at = {rank: float(kept[rank // times]) for rank in places}
    if total == 0:
        return (0.0,) * len(shares)
    found = []
    for share in shares:
        place = share / 100 * (total * times - 1)
        low, high = at[int(place)], at[min(int(place) + 1, total * times - 1)]
        found.append(float(low + (high - low) * (place - int(place))))
    return tuple(found)


def _places(shares: tuple[float, ...], count: int) -> list[int]:
    """Ranks on both sides of each share, rising; none if there is no value."""
    lower = {int(share / 100 * (count - 1)) for share in shares} if count else set()
    return sorted(lower | {min(rank + 1, count - 1) for rank in lower})


def extremes(values: np.ndarray, *, nonzero: bool = False) -> tuple[float, float]:
    """Smallest and largest finite value of the whole array; (0, 0) if there is none."""
    found: list[tuple[float, float]] = []
    for part in _parts(values):
        kept = select_finite(part, nonzero=nonzero)
        if kept.size:
            found.append((float(kept.min()), float(kept.max())))
    if not found:
        return (0.0, 0.0)
    return min(low for low, _ in found), max(high for _, high in found)


def count_undefined(image: np.ndarray) -> int:
    """Number of values that are NaN or infinite."""
    if image.dtype.kind != "f":
        return 0
    return sum(part.size - int(np.count_nonzero(np.isfinite(part))) for part in _parts(image))


def select_finite(values: np.ndarray, *, nonzero: bool) -> np.ndarray:
    """Finite (and non-zero) values as a new flat array."""
    flat = values.reshape(-1)
    keep = np.isfinite(flat) if flat.dtype.kind == "f" else None
    if nonzero:
        keep = (flat != 0) if keep is None else keep & (flat != 0)
    return flat.copy() if keep is None else flat[keep]


def spread(values: np.ndarray) -> np.ndarray:
    """At most about four million values, evenly spread along the longest axes."""
    steps = [1] * values.ndim
    while prod(ceil(n / s) for n, s in zip(values.shape, steps, strict=True)) > _SAMPLES:
        left = [n / s for n, s in zip(values.shape, steps, strict=True)]
        steps[left.index(max(left))] += 1
    return values[tuple(slice(None, None, step) for step in steps)]


def _parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """The array in slabs of bounded size, for passes that need temporary arrays."""
    if values.ndim == 0 or values.size <= _CHUNK:
        yield values
        return
    inner = max(1, values.size // len(values))
    thick = max(1, _CHUNK // inner)
    for start in range(0, len(values), thick):
        slab = values[start : start + thick]
        if len(slab) == 1:
            yield from _parts(slab[0])
        else:
            yield slab


def _rank(share: float, count: int) -> int:
    return round(share / 100 * (count - 1))


def _histogram_percentiles(
    values: np.ndarray, shares: tuple[float, ...], *, nonzero: bool
) -> tuple[float, ...]:
    up_to, least = _histogram(values, nonzero=nonzero)
    total = int(up_to[-1])
    if total == 0:
        return (0.0,) * len(shares)
    ranks = [_rank(share, total) for share in shares]
    return tuple(float(np.searchsorted(up_to, rank, side="right") + least) for rank in ranks)


def _histogram(values: np.ndarray, *, nonzero: bool) -> tuple[np.ndarray, int]:
    """Number of integers up to each value of their type, and the least value of the type."""
    bits = 8 * values.dtype.itemsize
    # A signed type is counted by its bit pattern and the two halves are swapped afterwards.
    signed = values.dtype.kind == "i"
    # Files may store the bytes in the other order, which a bit pattern must not inherit.
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    pattern = native.reshape(-1).view(f"u{values.dtype.itemsize}")
    counts = _count(pattern, 1 << bits)
    if nonzero:
        counts[0] = 0
    if signed:
        counts = np.roll(counts, 1 << (bits - 1))
    return np.cumsum(counts), -(1 << (bits - 1)) if signed else 0


@njit(cache=True, nogil=True)
def _count(values: np.ndarray, bins: int) -> np.ndarray:
    """Histogram of unsigned integers; two tables hide the wait for equal neighbors."""
    first = np.zeros(bins, np.int64)
    second = np.zeros(bins, np.int64)
    half = values.size // 2
    for i in range(half):
        first[values[2 * i]] += 1
        second[values[2 * i + 1]] += 1
    if values.size % 2:
        first[values[values.size - 1]] += 1
    return first + second
