"""A bank of filters at several scales: intensity, edges, ridges and texture around each voxel.

The filters are common in interactive pixel classifiers (Arganda-Carreras et al.
2017, doi:10.1093/bioinformatics/btx180; Berg et al. 2019, doi:10.1038/s41592-019-0582-9), for any
number of axes. Scales are standard deviations in voxels of the finest axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from unmask.models import nd

# Standard deviations on each side that a Gaussian is summed over.
_CUT = 3.0
# Below this standard deviation a sampled Gaussian is a single voxel.
_SMALLEST = 0.2


def gaussian(
    image: Float[Tensor, "b c *space"], sigmas: Sequence[float]
) -> Float[Tensor, "b c *space"]:
    """Gaussian means along every axis; the image is mirrored at its borders.

    A product with a matrix per axis: for tiles of some hundred voxels several times as fast on the
    CPU as convolutions of single channels.

    Args:
        image: float32; every channel is filtered alone.
        sigmas: standard deviation per axis in voxels; nearly 0: the axis is left as it is.
    """
    recorded = nd.is_exporting()
    for axis, sigma in enumerate(sigmas, start=2):
        if sigma >= _SMALLEST and (recorded or image.shape[axis] > 1):
            make = _record_weights if recorded else _weights
            weights = make(image.shape[axis], sigma).to(image.device)
            image = torch.movedim(torch.movedim(image, axis, -1) @ weights, -1, axis)
    return image


def reach(scales: Sequence[float]) -> int:
    """Voxels on each side of a voxel that its filters depend on noticeably."""
    return ceil(_CUT * max(scales, default=0.0)) + 2


@lru_cache(maxsize=64)
def _weights(length: int, sigma: float) -> Float[Tensor, "n n"]:
    """Column j has the weights of all voxels in the mean at voxel j."""
    side = ceil(_CUT * sigma)
    steps = torch.arange(-side, side + 1)
    values = torch.exp(-0.5 * (steps / sigma) ** 2)
    values /= values.sum()
    period = 2 * (length - 1)
    source = (torch.arange(length)[:, None] + steps) % period
    source = torch.minimum(source, period - source)
    weights = torch.zeros(length, length)
    return weights.scatter_add_(1, source, values.expand(length, -1)).T.contiguous()


def _record_weights(length: int, sigma: float) -> Float[Tensor, "n n"]:
    """`_weights` by tensor operations alone, for a length that is a symbol; 1 is allowed."""
    side = ceil(_CUT * sigma)
    steps = torch.arange(-side, side + 1)
    values = torch.exp(-0.5 * (steps / sigma) ** 2)
    values = values / values.sum()
    index = torch.arange(length)
    period = (2 * index[-1:]).clamp(min=1)
    source = torch.remainder(index[:, None] + steps, period)
    source = torch.minimum(source, period - source)
    weights = torch.zeros(length, length)
    return weights.scatter_add(1, source, values.expand(length, -1)).T


def filter_bank(
    image: Float[Tensor, "b c *space"], scales: Sequence[float], anisotropy: Sequence[float]
) -> Float[Tensor, "b d *space"]:
    """All filters of all channels at all scales; see `filters_per_channel` for their number.

    Args:
        image: normalized.
        scales: standard deviations in voxels of the finest axis, ascending.
        anisotropy: voxel size per axis as a multiple of the smallest one.
    """
    found: list[Tensor] = []
    means, squares, before = image, image**2, 0.0
    for scale in scales:
        # The variances of Gaussians add up, so each scale is blurred from the one before.
        sigmas = [sqrt(scale**2 - before**2) / factor for factor in anisotropy]
        both = gaussian(torch.cat([means, squares], dim=1), sigmas)
        means, squares = both.chunk(2, dim=1)
        before = scale
        found += [means, (squares - means**2).clamp(min=0).sqrt()]
        found += _derivatives(means, scale, anisotropy)
    return torch.cat(found, dim=1)


def filters_per_channel(scales: int, ndim: int) -> int:
    """Mean, standard deviation, gradient and the eigenvalues of the Hessian, per scale."""
    return scales * (3 + ndim)


def _derivatives(means: Tensor, scale: float, anisotropy: Sequence[float]) -> list[Tensor]:
    """Gradient magnitude and eigenvalues of the Hessian, both normalized by the scale."""
    axes = range(len(anisotropy))
    slopes = [_slope(means, axis + 2) / anisotropy[axis] for axis in axes]
    magnitude = torch.stack(slopes).square().sum(dim=0).sqrt() * scale
    entries = {
        (a, b): _slope(slopes[a], b + 2) / anisotropy[b] * scale**2
        for a in axes
        for b in axes
        if a <= b
    }
    return [magnitude, *nd.symmetric_eigenvalues(entries, len(axes))]


def _slope(values: Tensor, axis: int) -> Tensor:
    """Central differences along an axis; the border voxel is repeated."""
    index = torch.arange(values.shape[axis], device=values.device)
    after = values.index_select(axis, torch.minimum(index + 1, index[-1:]))
    return (after - values.index_select(axis, (index - 1).clamp(min=0))) / 2
