"""Normalisation: measure an image once, then bring any crop of it to about [0, 1].

Images are ``(C, *space)`` of any number type. Measuring reads the whole image or, above some
million voxels, evenly spread samples of it (always the same ones); applying is one multiplication
and one addition, so crops of one image fit together. Values that are not finite are left out when
measuring and counted, for the caller to refuse the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import Protocol, runtime_checkable

import numpy as np

from unmask.errors import DataError, RecipeError
from unmask.kernels import njit

_SAMPLES = 1 << 22
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Affine:
    """``clip(image * scale + shift, low, high)``, one scale and shift for each channel.

    Attributes:
        scale: factor for each channel; 0 for a constant image, which becomes 0 everywhere.
        shift: addend for each channel.
        low: smallest result, None: not clipped.
        high: largest result, None: not clipped.
        undefined: values of the measured image that are not finite.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]
    low: float | None = None
    high: float | None = None
    undefined: int = 0

    def apply(self, crop: np.ndarray) -> np.ndarray:
        """The crop ``(C, *space)`` as a new contiguous float32 array; NaN stays NaN.

        Raises:
            DataError: another number of channels than was measured.
        """
        if len(crop) != len(self.scale):
            raise DataError(
                f"crop {crop.shape}: expected {len(self.scale)} channels as measured, found "
                f"{len(crop)}. Bring the channels in order before normalising."
            )
        column = (-1,) + (1,) * (crop.ndim - 1)
        # Wide types may hold small differences of large values, which float32 would round away.
        narrow = crop.dtype.itemsize <= 2
        number = np.float32 if narrow else np.float64
        scale = np.asarray(self.scale, number).reshape(column)
        shift = np.asarray(self.shift, number).reshape(column)
        result = np.multiply(crop, scale, dtype=number, order="C")
        result += shift
        if self.low is not None or self.high is not None:
            np.clip(result, self.low, self.high, out=result)
        return result.astype(np.float32, copy=False)


@runtime_checkable
class Normalizer(Protocol):
    """How the values of an image become network input; a frozen dataclass of options."""

    def measure(self, image: np.ndarray) -> Affine:
        """Scale and shift for an image ``(C, *space)``."""
        ...


@dataclass(frozen=True)
class Percentile:
    """Two percentiles become 0 and 1.

    One pair for all channels keeps the colours of stained sections; ``per_channel`` suits
    fluorescence channels of unlike brightness. Where the percentiles coincide (a few bright objects
    on an even background) the extremes take their place.

    Attributes:
        low: percentile that becomes 0.
        high: percentile that becomes 1.
        per_channel: measure each channel by itself.
        nonzero: leave out voxels of value 0, the empty surroundings of many medical volumes.
        clip: smallest and largest result, None: not clipped. The default bounds hot pixels only.
    """

    low: float = 1.0
    high: float = 99.8
    per_channel: bool = False
    nonzero: bool = False
    clip: tuple[float, float] | None = (-1.0, 4.0)

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise RecipeError(
                f"percentile: expected 0 <= low < high <= 100, found low={self.low}, "
                f"high={self.high}. Change data.normalize."
            )
        _check_range(self.clip, "clip")

    def measure(self, image: np.ndarray) -> Affine:
        """Scale and shift for an image ``(C, *space)``."""
        ranges = [self._range(group) for group in _groups(image, per_channel=self.per_channel)]
        return _from_ranges(ranges, image, self.clip)

    def _range(self, group: np.ndarray) -> tuple[float, float]:
        low, high = percentiles(group, (self.low, self.high), nonzero=self.nonzero)
        return (low, high) if _apart(low, high) else extremes(group, nonzero=self.nonzero)


@dataclass(frozen=True)
class MinMax:
    """Smallest and largest value become 0 and 1.

    Attributes:
        per_channel: measure each channel by itself.
        nonzero: leave out voxels of value 0.
    """

    per_channel: bool = False
    nonzero: bool = False

    def measure(self, image: np.ndarray) -> Affine:
        """Scale and shift for an image ``(C, *space)``."""
        groups = _groups(image, per_channel=self.per_channel)
        return _from_ranges([extremes(g, nonzero=self.nonzero) for g in groups], image, None)


@dataclass(frozen=True)
class ZScore:
    """Mean becomes 0, standard deviation 1.

    Attributes:
        per_channel: measure each channel by itself.
        nonzero: leave out voxels of value 0.
        clip: smallest and largest result, None: not clipped.
    """

    per_channel: bool = True
    nonzero: bool = False
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_range(self.clip, "clip")

    def measure(self, image: np.ndarray) -> Affine:
        """Scale and shift for an image ``(C, *space)``."""
        groups = _groups(image, per_channel=self.per_channel)
        moments = [_moments(group, nonzero=self.nonzero) for group in groups]
        ranges = [(mean, mean + deviation) for mean, deviation in moments]
        return _from_ranges(ranges, image, self.clip)


@dataclass(frozen=True)
class Window:
    """Fixed values become 0 and 1, all outside is clipped: for calibrated images such as CT.

    Attributes:
        low: value that becomes 0, in the image's unit (CT: Hounsfield units).
        high: value that becomes 1.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range((self.low, self.high), "window")

    def measure(self, image: np.ndarray) -> Affine:
        """Scale and shift for an image ``(C, *space)``; only undefined values are counted."""
        ranges = [(self.low, self.high)] * len(image)
        return _from_ranges(ranges, image, (0.0, 1.0))


@dataclass(frozen=True)
class NoNormalize:
    """Values as they are, as float32."""

    def measure(self, image: np.ndarray) -> Affine:
        """Scale 1 and shift 0 for an image ``(C, *space)``."""
        ones = (1.0,) * len(image)
        return Affine(ones, (0.0,) * len(image), undefined=undefined(image))


NORMALIZERS = {
    "percentile": Percentile,
    "minmax": MinMax,
    "zscore": ZScore,
    "window": Window,
    "none": NoNormalize,
}


def percentiles(
    values: np.ndarray, shares: tuple[float, ...], *, nonzero: bool = False
) -> tuple[float, ...]:
    """Percentiles of the finite values, by the nearest rank; zeros where there is no value.

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
    sample = _spread(values)
    if sample.dtype.kind in "biu" and sample.dtype.itemsize <= 2:
        return _histogram_percentiles(sample, shares, nonzero=nonzero)
    kept = _kept(sample, nonzero=nonzero)
    if kept.size == 0:
        return (0.0,) * len(shares)
    ranks = [_rank(share, kept.size) for share in shares]
    kept.partition(sorted(set(ranks)))
    return tuple(float(kept[rank]) for rank in ranks)


def extremes(values: np.ndarray, *, nonzero: bool = False) -> tuple[float, float]:
    """Smallest and largest finite value of the whole array; (0, 0) where there is none."""
    found: list[tuple[float, float]] = []
    for part in _parts(values):
        kept = _kept(part, nonzero=nonzero)
        if kept.size:
            found.append((float(kept.min()), float(kept.max())))
    if not found:
        return (0.0, 0.0)
    return min(low for low, _ in found), max(high for _, high in found)


def undefined(image: np.ndarray) -> int:
    """Number of values that are NaN or infinite."""
    if image.dtype.kind != "f":
        return 0
    return sum(part.size - int(np.count_nonzero(np.isfinite(part))) for part in _parts(image))


def _check_range(pair: tuple[float, float] | None, name: str) -> None:
    if pair is not None and not (len(pair) == 2 and pair[0] < pair[1]):
        raise RecipeError(
            f"normalize: expected {name} low < high, found {pair}. Change data.normalize."
        )


def _groups(image: np.ndarray, *, per_channel: bool) -> list[np.ndarray]:
    """What is measured together: each channel, or all of them (one group for each channel)."""
    return list(image) if per_channel or len(image) == 1 else [image]


def _from_ranges(
    ranges: list[tuple[float, float]], image: np.ndarray, clip: tuple[float, float] | None
) -> Affine:
    """The map that takes each (low, high) to (0, 1); a single range serves all channels."""
    if len(ranges) == 1:
        ranges = ranges * len(image)
    scale = [1.0 / (high - low) if _apart(low, high) else 0.0 for low, high in ranges]
    shift = [-low * factor for (low, _), factor in zip(ranges, scale, strict=True)]
    low, high = clip if clip is not None else (None, None)
    return Affine(tuple(scale), tuple(shift), low, high, undefined(image))


def _apart(low: float, high: float) -> bool:
    """Whether the two differ by more than the rounding of values of their size."""
    return high - low > 1e-12 * max(abs(low), abs(high)) and 1.0 / (high - low) < np.inf


def _moments(values: np.ndarray, *, nonzero: bool) -> tuple[float, float]:
    kept = _kept(_spread(values), nonzero=nonzero)
    if kept.size == 0:
        return 0.0, 0.0
    return float(kept.mean(dtype=np.float64)), float(kept.std(dtype=np.float64))


def _kept(values: np.ndarray, *, nonzero: bool) -> np.ndarray:
    """Finite (and non-zero) values as a new flat array."""
    flat = values.reshape(-1)
    keep = np.isfinite(flat) if flat.dtype.kind == "f" else None
    if nonzero:
        keep = (flat != 0) if keep is None else keep & (flat != 0)
    return flat.copy() if keep is None else flat[keep]


def _spread(values: np.ndarray) -> np.ndarray:
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
    least = -(1 << (bits - 1)) if signed else 0
    total = int(counts.sum())
    if total == 0:
        return (0.0,) * len(shares)
    up_to = np.cumsum(counts)
    ranks = [_rank(share, total) for share in shares]
    return tuple(float(np.searchsorted(up_to, rank, side="right") + least) for rank in ranks)


@njit(cache=True, nogil=True)
def _count(values: np.ndarray, bins: int) -> np.ndarray:
    """Histogram of unsigned integers; two tables hide the wait for equal neighbours."""
    first = np.zeros(bins, np.int64)
    second = np.zeros(bins, np.int64)
    half = values.size // 2
    for i in range(half):
        first[values[2 * i]] += 1
        second[values[2 * i + 1]] += 1
    if values.size % 2:
        first[values[values.size - 1]] += 1
    return first + second
