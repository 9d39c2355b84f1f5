"""U-Net decoder for features of several resolutions (arXiv:1505.04597)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.blocks import ConvBlock
from unmask.models.pyramid import PyramidDecoder


class UNetDecoder(PyramidDecoder):
    """From coarse to fine: project, enlarge, join with the finer feature, convolve.

    Args:
        ndim: number of spatial axes.
        channels: channels of the features, fine to coarse.
        strides: strides of the features, fine to coarse, each a multiple of the one before.
        width: channels of the output; default: those of the finest feature.
        blocks: convolutions at each resolution.
        norm: ``instance``, ``group`` or ``batch``.
    """

    def __init__(
        self,
        ndim: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        *,
        width: int | None = None,
        blocks: int = 1,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        self.strides = tuple(tuple(stride) for stride in strides)
        self.width = channels[0] if width is None else width
        if len(channels) == 1 and self.width != channels[0]:
            raise ValueError(
                f"width={width}: expected {channels[0]} for a backbone of a single feature. "
                "Leave width out, or choose another decoder."
            )
        sizes = self.widths = (self.width, *channels[1:])
        self.projects = nn.ModuleList()
        self.stages = nn.ModuleList()
        for fine, skip, coarse in zip(sizes, channels, sizes[1:], strict=False):
            # Projecting before enlarging costs a fraction of a transposed convolution
            self.projects.append(nd.conv(ndim, coarse, fine, kernel=1, bias=False))
            self.stages.append(
                nn.Sequential(
                    ConvBlock(ndim, fine + skip, fine, norm=norm),
                    *(ConvBlock(ndim, fine, fine, norm=norm) for _ in range(blocks - 1)),
                )
            )

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded features at every resolution, fine to coarse; ``widths`` are their channels."""
        decoded = [features[-1]]
        for level in reversed(range(len(self.stages))):
            skip = features[level]
            hidden = self.projects[level](decoded[-1])
            hidden = nd.upsample(hidden, self.factor(level), skip.shape[2:])
            decoded.append(self.stages[level](torch.cat([hidden, skip], dim=1)))
        return decoded[::-1]
