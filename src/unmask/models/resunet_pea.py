"""Residual U-Net published with Pixel-Embedded Affinity, for any number of axes.

Huang et al. 2022, AAAI (doi:10.1609/aaai.v36i1.19984); parameter names of the published program.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.pyramid import PyramidDecoder


class PeaResUNet(nn.Module):
    """Features at as many resolutions as there are widths, each half as fine as the one before.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the image.
        widths: channels of each resolution, fine to coarse.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        *,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
    ) -> None:
        super().__init__()
        self.ndim = ndim
        self.in_channels = in_channels
        self.channels = tuple(widths)
        self.strides = tuple((2**i,) * ndim for i in range(len(widths)))
        first = _Block(ndim, in_channels, widths[0])
        self.inconv = nn.ModuleDict({"conv": first})
        for level in range(1, len(widths)):
            block = _Block(ndim, widths[level - 1], widths[level])
            self.add_module(f"down{level}", nn.ModuleDict({"block": block}))

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Features, fine to coarse."""
        features = [nd.channels_last(self.inconv["conv"](image))]
        for level in range(1, len(self.channels)):
            block = self.get_submodule(f"down{level}.block")
            features.append(nd.max_pool(block(features[-1]), (2,) * self.ndim))
        return features


class PeaDecoder(PyramidDecoder):
    """From coarse to fine: enlarge, residual block, then join with the feature of that resolution.

    The finest feature is not joined. A resolution has the width of the next coarser feature.

    Args:
        ndim: number of spatial axes.
        channels: channels of the features, fine to coarse, two or more.
        strides: strides of the features, fine to coarse, each a multiple of the one before.
    """

    def __init__(
        self, ndim: int, channels: Sequence[int], strides: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        if len(channels) < 2:
            raise ValueError(
                f"channels={tuple(channels)}: expected features of two resolutions or more. "
                "Choose another decoder for this backbone."
            )
        self.strides = tuple(tuple(stride) for stride in strides)
        self.widths = (*channels[1:], channels[-1])
        self.width = channels[1]
        self.levels = len(channels) - 1
        source = channels[-1]
        for step in range(1, self.levels + 1):
            width = channels[-step]
            block = _Block(ndim, source, width)
            self.add_module(f"up{step}_emb", nn.ModuleDict({"block": block}))
            source = width + channels[-step - 1]

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded features at every resolution, fine to coarse; ``widths`` are their channels."""
        decoded = [features[-1]]
        hidden = features[-1]
        for step in range(1, self.levels + 1):
            level = self.levels - step
            hidden = nd.upsample_corners(hidden, self.factor(level), features[level].shape[2:])
            decoded.append(self.get_submodule(f"up{step}_emb.block")(hidden))
            if level:
                hidden = torch.cat([decoded[-1], features[level]], dim=1)
        return decoded[::-1]


class _Block(nn.Module):
    """Two normalized convolutions in parallel with a normalized one."""

    def __init__(self, ndim: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nd.conv(ndim, in_channels, out_channels),
            nd.norm("batch", ndim, out_channels),
            nn.ReLU(),
            nd.conv(ndim, out_channels, out_channels),
            nd.norm("batch", ndim, out_channels),
        )
        self.project = nn.Sequential(
            nd.conv(ndim, in_channels, out_channels), nd.norm("batch", ndim, out_channels)
        )

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *space"]:
        """Features of the same size."""
        return F.relu(self.conv(image) + self.project(image))
