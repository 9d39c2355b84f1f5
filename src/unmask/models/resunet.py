"""Residual encoder of a U-Net for n axes (arXiv:1505.04597, arXiv:1512.03385)."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.blocks import ConvBlock, ResidualBlock

# Each resolution halves the image, so more would exceed any image.
_DEEPEST = 32


class ResUNet(nn.Module):
    """Features at ``depth`` resolutions, each twice as coarse and twice as wide as the one before.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the image.
        width: channels at full resolution.
        depth: number of resolutions.
        strides: voxels of the image between voxels of each resolution, one number per axis, for
            anisotropic images such as ``[[1, 1, 1], [1, 2, 2], [2, 4, 4]]``; the default doubles
            every axis. Its length takes the place of ``depth``.
        blocks: residual blocks at each resolution, one number or one for each.
        kernel: kernel of all convolutions, or one for each resolution.
        norm: ``instance``, ``group`` or ``batch``.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        *,
        width: int = 32,
        depth: int = 5,
        strides: Sequence[Sequence[int]] | None = None,
        blocks: int | Sequence[int] = 1,
        kernel: int | Sequence[Sequence[int]] = 3,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        if depth > _DEEPEST:
            raise ValueError(f"depth={depth}: expected at most {_DEEPEST} resolutions.")
        self.ndim = ndim
        self.in_channels = in_channels
        self.strides = nd.check_strides(strides or [(2**i,) * ndim for i in range(depth)], ndim)
        levels = len(self.strides)
        # 320 is the widest of nnU-Net (doi:10.1038/s41592-020-01008-z): more adds parameters only
        self.channels = tuple(max(width, min(width * 2**i, 320)) for i in range(levels))
        counts = nd.per_axis(blocks, levels)
        kernels = [kernel] * levels if isinstance(kernel, int) else list(kernel)
        self.stem = ConvBlock(ndim, in_channels, width, kernel=kernels[0], norm=norm)
        self.stages = nn.ModuleList()
        source, fine = width, (1,) * ndim
        for size, coarse, count, window in zip(
            self.channels, self.strides, counts, kernels, strict=True
        ):
            stride = tuple(b // a for a, b in zip(fine, coarse, strict=True))
            first = ResidualBlock(ndim, source, size, stride=stride, kernel=window, norm=norm)
            more = [
                ResidualBlock(ndim, size, size, kernel=window, norm=norm) for _ in range(count - 1)
            ]
            self.stages.append(nn.Sequential(first, *more))
            source, fine = size, coarse

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Features, fine to coarse."""
        hidden = nd.channels_last(self.stem(image))
        features = []
        for stage in self.stages:
            hidden = stage(hidden)
            features.append(hidden)
        return features
