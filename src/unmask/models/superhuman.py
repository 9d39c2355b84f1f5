"""Residual symmetric U-Net for stacks of slices (Lee et al. 2017, arXiv:1706.00120).

The form published with Pixel-Embedded Affinity (Huang et al. 2022, doi:10.1609/aaai.v36i1.19984),
with its parameter names, for any number of axes: slices are pooled in their plane only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.pyramid import PyramidDecoder

_WIDTHS = (28, 36, 48, 64, 80)


class Superhuman(nn.Module):
    """Features at as many resolutions as there are widths.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the image.
        widths: channels of each resolution, fine to coarse.
        plane: number of the last axes that are pooled and seen by the flat kernels.
        momentum: share of a batch in the running statistics of the normalization.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        *,
        widths: Sequence[int] = _WIDTHS,
        plane: int = 2,
        momentum: float = 0.001,
    ) -> None:
        super().__init__()
        self.ndim = ndim
        self.in_channels = in_channels
        self.channels = tuple(widths)
        flat = _flat(ndim, plane)
        self.strides = tuple(tuple(2**i if n else 1 for n in flat) for i in range(len(widths)))
        self.pool = tuple(2 if n else 1 for n in flat)
        self.embed_in = _conv_elu(ndim, in_channels, widths[0], flat)
        sources = (widths[0], *widths[:-1])
        self.stages = [f"conv{i}" for i in range(len(widths) - 1)] + ["center"]
        for name, source, width in zip(self.stages, sources, widths, strict=True):
            self.add_module(name, _Block(ndim, source, width, flat=flat, momentum=momentum))
        _initialize(self)

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Features, fine to coarse."""
        hidden = nd.channels_last(self.embed_in(image))
        features: list[Tensor] = []
        for name in self.stages:
            if features:
                hidden = nd.max_pool(hidden, self.pool)
            hidden = self.get_submodule(name)(hidden)
            features.append(hidden)
        return features


class SuperhumanDecoder(PyramidDecoder):
    """From coarse to fine: enlarge, map to the finer width, add the finer feature, residual block.

    Args:
        ndim: number of spatial axes.
        channels: channels of the features, fine to coarse.
        strides: strides of the features, fine to coarse, each a multiple of the one before.
        plane: number of the last axes that the flat kernels see.
        momentum: share of a batch in the running statistics of the normalization.
    """

    def __init__(
        self,
        ndim: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        *,
        plane: int = 2,
        momentum: float = 0.001,
    ) -> None:
        super().__init__()
        self.strides = tuple(tuple(stride) for stride in strides)
        self.widths = tuple(channels)
        self.width = channels[0]
        flat = _flat(ndim, plane)
        count = self.levels = len(channels) - 1
        for step in range(count):
            fine, coarse = channels[count - step - 1], channels[count - step]
            # Index 0 stands for the interpolation, so that the convolution has its published name
            self.add_module(
                f"up{step}", nn.Sequential(nn.Identity(), nd.conv(ndim, coarse, fine, kernel=1))
            )
            norm = nd.norm("batch", ndim, fine)
            self.add_module(f"cat{step}", nn.Sequential(norm, nn.ELU()))
            block = _Block(ndim, fine, fine, flat=flat, momentum=momentum)
            self.add_module(f"conv{count + step}", block)
        self.embed_out = _conv_elu(ndim, self.width, self.width, flat)
        _slow(self, momentum)
        _initialize(self)

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded features at every resolution, fine to coarse; ``widths`` are their channels."""
        decoded = [features[-1]]
        for step in range(self.levels):
            level = self.levels - step - 1
            skip = features[level]
            hidden = nd.upsample_corners(decoded[-1], self.factor(level), skip.shape[2:])
            hidden = self.get_submodule(f"cat{step}")(
                self.get_submodule(f"up{step}")(hidden) + skip
            )
            decoded.append(self.get_submodule(f"conv{self.levels + step}")(hidden))
        decoded[-1] = self.embed_out(decoded[-1])
        return decoded[::-1]


class _Block(nn.Module):
    """A flat convolution, then a residual branch of two whole ones."""

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        flat: Sequence[bool],
        momentum: float,
    ) -> None:
        super().__init__()
        window = tuple(3 if n else 1 for n in flat)
        width = out_channels
        self.block1 = nn.Sequential(
            nd.conv(ndim, in_channels, width, kernel=window, bias=False),
            nd.norm("batch", ndim, width),
            nn.ELU(),
        )
        self.block2 = nn.Sequential(
            nd.conv(ndim, width, width, bias=False),
            nd.norm("batch", ndim, width),
            nn.ELU(),
            nd.conv(ndim, width, width, bias=False),
        )
        self.block3 = nd.norm("batch", ndim, width)
        _slow(self, momentum)

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *space"]:
        """Features of the same size."""
        image = self.block1(image)
        return F.elu(self.block3(image + self.block2(image)))


def _flat(ndim: int, plane: int) -> tuple[bool, ...]:
    """Whether each axis lies in the plane of the slices."""
    return tuple(axis >= ndim - plane for axis in range(ndim))


def _conv_elu(
    ndim: int, in_channels: int, out_channels: int, flat: Sequence[bool]
) -> nn.Sequential:
    window = tuple(5 if n else 1 for n in flat)
    return nn.Sequential(nd.conv(ndim, in_channels, out_channels, kernel=window), nn.ELU())


def _slow(module: nn.Module, momentum: float) -> None:
    for layer in module.modules():
        if isinstance(layer, nd.BatchNorm):
            layer.momentum = momentum


def _initialize(module: nn.Module) -> None:
    """Weights after He et al. 2015 (arXiv:1502.01852), biases 0."""
    for layer in module.modules():
        if isinstance(layer, nd.Conv):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
