"""Random changes of intensity, each for any number of axes and channels, on the images' device.

Images are ``(B, C, *space)`` float32 of about [0, 1], but no part relies on that range: what needs
a range takes the sample's own. Every part is applied to a share ``p`` of the samples. A range
``(low, high)`` is drawn from uniformly, once for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.errors import RecipeError

Range = tuple[float, float]
_TINY = 1e-7


@dataclass(frozen=True)
class Gamma:
    """Raise values to a power within the sample's own range; above 1 darkens.

    Attributes:
        exponent: range of the power, drawn uniformly in its logarithm.
        p: share of the samples.
    """

    exponent: Range = (0.7, 1.5)
    p: float = 0.3

    def __post_init__(self) -> None:
        _check(self, positive=("exponent",))
        if not self.exponent[0] > 0:
            raise RecipeError(f"gamma: expected exponent above 0, found {self.exponent}.")

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> float | None:
        """The power."""
        del shape
        low, high = np.log(self.exponent)
        return float(np.exp(rng.uniform(low, high))) if rng.random() < self.p else None

    def apply(self, images: Tensor, params: Sequence[float | None]) -> Tensor:
        """Images with powers applied."""
        return _where_drawn(images, params, _gamma)


@dataclass(frozen=True)
class Contrast:
    """Stretch or squeeze values around the sample's mean.

    Attributes:
        factor: range of the factor.
        p: share of the samples.
    """

    factor: Range = (0.65, 1.5)
    p: float = 0.3

    def __post_init__(self) -> None:
        _check(self, positive=("factor",))

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> float | None:
        """The factor."""
        del shape
        return _uniform(rng, self.factor, self.p)

    def apply(self, images: Tensor, params: Sequence[float | None]) -> Tensor:
        """Images with factors applied."""
        return _where_drawn(images, params, _contrast)


@dataclass(frozen=True)
class Brightness:
    """Add one number to all values.

    Attributes:
        offset: range of the number.
        p: share of the samples.
    """

    offset: Range = (-0.1, 0.1)
    p: float = 0.3

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> float | None:
        """The number."""
        del shape
        return _uniform(rng, self.offset, self.p)

    def apply(self, images: Tensor, params: Sequence[float | None]) -> Tensor:
        """Images with the numbers added."""
        return _where_drawn(images, params, lambda some, offset: some + _column(offset, some))


@dataclass(frozen=True)
class Noise:
    """Add Gaussian noise, even or growing with the signal as photon noise does.

    Attributes:
        std: range of the standard deviation; with ``signal`` that at value 1.
        signal: share of the variance that is proportional to the value (0: none, 1: all).
        p: share of the samples.
    """

    std: Range = (0.0, 0.1)
    signal: float = 0.0
    p: float = 0.25

    def __post_init__(self) -> None:
        _check(self, positive=("std",))
        if not 0 <= self.signal <= 1:
            raise RecipeError(f"noise: expected 0 <= signal <= 1, found {self.signal}.")

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> tuple[float, int] | None:
        """Standard deviation, and the seed of the noise itself, which is drawn on the device."""
        del shape
        std = _uniform(rng, self.std, self.p)
        return None if std is None else (std, int(rng.integers(2**63 - 1)))

    def apply(self, images: Tensor, params: Sequence[tuple[float, int] | None]) -> Tensor:
        """Images with noise added; the same seed gives the same noise on the same device."""
        return _where_drawn(images, params, self._add)

    def _add(self, images: Tensor, params: Sequence[tuple[float, int]]) -> Tensor:
        noise = torch.empty_like(images, memory_format=torch.contiguous_format)
        source = torch.Generator(images.device)
        for number, (std, seed) in enumerate(params):
            noise[number].normal_(0.0, std, generator=source.manual_seed(seed))
        if self.signal:
            noise *= (images.clamp(min=0) * self.signal + (1 - self.signal)).sqrt_()
        return noise.add_(images)


@dataclass(frozen=True)
class Blur:
    """Smooth with a Gaussian.

    Attributes:
        sigma: range of the standard deviation in voxels.
        plane_only: along the last two axes only, for volumes of thick slices.
        p: share of the samples.
    """

    sigma: Range = (0.5, 1.5)
    plane_only: bool = False
    p: float = 0.25

    def __post_init__(self) -> None:
        _check(self, positive=("sigma",))

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> tuple[float, ...] | None:
        """Sigma for each axis."""
        sigma = _uniform(rng, self.sigma, self.p)
        return None if sigma is None else _by_axis(sigma, len(shape) - 1, self.plane_only)

    def apply(self, images: Tensor, params: Sequence[tuple[float, ...] | None]) -> Tensor:
        """Smoothed images."""
        return _where_drawn(images, params, gaussian)


@dataclass(frozen=True)
class Sharpen:
    """Add a multiple of what a Gaussian takes away.

    Attributes:
        amount: range of the multiple.
        sigma: standard deviation of the Gaussian in voxels.
        plane_only: along the last two axes only, for volumes of thick slices.
        p: share of the samples.
    """

    amount: Range = (0.5, 2.0)
    sigma: float = 1.0
    plane_only: bool = False
    p: float = 0.25

    def __post_init__(self) -> None:
        _check(self, positive=("amount",))
        if not self.sigma > 0:
            raise RecipeError(f"sharpen: expected sigma above 0, found {self.sigma}.")

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Any:
        """The multiple, and sigma for each axis."""
        amount = _uniform(rng, self.amount, self.p)
        sigmas = _by_axis(self.sigma, len(shape) - 1, self.plane_only)
        return None if amount is None else (amount, sigmas)

    def apply(self, images: Tensor, params: Sequence[Any]) -> Tensor:
        """Sharpened images."""
        return _where_drawn(images, params, _sharpen)


@dataclass(frozen=True)
class HistogramShift:
    """Bend the grey scale: a rising, piecewise linear curve over the sample's own range.

    Attributes:
        points: knots between the two ends, evenly spaced; each is moved at random.
        strength: largest move of a knot as a share of the distance to the next, below 0.5.
        p: share of the samples.
    """

    points: int = 3
    strength: float = 0.4
    p: float = 0.25

    def __post_init__(self) -> None:
        _check(self)
        if self.points < 1 or not 0 <= self.strength < 0.5:
            raise RecipeError(
                f"histogram_shift: expected points >= 1 and 0 <= strength < 0.5, found "
                f"points={self.points}, strength={self.strength}. Change data.augment."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray | None:
        """Heights of all knots, ends included, rising from 0 to 1."""
        del shape
        if rng.random() >= self.p:
            return None
        heights = np.linspace(0.0, 1.0, self.points + 2)
        most = self.strength / (self.points + 1)
        heights[1:-1] += rng.uniform(-most, most, self.points)
        return heights

    def apply(self, images: Tensor, params: Sequence[np.ndarray | None]) -> Tensor:
        """Images after the curve."""
        return _where_drawn(images, params, _bend)


@dataclass(frozen=True)
class Cutout:
    """Fill random boxes with the sample's mean; labels stay, so the network must infer them.

    Attributes:
        count: range of the number of boxes.
        size: range of a box's side as a share of the crop's.
        p: share of the samples.
    """

    count: tuple[int, int] = (1, 4)
    size: Range = (0.05, 0.2)
    p: float = 0.25

    def __post_init__(self) -> None:
        _check(self, positive=("count", "size"))
        if self.size[1] > 1:
            raise RecipeError(f"cutout: expected size as a share up to 1, found {self.size}.")

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> list[Any] | None:
        """A slice along each axis, for every box."""
        if rng.random() >= self.p:
            return None
        boxes = []
        for _ in range(rng.integers(self.count[0], self.count[1] + 1)):
            sides = [max(1, round(n * rng.uniform(*self.size))) for n in shape[1:]]
            corners = [
                int(rng.integers(max(1, n - side + 1)))
                for n, side in zip(shape[1:], sides, strict=True)
            ]
            box = [slice(a, a + side) for a, side in zip(corners, sides, strict=True)]
            boxes.append(tuple(box))
        return boxes

    def apply(self, images: Tensor, params: Sequence[list[Any] | None]) -> Tensor:
        """Images with the boxes filled."""
        return _where_drawn(images, params, _cut)


@dataclass(frozen=True)
class Invert:
    """Turn bright into dark within the sample's own range.

    Attributes:
        p: share of the samples.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> bool | None:
        """Whether the sample is inverted."""
        del shape
        return True if rng.random() < self.p else None

    def apply(self, images: Tensor, params: Sequence[bool | None]) -> Tensor:
        """Inverted images."""
        return _where_drawn(images, params, _invert)


@dataclass(frozen=True)
class ChannelShuffle:
    """Reorder the channels.

    Attributes:
        p: share of the samples.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray | None:
        """``(C, C)`` permutation matrix."""
        if rng.random() >= self.p:
            return None
        return np.eye(shape[0], dtype=np.float32)[rng.permutation(shape[0])]

    def apply(self, images: Tensor, params: Sequence[np.ndarray | None]) -> Tensor:
        """Images with channels reordered."""
        return _where_drawn(images, params, _mix)


@dataclass(frozen=True)
class Grey:
    """Give all channels their weighted mean, with weights drawn for each sample.

    Attributes:
        p: share of the samples.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray | None:
        """``(C, C)`` matrix of equal rows that sum to 1."""
        if rng.random() >= self.p:
            return None
        weights = rng.dirichlet(np.ones(shape[0])).astype(np.float32)
        return np.tile(weights, (shape[0], 1))

    def apply(self, images: Tensor, params: Sequence[np.ndarray | None]) -> Tensor:
        """Images with equal channels."""
        return _where_drawn(images, params, _mix)


@dataclass(frozen=True)
class ChannelMix:
    """Let a little of every channel leak into every other, as stains and filters vary.

    Attributes:
        strength: bound of the leak.
        p: share of the samples.
    """

    strength: float = 0.2
    p: float = 0.25

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray | None:
        """``(C, C)`` matrix near the identity; every row sums to 1, so white stays white."""
        if rng.random() >= self.p:
            return None
        leak = rng.uniform(-self.strength, self.strength, (shape[0], shape[0]))
        leak -= np.diag(leak.sum(axis=1))
        return (np.eye(shape[0]) + leak).astype(np.float32)

    def apply(self, images: Tensor, params: Sequence[np.ndarray | None]) -> Tensor:
        """Images with channels mixed."""
        return _where_drawn(images, params, _mix)


def gaussian(images: Tensor, sigmas: Sequence[Sequence[float]]) -> Tensor:
    """Smooth every sample by its own Gaussian, axis by axis; the border value is continued.

    Args:
        images: ``(B, C, *space)``.
        sigmas: standard deviation in voxels along each axis, for each sample; 0 leaves an axis.
    """
    result = torch.empty_like(images)
    for number, along in enumerate(sigmas):
        image = images[number]
        for axis, sigma in enumerate(along, start=1):
            if sigma > 0 and image.shape[axis] > 1:
                image = _smooth(image, sigma, axis)
        result[number] = image
    return result


def _smooth(image: Tensor, sigma: float, axis: int) -> Tensor:
    radius = max(1, ceil(3 * sigma))
    steps = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel /= kernel.sum()
    # Every axis is the middle one of three, so one two-dimensional convolution serves them all.
    before, after = image.shape[:axis].numel(), image.shape[axis + 1 :].numel()
    flat = image.reshape(before, 1, image.shape[axis], after)
    if after == 1:
        lines = F.pad(flat.reshape(1, 1, before, -1), (radius, radius, 0, 0), mode="replicate")
        return F.conv2d(lines, kernel.reshape(1, 1, 1, -1)).reshape(image.shape)
    planes = F.pad(flat, (0, 0, radius, radius), mode="replicate")
    return F.conv2d(planes, kernel.reshape(1, 1, -1, 1)).reshape(image.shape)


def _where_drawn(
    images: Tensor, params: Sequence[Any], act: Callable[[Tensor, list[Any]], Tensor]
) -> Tensor:
    """``act`` on the samples whose parameters are not None; a new tensor if there are any."""
    rows = [number for number, values in enumerate(params) if values is not None]
    if not rows:
        return images
    drawn = [params[number] for number in rows]
    if len(rows) == len(images):
        return act(images, drawn)
    result = images.clone()
    result[rows] = act(images[rows], drawn)
    return result


def _column(values: Sequence[float], images: Tensor) -> Tensor:
    """One number for each sample, in the shape that multiplies ``images``."""
    column = torch.tensor(values, dtype=images.dtype, device=images.device)
    return column.reshape(-1, *(1,) * (images.ndim - 1))


def _extent(images: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest value and range of every sample; the range is not 0."""
    axes = tuple(range(1, images.ndim))
    low = images.amin(axes, keepdim=True)
    return low, (images.amax(axes, keepdim=True) - low).clamp_(min=_TINY)


def _gamma(images: Tensor, exponents: list[float]) -> Tensor:
    low, extent = _extent(images)
    return ((images - low).div_(extent)).pow_(_column(exponents, images)).mul_(extent).add_(low)


def _contrast(images: Tensor, factors: list[float]) -> Tensor:
    mean = images.mean(tuple(range(1, images.ndim)), keepdim=True)
    factor = _column(factors, images)
    return torch.addcmul(mean * (1 - factor), images, factor)


def _sharpen(images: Tensor, params: list[Any]) -> Tensor:
    amount = _column([amount for amount, _ in params], images)
    smooth = gaussian(images, [sigmas for _, sigmas in params])
    return torch.lerp(smooth, images, 1 + amount)


def _bend(images: Tensor, heights: list[np.ndarray]) -> Tensor:
    low, extent = _extent(images)
    place = (images - low).div_(extent)
    slopes = np.diff(np.stack(heights), axis=1) * (len(heights[0]) - 1)
    # A piecewise linear curve is a sum of ramps, one for each change of slope.
    result = place * _column(slopes[:, 0].tolist(), images)
    for knot in range(1, slopes.shape[1]):
        turn = _column((slopes[:, knot] - slopes[:, knot - 1]).tolist(), images)
        result.addcmul_((place - knot / slopes.shape[1]).clamp_(min=0), turn)
    return result.mul_(extent).add_(low)


def _cut(images: Tensor, samples: list[Any]) -> Tensor:
    result = images.clone()
    for image, boxes in zip(result, samples, strict=True):
        fill = image.mean()
        for box in boxes:
            image[(slice(None), *box)] = fill
    return result


def _invert(images: Tensor, chosen: list[bool]) -> Tensor:
    del chosen
    axes = tuple(range(1, images.ndim))
    return images.amin(axes, keepdim=True) + images.amax(axes, keepdim=True) - images


def _mix(images: Tensor, matrices: list[np.ndarray]) -> Tensor:
    matrix = torch.as_tensor(np.stack(matrices), dtype=images.dtype, device=images.device)
    return torch.einsum("bij,bj...->bi...", matrix, images)


def _uniform(rng: np.random.Generator, values: Range, p: float) -> float | None:
    return float(rng.uniform(*values)) if rng.random() < p else None


def _by_axis(sigma: float, ndim: int, plane_only: bool) -> tuple[float, ...]:  # noqa: FBT001
    return tuple(sigma if not plane_only or axis >= ndim - 2 else 0.0 for axis in range(ndim))


def _check(part: Any, *, positive: Sequence[str] = ()) -> None:
    """Refuse a share outside [0, 1], and ranges that fall or, where they must not, go below 0."""
    name = type(part).__name__.lower()
    if not 0 <= part.p <= 1:
        raise RecipeError(f"{name}: expected p, a share between 0 and 1, found {part.p}.")
    for field, values in vars(part).items():
        if isinstance(values, tuple | list) and not (len(values) == 2 and values[0] <= values[1]):
            raise RecipeError(
                f"{name}: expected {field}=(low, high) with low <= high, found {values}."
            )
        if field in positive and not values[0] >= 0:
            raise RecipeError(f"{name}: expected {field} of 0 or more, found {values}.")
