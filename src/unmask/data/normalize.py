"""Normalization: measure an image once, then bring any crop of it to about [0, 1].

Images are ``(C, *space)`` of any number type. Measuring reads the whole image or, above some
million voxels, evenly spread samples of it (always the same ones); applying acts on each value by
itself, so crops of one image fit together. Values that are not finite are left out when
measuring and counted, for the caller to refuse the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from unmask.data.percentiles import (
    count_undefined,
    extremes,
    interpolate,
    percentiles,
    select_finite,
    spread,
)
from unmask.errors import DataError, RecipeError


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
        _check_measured(crop, len(self.scale))
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


@dataclass(frozen=True)
class Levels:
    """Values between two bounds, cut down to whole multiples of a part of their distance.

    Every step is rounded to float32 in the published order, because the cut makes the last digit
    of a value at a step into a whole level.

    Attributes:
        low: value of each channel that becomes 0.
        high: value of each channel that becomes 1; where both are equal all becomes 0.
        count: levels above 0.
        undefined: values of the measured image that are not finite.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    count: int = 255
    undefined: int = 0

    def apply(self, crop: np.ndarray) -> np.ndarray:
        """The crop ``(C, *space)`` as a new contiguous float32 array; NaN stays NaN.

        Raises:
            DataError: another number of channels than was measured.
        """
        _check_measured(crop, len(self.low))
        column = (-1,) + (1,) * (crop.ndim - 1)
        low = np.asarray(self.low, np.float32).reshape(column)
        high = np.asarray(self.high, np.float32).reshape(column)
        with np.errstate(over="ignore"):
            result = crop.astype(np.float32, order="C")
        np.clip(result, low, high, out=result)
        result -= low
        result /= np.where(high > low, high - low, 1)
        result *= np.float32(self.count)
        np.trunc(result, out=result)
        result /= np.float32(self.count)
        return result


@runtime_checkable
class Measured(Protocol):
    """What measuring an image gives: the values of its crops as network input."""

    @property
    def undefined(self) -> int:
        """Values of the measured image that are not finite."""
        ...

    def apply(self, crop: np.ndarray) -> np.ndarray:
        """The crop ``(C, *space)`` as a new contiguous float32 array; NaN stays NaN."""
        ...


@runtime_checkable
class Normalizer(Protocol):
    """How the values of an image become network input; a frozen dataclass of options."""

    def measure(self, image: np.ndarray) -> Measured:
        """What brings crops of an image ``(C, *space)`` to their range."""
        ...


@dataclass(frozen=True)
class Percentile:
    """Two percentiles become 0 and 1.

    One pair for all channels keeps the colors of stained sections; ``per_channel`` suits
    fluorescence channels of unlike brightness. Where the percentiles coincide (a few bright objects
    on an even background) the extremes take their place.

    Attributes:
        low: percentile that becomes 0.
        high: percentile that becomes 1.
        per_channel: measure each channel on its own.
        nonzero: leave out voxels of value 0, the empty surroundings of many medical volumes.
        clip: smallest and largest result, None: not clipped. The default bounds hot pixels only.
    """

    low: float = 1.0
    high: float = 99.8
    per_channel: bool = False
    nonzero: bool = False
    clip: tuple[float, float] | None = (-1.0, 4.0)

    def __post_init__(self) -> None:
        _check_shares(self.low, self.high)
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
        per_channel: measure each channel on its own.
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
        per_channel: measure each channel on its own.
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
class Mediar:
    """Two percentiles of the values other than 0 become 0 and 1, in steps of 1/255.

    What MEDIAR's networks were trained on (Lee et al. 2022, arXiv:2212.03465), 8 bits included.
    An image without a value other than 0, or of one value, becomes 0 everywhere.

    Attributes:
        low: percentile that becomes 0.
        high: percentile that becomes 1.
        per_channel: measure each channel on its own, as MEDIAR's napari plugin does.
    """

    low: float = 0.0
    high: float = 99.5
    per_channel: bool = False

    def __post_init__(self) -> None:
        _check_shares(self.low, self.high)

    def measure(self, image: np.ndarray) -> Levels:
        """Bounds for an image ``(C, *space)``."""
        groups = [one[None] for one in image] if self.per_channel else [image]
        found = [interpolate(each, (self.low, self.high), nonzero=True) for each in groups]
        found = found * (len(image) // len(found))
        lows, highs = (tuple(bounds) for bounds in zip(*found, strict=True))
        return Levels(lows, highs, undefined=count_undefined(image))


@dataclass(frozen=True)
class Standard:
    """Fixed mean and deviation of each channel become 0 and 1, as networks of photographs expect.

    Attributes:
        mean: value of each channel that becomes 0, in the image's unit; the default is ImageNet's
            for 8-bit RGB.
        deviation: distance from it that becomes 1.
    """

    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    deviation: tuple[float, ...] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.deviation) or min(self.deviation, default=0) <= 0:
            raise RecipeError(
                "standard: expected a mean and a positive deviation for each channel, found "
                f"mean={self.mean}, deviation={self.deviation}. Change data.normalize."
            )

    def measure(self, image: np.ndarray) -> Affine:
        """Scale and shift for an image ``(C, *space)``; only undefined values are counted.

        Raises:
            DataError: another number of channels.
        """
        if len(image) != len(self.mean):
            raise DataError(
                f"image {image.shape}: expected {len(self.mean)} channels, one for each mean, "
                f"found {len(image)}. Change data.channels or data.normalize."
            )
        scale = tuple(1 / deviation for deviation in self.deviation)
        shift = tuple(-m / d for m, d in zip(self.mean, self.deviation, strict=True))
        return Affine(scale, shift, undefined=count_undefined(image))


@dataclass(frozen=True)
class NoNormalize:
    """Values as they are, as float32."""

    def measure(self, image: np.ndarray) -> Affine:
        """Scale 1 and shift 0 for an image ``(C, *space)``."""
        ones = (1.0,) * len(image)
        return Affine(ones, (0.0,) * len(image), undefined=count_undefined(image))


def _check_measured(crop: np.ndarray, channels: int) -> None:
    if len(crop) != channels:
        raise DataError(
            f"crop {crop.shape}: expected {channels} channels as measured, found "
            f"{len(crop)}. Bring the channels in order before normalizing."
        )


def _check_shares(low: float, high: float) -> None:
    if not 0 <= low < high <= 100:
        raise RecipeError(
            f"percentile: expected 0 <= low < high <= 100, found low={low}, "
            f"high={high}. Change data.normalize."
        )


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
    return Affine(tuple(scale), tuple(shift), low, high, count_undefined(image))


def _apart(low: float, high: float) -> bool:
    """Whether the two differ by more than the rounding of values of their size."""
    return high - low > 1e-12 * max(abs(low), abs(high)) and 1.0 / (high - low) < np.inf


def _moments(values: np.ndarray, *, nonzero: bool) -> tuple[float, float]:
    kept = select_finite(spread(values), nonzero=nonzero)
    if kept.size == 0:
        return 0.0, 0.0
    return float(kept.mean(dtype=np.float64)), float(kept.std(dtype=np.float64))
