"""Light decoder of SparK for n axes (Tian et al. 2023, arXiv:2301.03580).

Every feature is normalized and projected, then the coarsest one is enlarged step by step; finer
ones are added where sizes agree. Parameter names are the published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd


class EnlargingBlock(nn.Module):
    """Transposed convolution, then two convolutions without an activation at the end.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the input.
        out_channels: channels of the output.
        factor: voxels of the output for each of the input, one number per axis.
        norm: ``batch``, ``instance`` or ``group``.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        factor: Sequence[int],
        norm: str,
    ) -> None:
        super().__init__()
        self.up_sample = nd.conv_enlarge(ndim, in_channels, in_channels, factor)
        self.conv = nn.Sequential(
            nd.conv(ndim, in_channels, in_channels, bias=False),
            nd.norm(norm, ndim, in_channels),
            nn.ReLU6(inplace=True),
            nd.conv(ndim, in_channels, out_channels, bias=False),
            nd.norm(norm, ndim, out_channels),
        )

    def forward(self, image: Float[Tensor, "b c *in"]) -> Float[Tensor, "b d *out"]:
        """The image ``factor`` times as large."""
        return self.conv(self.up_sample(image))


class SparkDecoder(nn.Module):
    """From coarse to fine by transposed convolutions, each step with half the channels.

    Args:
        ndim: number of spatial axes.
        channels: channels of the features, fine to coarse.
        strides: strides of the features, fine to coarse, each a multiple of the one before.
        top: channels at the coarsest resolution; default: those of the coarsest feature, at most
            the published 768, rounded down to what can be halved at every step.
        norm: ``batch`` as published, ``instance`` or ``group``.
    """

    def __init__(
        self,
        ndim: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        *,
        top: int | None = None,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.strides = nd.check_strides(strides, ndim)
        factors = enlarging_factors(self.strides)
        widths = _widths(top, channels[-1], len(factors))
        self.width = widths[-1]
        self.densify_norms = nn.ModuleList(nd.norm(norm, ndim, c) for c in reversed(channels))
        self.densify_projs = nn.ModuleList(
            nd.conv(ndim, c, width, kernel=3 if level else 1)
            for level, (c, width) in enumerate(zip(reversed(channels), widths, strict=False))
        )
        self.dec = nn.ModuleList(
            EnlargingBlock(ndim, wide, narrow, factor=factor, norm=norm)
            for (wide, narrow), factor in zip(pairwise(widths), factors, strict=True)
        )
        _initialize(self)

    def forward(
        self, features: list[Tensor], size: Sequence[int]
    ) -> Float[Tensor, "b width *space"]:
        """One feature vector per voxel of an image of ``size``."""
        layers = zip(self.densify_projs, self.densify_norms, reversed(features), strict=True)
        return self.join([project(norm(feature)) for project, norm, feature in layers], size)

    def join(self, projected: list[Tensor], size: Sequence[int]) -> Float[Tensor, "b width *space"]:
        """The same from features that are normalized and projected, coarse to fine."""
        hidden = projected[0]
        for level, block in enumerate(self.dec):
            hidden = block(hidden)
            if level + 1 < len(projected):
                finer = projected[level + 1]
                hidden = nd.crop(hidden, finer.shape[2:]) + finer
        return nd.crop(hidden, size)


def enlarging_factors(strides: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Factors of the steps from the coarsest feature to the image.

    Beyond the finest feature a step doubles an axis at most. The last step ends at the image; where
    the finest feature has the image's size it enlarges nothing.

    Examples:
        >>> enlarging_factors([(4, 4), (8, 8), (16, 16)])
        [(2, 2), (2, 2), (2, 2), (2, 2)]
        >>> enlarging_factors([(1, 1), (1, 2)])
        [(1, 2), (1, 1)]
    """
    steps = [
        tuple(b // a for a, b in zip(fine, coarse, strict=True))
        for fine, coarse in reversed(list(pairwise(strides)))
    ]
    left = strides[0]
    while True:
        step = tuple(2 if n % 2 == 0 else n for n in left)
        steps.append(step)
        left = tuple(n // s for n, s in zip(left, step, strict=True))
        if max(left) == 1:
            return steps


def _widths(top: int | None, coarsest: int, steps: int) -> list[int]:
    """Channels before and after every step."""
    if top is None:
        whole = 2**steps
        top = max(whole, min(768, coarsest) // whole * whole)
    if top < 2**steps:
        raise ValueError(f"top={top}: expected at least {2**steps} to be halved {steps} times.")
    return [top // 2**level for level in range(steps + 1)]


def _initialize(decoder: nn.Module) -> None:
    """Published start: narrow normal convolutions, transposed ones fit for ReLUs, no offsets."""
    for name, parameter in decoder.named_parameters():
        if parameter.ndim > 1 and "up_sample" in name:
            nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
        elif parameter.ndim > 1:
            nn.init.trunc_normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
