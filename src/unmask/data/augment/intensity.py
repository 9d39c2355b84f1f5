"""Random changes of intensity, each for any number of axes and channels, on the images' device.

Images are ``(B, C, *space)`` float32 of about [0, 1], but no part relies on that range: what needs
a range takes the sample's own. Every part is applied to a share ``p`` of the samples. A range
``(low, high)`` is drawn from uniformly, once for each sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unmask.data.augment.random_parts import Range, check, column, uniform, where_drawn
from unmask.errors import RecipeError

_TINY = 1e-7


@dataclass(frozen=True)
class Gamma:
    """Raise values to a power within the sample's own range; above 1 darkens.

    Attributes:
        exponent: range of the power.
        logarithmic: draw the power uniformly in its logarithm, so that darker and brighter are
            equally frequent; otherwise in itself.
        p: share of the samples.
    """

    exponent: Range = (0.7, 1.5)
    logarithmic: bool = True
    p: float = 0.3

    def __post_init__(self) -> None:
        check(self, positive=("exponent",))
        if not self.exponent[0] > 0:
            raise RecipeError(
                f"gamma: expected exponent above 0, found {self.exponent}. Change data.augment."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> float | None:
        """The power."""
        del shape
        if not self.logarithmic:
            return uniform(rng, self.exponent, self.p)
        low, high = np.log(self.exponent)
        return float(np.exp(rng.uniform(low, high))) if rng.random() < self.p else None

    def apply(self, images: Tensor, params: Sequence[float | None]) -> Tensor:
        """Images with powers applied."""
        return where_drawn(images, params, _gamma)


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
        check(self, positive=("factor",))

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> float | None:
        """The factor."""
        del shape
        return uniform(rng, self.factor, self.p)

    def apply(self, images: Tensor, params: Sequence[float | None]) -> Tensor:
        """Images with factors applied."""
        return where_drawn(images, params, _contrast)


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
        check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> float | None:
        """The number."""
        del shape
        return uniform(rng, self.offset, self.p)

    def apply(self, images: Tensor, params: Sequence[float | None]) -> Tensor:
        """Images with the numbers added."""
        return where_drawn(images, params, lambda some, offset: some + column(offset, some))


@dataclass(frozen=True)
class HistogramShift:
    """Bend the gray scale: a rising, piecewise linear curve over the sample's own range.

    Attributes:
        points: knots between the two ends, evenly spaced; each is moved at random.
        strength: largest move of a knot as a share of the distance to the next, below 0.5; up to 1
            for a single knot, which has none to meet.
        p: share of the samples.
    """

    points: int = 3
    strength: float = 0.4
    p: float = 0.25

    def __post_init__(self) -> None:
        check(self)
        single = self.points == 1 and 0 <= self.strength <= 1
        if not single and (self.points < 1 or not 0 <= self.strength < 0.5):
            raise RecipeError(
                f"histogram_shift: expected points >= 1 and 0 <= strength < 0.5 (up to 1 for one "
                f"point), found points={self.points}, strength={self.strength}. "
                "Change data.augment."
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
        return where_drawn(images, params, _bend)


@dataclass(frozen=True)
class Invert:
    """Turn bright into dark within the sample's own range.

    Attributes:
        p: share of the samples.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> bool | None:
        """Whether the sample is inverted."""
        del shape
        return True if rng.random() < self.p else None

    def apply(self, images: Tensor, params: Sequence[bool | None]) -> Tensor:
        """Inverted images."""
        return where_drawn(images, params, _invert)


@dataclass(frozen=True)
class ChannelShuffle:
    """Reorder the channels.

    Attributes:
        p: share of the samples.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray | None:
        """``(C, C)`` permutation matrix."""
        if rng.random() >= self.p:
            return None
        return np.eye(shape[0], dtype=np.float32)[rng.permutation(shape[0])]

    def apply(self, images: Tensor, params: Sequence[np.ndarray | None]) -> Tensor:
        """Images with channels reordered."""
        return where_drawn(images, params, _mix)


@dataclass(frozen=True)
class Gray:
    """Give all channels their weighted mean, with weights drawn for each sample.

    Attributes:
        p: share of the samples.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray | None:
        """``(C, C)`` matrix of equal rows that sum to 1."""
        if rng.random() >= self.p:
            return None
        weights = rng.dirichlet(np.ones(shape[0])).astype(np.float32)
        return np.tile(weights, (shape[0], 1))

    def apply(self, images: Tensor, params: Sequence[np.ndarray | None]) -> Tensor:
        """Images with equal channels."""
        return where_drawn(images, params, _mix)


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
        check(self)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray | None:
        """``(C, C)`` matrix near the identity; every row sums to 1, so white stays white."""
        if rng.random() >= self.p:
            return None
        leak = rng.uniform(-self.strength, self.strength, (shape[0], shape[0]))
        leak -= np.diag(leak.sum(axis=1))
        return (np.eye(shape[0]) + leak).astype(np.float32)

    def apply(self, images: Tensor, params: Sequence[np.ndarray | None]) -> Tensor:
        """Images with channels mixed."""
        return where_drawn(images, params, _mix)


@dataclass(frozen=True)
class ObjectIntensity:
    """Change the brightness of some objects and not of others, as cells differ in one image.

    The cell-aware augmentation of MEDIAR (Lee et al. 2022, arXiv:2212.03465). Background and
    ignored voxels (labels of 0 and below) stay as they are.

    Attributes:
        share: expected share of a sample's objects that change: each is drawn on its own. The
            published program draws that share of all ids up to the largest, rounded down, so that
            of one or two objects none changes; here a single one may.
        factor: range of an object's factor.
        together: one factor for all chosen objects of a sample, not one for each.
        p: share of the samples.
    """

    share: float = 0.4
    factor: Range = (1.0, 1.7)
    together: bool = False
    p: float = 0.25

    def __post_init__(self) -> None:
        check(self, positive=("factor",))
        if not 0 <= self.share <= 1:
            raise RecipeError(
                f"object_intensity: expected share from 0 to 1, found {self.share}. "
                "Change data.augment."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> int | None:
        """A seed: how many objects there are is known after the geometry only."""
        del shape
        return int(rng.integers(2**63 - 1)) if rng.random() < self.p else None

    def apply_labeled(self, images: Tensor, labels: Tensor, params: Sequence[int | None]) -> Tensor:
        """Images ``(B, C, *space)`` with the objects of ``labels`` ``(B, *space)`` changed."""
        result = images.clone()
        for image, ids, seed in zip(result, labels, params, strict=True):
            if seed is None:
                continue
            found, place = torch.unique(ids, return_inverse=True)
            rng = np.random.default_rng(seed)
            chosen = rng.random(len(found)) < self.share
            factors = rng.uniform(*self.factor, 1 if self.together else len(found))
            factors = np.where(chosen, factors, 1.0)
            table = torch.from_numpy(factors.astype(np.float32)).to(image.device)
            image *= torch.where(found > 0, table, 1.0)[place]
        return result


def _extent(images: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest value and range of every sample; the range is not 0."""
    axes = tuple(range(1, images.ndim))
    low = images.amin(axes, keepdim=True)
    return low, (images.amax(axes, keepdim=True) - low).clamp_(min=_TINY)


def _gamma(images: Tensor, exponents: list[float]) -> Tensor:
    low, extent = _extent(images)
    return ((images - low).div_(extent)).pow_(column(exponents, images)).mul_(extent).add_(low)


def _contrast(images: Tensor, factors: list[float]) -> Tensor:
    mean = images.mean(tuple(range(1, images.ndim)), keepdim=True)
    factor = column(factors, images)
    return (images * factor).add_(mean * (1 - factor))


def _bend(images: Tensor, heights: list[np.ndarray]) -> Tensor:
    low, extent = _extent(images)
    place = (images - low).div_(extent)
    slopes = np.diff(np.stack(heights), axis=1) * (len(heights[0]) - 1)
    # A piecewise linear curve is a sum of ramps, one for each change of slope.
    result = place * column(slopes[:, 0].tolist(), images)
    for knot in range(1, slopes.shape[1]):
        turn = column((slopes[:, knot] - slopes[:, knot - 1]).tolist(), images)
        result.addcmul_((place - knot / slopes.shape[1]).clamp_(min=0), turn)
    return result.mul_(extent).add_(low)


def _invert(images: Tensor, chosen: list[bool]) -> Tensor:
    del chosen
    axes = tuple(range(1, images.ndim))
    return images.amin(axes, keepdim=True) + images.amax(axes, keepdim=True) - images


def _mix(images: Tensor, matrices: list[np.ndarray]) -> Tensor:
    matrix = torch.as_tensor(np.stack(matrices), dtype=images.dtype, device=images.device)
    return torch.einsum("bij,bj...->bi...", matrix, images)
