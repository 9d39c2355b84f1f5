"""Random changes of texture: noise, blur, sharpening, holes, for any number of axes and channels.

Images are ``(B, C, *space)`` float32; the rules of ``intensity.py`` hold here too. Smoothing runs
in a compiled kernel on the CPU and as convolutions elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.data.augment.random_parts import Range, check, column, uniform, where_drawn
from unmask.errors import RecipeError
from unmask.kernels import njit


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
        check(self, positive=("std",))
        if not 0 <= self.signal <= 1:
            raise RecipeError(
                f"noise: expected 0 <= signal <= 1, found {self.signal}. Change data.augment."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> tuple[float, int] | None:
        """Standard deviation, and the seed of the noise itself, which is drawn on the device."""
        del shape
        std = uniform(rng, self.std, self.p)
        return None if std is None else (std, int(rng.integers(2**63 - 1)))

    def apply(self, images: Tensor, params: Sequence[tuple[float, int] | None]) -> Tensor:
        """Images with noise added; the same seed gives the same noise on the same device."""
        return where_drawn(images, params, self._add)

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
        sigma_last: range along the last axis, drawn on its own, for a blur with a direction; None:
            as along the others.
        plane_only: along the last two axes only, for volumes of thick slices.
        p: share of the samples.
    """

    sigma: Range = (0.5, 1.5)
    sigma_last: Range | None = None
    plane_only: bool = False
    p: float = 0.25

    def __post_init__(self) -> None:
        check(self, positive=("sigma",) if self.sigma_last is None else ("sigma", "sigma_last"))

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> tuple[float, ...] | None:
        """Sigma for each axis."""
        sigma = uniform(rng, self.sigma, self.p)
        if sigma is None:
            return None
        sigmas = _by_axis(sigma, len(shape) - 1, self.plane_only)
        return sigmas if self.sigma_last is None else (*sigmas[:-1], rng.uniform(*self.sigma_last))

    def apply(self, images: Tensor, params: Sequence[tuple[float, ...] | None]) -> Tensor:
        """Smoothed images."""
        return where_drawn(images, params, gaussian)


@dataclass(frozen=True)
class Sharpen:
    """Add a multiple of what a Gaussian takes away.

    Attributes:
        amount: range of the multiple.
        sigma: standard deviation of the Gaussian in voxels.
        smooth: range of the standard deviation of a Gaussian that smooths first, drawn for each
            axis; the other one is then drawn between ``sigma`` and it. None: not smoothed first.
        plane_only: along the last two axes only, for volumes of thick slices.
        p: share of the samples.
    """

    amount: Range = (0.5, 2.0)
    sigma: float = 1.0
    smooth: Range | None = None
    plane_only: bool = False
    p: float = 0.25

    def __post_init__(self) -> None:
        check(self, positive=("amount",))
        if not self.sigma > 0:
            raise RecipeError(
                f"sharpen: expected sigma above 0, found {self.sigma}. Change data.augment."
            )
        if self.smooth is not None and self.smooth[0] < self.sigma:
            raise RecipeError(
                f"sharpen: expected smooth of sigma={self.sigma} or more, found {self.smooth}. "
                "Change data.augment."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Any:
        """The multiple, and the sigmas of the Gaussian and of the one before, for each axis."""
        amount = uniform(rng, self.amount, self.p)
        if amount is None:
            return None
        inside = _by_axis(1.0, len(shape) - 1, self.plane_only)
        if self.smooth is None:
            return amount, tuple(self.sigma * part for part in inside), None
        first = tuple(part * rng.uniform(*self.smooth) for part in inside)
        then = tuple(
            part and rng.uniform(self.sigma, sigma)
            for part, sigma in zip(inside, first, strict=True)
        )
        return amount, then, first

    def apply(self, images: Tensor, params: Sequence[Any]) -> Tensor:
        """Sharpened images."""
        return where_drawn(images, params, _sharpen)


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
        check(self, positive=("count", "size"))
        if self.size[1] > 1:
            raise RecipeError(
                f"cutout: expected size as a share up to 1, found {self.size}. Change data.augment."
            )

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
        return where_drawn(images, params, _cut)


def gaussian(images: Tensor, sigmas: Sequence[Sequence[float]]) -> Tensor:
    """Smooth every sample by its own Gaussian, axis by axis; the border value is continued.

    Args:
        images: ``(B, C, *space)`` float32.
        sigmas: standard deviation in voxels along each axis, for each sample; 0 leaves an axis.
            The Gaussian ends at three of them.
    """
    smooth = smooth_cpu if images.device.type == "cpu" else smooth_torch
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    for number, along in enumerate(sigmas):
        image = images[number]
        for axis, sigma in enumerate(along, start=1):
            if sigma > 0 and image.shape[axis] > 1:
                image = smooth(image, sigma, axis)
        result[number] = image
    return result


def smooth_torch(image: Tensor, sigma: float, axis: int) -> Tensor:
    """Smooth a tensor along one axis, on its device."""
    kernel = torch.from_numpy(_weights(sigma)).to(image.device)
    radius = len(kernel) // 2
    flat = _middle(image, axis)
    padded = F.pad(flat[:, None], (0, 0, radius, radius), mode="replicate")
    return F.conv2d(padded, kernel.reshape(1, 1, -1, 1)).reshape(image.shape)


def smooth_cpu(image: Tensor, sigma: float, axis: int) -> Tensor:
    """The same as ``smooth_torch`` by a compiled kernel."""
    source = _middle(image.contiguous(), axis).numpy()
    result, weights = np.empty_like(source), _weights(sigma)
    if source.shape[2] == 1:
        _smooth_lines(source.reshape(len(source), -1), weights, result.reshape(len(source), -1))
    else:
        _smooth_planes(source, weights, result)
    return torch.from_numpy(result).reshape(image.shape)


def _middle(image: Tensor, axis: int) -> Tensor:
    """The tensor as (before, axis, after)."""
    shape = image.shape
    return image.reshape(shape[:axis].numel(), shape[axis], shape[axis + 1 :].numel())


def _weights(sigma: float) -> np.ndarray:
    """Gaussian of odd length that sums to 1, float32."""
    radius = max(1, ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


@njit(cache=True, nogil=True)
def _smooth_planes(source: np.ndarray, weights: np.ndarray, result: np.ndarray) -> None:
    """Along the middle one of three axes; whole rows are added, so the loop is vectorized."""
    radius, length, width = len(weights) // 2, source.shape[1], source.shape[2]
    for plane in range(len(source)):
        for i in range(length):
            row = result[plane, i]
            row[:] = 0
            for k in range(len(weights)):
                other = source[plane, min(max(i + k - radius, 0), length - 1)]
                weight = weights[k]
                for x in range(width):
                    row[x] += weight * other[x]


@njit(cache=True, nogil=True)
def _smooth_lines(source: np.ndarray, weights: np.ndarray, result: np.ndarray) -> None:
    """Along the last of two axes, from a buffer that continues the border values."""
    radius, length = len(weights) // 2, source.shape[1]
    buffer = np.empty(length + 2 * radius, np.float32)
    for line in range(len(source)):
        buffer[:radius] = source[line, 0]
        buffer[radius : radius + length] = source[line]
        buffer[radius + length :] = source[line, length - 1]
        row = result[line]
        row[:] = 0
        for k in range(len(weights)):
            weight, shifted = weights[k], buffer[k : k + length]
            for x in range(length):
                row[x] += weight * shifted[x]


def _sharpen(images: Tensor, params: list[Any]) -> Tensor:
    amount = column([amount for amount, _, _ in params], images)
    if params[0][2] is not None:
        images = gaussian(images, [first for _, _, first in params])
    smooth = gaussian(images, [sigmas for _, sigmas, _ in params])
    return torch.lerp(smooth, images, 1 + amount)


def _cut(images: Tensor, samples: list[Any]) -> Tensor:
    result = images.clone()
    for image, boxes in zip(result, samples, strict=True):
        fill = image.mean()
        for box in boxes:
            image[(slice(None), *box)] = fill
    return result


def _by_axis(sigma: float, ndim: int, plane_only: bool) -> tuple[float, ...]:  # noqa: FBT001
    return tuple(sigma if not plane_only or axis >= ndim - 2 else 0.0 for axis in range(ndim))
