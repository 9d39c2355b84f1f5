"""U-shaped decoder for a columnar transformer, after UNETR (arXiv:2103.10504)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.blocks import ConvBlock, ResidualBlock
from unmask.models.pyramid import PyramidDecoder


class UnetrDecoder(PyramidDecoder):
    """Equal-stride features lifted to a pyramid, then decoded from coarse to fine.

    The finest skip is the image itself. Deeper features stay coarser; each is lifted by one
    transposed convolution, whose factor is a divisor of the patch.

    Args:
        ndim: number of spatial axes.
        channels: channels of the image and of the features of the transformer.
        strides: 1 for the image, then the patch for every feature.
        width: channels of the output; twice as many at every coarser level.
        norm: ``instance``, ``group`` or ``batch``.
    """

    def __init__(
        self,
        ndim: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        *,
        width: int = 32,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        patch = tuple(strides[-1])
        if max(strides[0]) > 1 or any(tuple(stride) != patch for stride in strides[1:]):
            raise ValueError(
                f"strides={list(strides)}: expected 1 for the image and then one patch size "
                "throughout, as a transformer gives. Use the unet decoder for a hierarchy."
            )
        self.patch = patch
        self.width = width
        levels = len(channels) - 1
        sizes = self.widths = [min(width * 2**level, 320) for level in range(levels + 1)]
        factors = [lift_factor(patch, level, levels) for level in range(1, levels + 1)]
        coarse = (tuple(p // f for p, f in zip(patch, by, strict=True)) for by in factors)
        self.strides = ((1,) * ndim, *coarse)
        self.image_block = ResidualBlock(ndim, channels[0], width, norm=norm)
        self.lifts = nn.ModuleList(
            nd.conv_transpose(ndim, deep, size, factor)
            for deep, size, factor in zip(channels[1:], sizes[1:], factors, strict=True)
        )
        # After pre-training the outputs of inner blocks are tens of times larger than before, and
        # nearly equal for all tokens: what differs between tokens is brought to unit scale.
        self.lift_norms = nn.ModuleList(nd.norm(norm, ndim, size) for size in sizes[1:])
        self.projects = nn.ModuleList(
            nd.conv(ndim, sizes[level + 1], sizes[level], kernel=1, bias=False)
            for level in range(levels)
        )
        self.blocks = nn.ModuleList(
            ConvBlock(ndim, 2 * sizes[level], sizes[level], norm=norm) for level in range(levels)
        )

    def restore(self, finest: Tensor, size: Sequence[int]) -> Tensor:
        """The finest decoded feature without the padding of the transformer."""
        return nd.crop(finest, size)

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded features at every resolution, fine to coarse; ``widths`` are their channels."""
        # Padded as the transformer pads, so that all grids cover the same region
        image = nd.pad_to_multiple(features[0], self.patch)
        skips = [nd.channels_last(self.image_block(image))]
        skips += [
            normalize(nd.channels_last(lift(feature)))
            for normalize, lift, feature in zip(
                self.lift_norms, self.lifts, features[1:], strict=True
            )
        ]
        decoded = [skips.pop()]
        for level in reversed(range(len(skips))):
            hidden = nd.interpolate(self.projects[level](decoded[-1]), skips[level].shape[2:])
            decoded.append(self.blocks[level](torch.cat([hidden, skips[level]], dim=1)))
        return decoded[::-1]


def lift_factor(patch: Sequence[int], level: int, levels: int) -> tuple[int, ...]:
    """How much finer than the tokens level ``level`` of ``levels`` is; the last is not lifted.

    Strides grow evenly in the logarithm from the image to the patch, each the nearest divisor.

    Examples:
        >>> [lift_factor((16, 16), level, 4) for level in (1, 2, 3, 4)]
        [(8, 8), (4, 4), (2, 2), (1, 1)]
    """
    factors = []
    for length in patch:
        wanted = length ** (level / levels)
        divisors = [d for d in range(1, length + 1) if length % d == 0]
        stride = min(divisors, key=lambda d: max(d / wanted, wanted / d))
        factors.append(length // stride)
    return tuple(factors)
