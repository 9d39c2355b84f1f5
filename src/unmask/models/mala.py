"""U-Net of MALA for neurites (Funke et al. 2019, doi:10.1109/TPAMI.2018.2835450), for n axes.

Slices are pooled in their plane only, by 3, and each resolution has five times the channels of the
finer one. The published network has no padding, so that it sees 53 x 268 x 268 voxels for
25 x 56 x 56; here borders are padded, as everywhere in this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.pyramid import PyramidDecoder

_SLOPE = 0.005


class Mala(nn.Module):
    """Features at as many resolutions as there are widths.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the image.
        widths: channels of each resolution, fine to coarse.
        plane: number of the last axes that are pooled.
        factor: by which they are pooled.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        *,
        widths: Sequence[int] = (12, 60, 300, 1500),
        plane: int = 2,
        factor: int = 3,
    ) -> None:
        super().__init__()
        self.ndim = ndim
        self.in_channels = in_channels
        self.channels = tuple(widths)
        pooled = [axis >= ndim - plane for axis in range(ndim)]
        self.pool = tuple(factor if each else 1 for each in pooled)
        self.strides = tuple(
            tuple(factor**level if each else 1 for each in pooled) for level in range(len(widths))
        )
        sources = (in_channels, *widths[:-1])
        self.stages = nn.ModuleList(
            _convolve_twice(ndim, source, width)
            for source, width in zip(sources, widths, strict=True)
        )

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Features, fine to coarse."""
        hidden = nd.channels_last(image)
        features: list[Tensor] = []
        for stage in self.stages:
            if features:
                hidden = nd.max_pool(hidden, self.pool)
            hidden = stage(hidden)
            features.append(hidden)
        return features


class MalaDecoder(PyramidDecoder):
    """From coarse to fine: map to the finer width, enlarge, join with the finer feature, convolve.

    Args:
        ndim: number of spatial axes.
        channels: channels of the features, fine to coarse.
        strides: strides of the features, fine to coarse, each a multiple of the one before.
    """

    def __init__(
        self, ndim: int, channels: Sequence[int], strides: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        self.strides = tuple(tuple(stride) for stride in strides)
        self.widths = tuple(channels)
        self.width = channels[0]
        self.projects = nn.ModuleList(
            nd.conv(ndim, coarse, fine, kernel=1) for fine, coarse in pairwise(channels)
        )
        self.stages = nn.ModuleList(_convolve_twice(ndim, 2 * fine, fine) for fine in channels[:-1])

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded features at every resolution, fine to coarse; ``widths`` are their channels."""
        decoded = [features[-1]]
        for level in reversed(range(len(self.stages))):
            hidden = self.projects[level](decoded[-1])
            hidden = nd.upsample(hidden, self.factor(level), features[level].shape[2:])
            decoded.append(self.stages[level](torch.cat([features[level], hidden], dim=1)))
        return decoded[::-1]


def _convolve_twice(ndim: int, in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nd.conv(ndim, in_channels, out_channels),
        nn.LeakyReLU(_SLOPE),
        nd.conv(ndim, out_channels, out_channels),
        nn.LeakyReLU(_SLOPE),
    )
