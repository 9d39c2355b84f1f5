"""Decoder of MA-Net for n axes (doi:10.1109/ACCESS.2020.3025372), with Mish as in MEDIAR.

The coarsest feature goes through position attention; on the way to full resolution, channels of
decoded and encoded features are weighted together. Written from the papers; parameter names are
the published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.activations import Mish, normed_mish
from unmask.models.pyramid import PyramidDecoder

# Channels of a squeeze-and-excitation branch (arXiv:1709.01507) as a share of its input's.
_SQUEEZE = 16


class ManetDecoder(PyramidDecoder):
    """From coarse to fine, joining the encoder's features; plain beyond the finest of them.

    Args:
        ndim: number of spatial axes.
        channels: channels of the features, fine to coarse.
        strides: strides of the features, fine to coarse, each a multiple of the one before.
        width: channels of the output; twice as many at every coarser resolution.
        attention: channels in which positions are compared.
        published: compute position attention as the published networks do, which their weights
            depend on; see ``PositionAttention``.
    """

    def __init__(
        self,
        ndim: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        *,
        width: int = 64,
        attention: int = 256,
        published: bool = True,
    ) -> None:
        super().__init__()
        self.width = width
        factors = [
            tuple(b // a for a, b in zip(fine, coarse, strict=True))
            for fine, coarse in pairwise(strides)
        ]
        plain = plain_factors(strides[0])
        if not factors + plain:
            raise ValueError("expected features coarser than the image, found one at full size.")
        self.widths = tuple(width * 2**level for level in range(len(factors + plain)))
        self.center = PositionAttention(ndim, channels[-1], attention, published=published)
        self.blocks = nn.ModuleList()
        deep, sizes = channels[-1], list(self.widths)
        for skip, factor in zip(reversed(channels[:-1]), reversed(factors), strict=True):
            self.blocks.append(FusionBlock(ndim, deep, skip, sizes[-1], factor=factor))
            deep = sizes.pop()
        for factor in reversed(plain):
            self.blocks.append(PlainBlock(ndim, deep, sizes[-1], factor=factor))
            deep = sizes.pop()

    def restore(self, finest: Tensor, size: Sequence[int]) -> Tensor:
        """The finest decoded feature without what was added to whole strides."""
        return nd.crop(finest, size)

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded features of every block, fine to coarse; ``widths`` are their channels."""
        hidden = self.center(nd.channels_last(features[-1]))
        skips = [*reversed(features[:-1]), *[None] * (len(self.blocks) + 1 - len(features))]
        decoded = []
        for block, skip in zip(self.blocks, skips, strict=True):
            hidden = block(hidden) if skip is None else block(hidden, skip)
            decoded.append(hidden)
        return decoded[::-1]


class PositionAttention(nn.Module):
    """Every position of the coarsest map with all others.

    The published form weights all pairs of positions with one common softmax, and reads the result,
    whose rows are positions, as if its rows were channels. With ``published=False`` each position
    has its own softmax and keeps its place.
    """

    def __init__(self, ndim: int, channels: int, attention: int, *, published: bool) -> None:
        super().__init__()
        self.published = published
        self.top_conv = nd.conv(ndim, channels, attention, kernel=1)
        self.center_conv = nd.conv(ndim, channels, attention, kernel=1)
        self.bottom_conv = nd.conv(ndim, channels, channels)
        self.out_conv = nd.conv(ndim, channels, channels)

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """The image and what its positions tell each other."""
        q, k, v = (
            conv(image).flatten(2).transpose(1, 2)
            for conv in (self.center_conv, self.top_conv, self.bottom_conv)
        )
        if self.published:
            # One softmax over millions of pairs would lose its small weights in half precision
            weight = (q @ k.transpose(1, 2)).float().flatten(1).softmax(dim=1)
            mixed = (weight.view(q.shape[0], q.shape[1], -1).to(v.dtype) @ v).reshape(image.shape)
        else:
            alone = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], scale=1.0)
            mixed = alone[:, 0].transpose(1, 2).unflatten(2, image.shape[2:])
        return self.out_conv(image + mixed)


class FusionBlock(nn.Module):
    """Decoded and encoded features, weighted by channel (multi-scale fusion attention)."""

    def __init__(
        self, ndim: int, channels: int, skip: int, out: int, *, factor: Sequence[int]
    ) -> None:
        super().__init__()
        self.factor = tuple(factor)
        self.hl_conv = nn.Sequential(
            ConvUnit(ndim, channels, channels), ConvUnit(ndim, channels, skip, kernel=1)
        )
        self.SE_ll = squeeze_excite(ndim, skip)
        self.SE_hl = squeeze_excite(ndim, skip)
        self.conv1 = ConvUnit(ndim, 2 * skip, out)
        self.conv2 = ConvUnit(ndim, out, out)

    def forward(
        self, image: Float[Tensor, "b c *coarse"], skip: Float[Tensor, "b s *fine"]
    ) -> Float[Tensor, "b d *fine"]:
        """Features at the resolution of ``skip``."""
        hidden = self.hl_conv(image)
        # Enlarging by repetition leaves the mean of a channel as it is
        hidden = hidden * (self.SE_hl(hidden) + self.SE_ll(skip))
        return self.conv2(self.conv1(hidden, self.factor, skip))


class PlainBlock(nn.Module):
    """Enlarged features through two convolutions."""

    def __init__(self, ndim: int, channels: int, out: int, *, factor: Sequence[int]) -> None:
        super().__init__()
        self.factor = tuple(factor)
        self.conv1 = ConvUnit(ndim, channels, out)
        self.conv2 = ConvUnit(ndim, out, out)

    def forward(self, image: Float[Tensor, "b c *coarse"]) -> Float[Tensor, "b d *fine"]:
        """Features ``factor`` times finer."""
        return self.conv2(self.conv1(image, self.factor))


class ConvUnit(nn.Sequential):
    """Convolution, batch norm, Mish (arXiv:1908.08681)."""

    def __init__(self, ndim: int, channels: int, out: int, *, kernel: int = 3) -> None:
        super().__init__(
            nd.conv(ndim, channels, out, kernel=kernel, bias=False),
            nd.norm("batch", ndim, out),
            Mish(),
        )

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        image: Float[Tensor, "b c *coarse"],
        factor: Sequence[int] | None = None,
        skip: Float[Tensor, "b s *fine"] | None = None,
    ) -> Float[Tensor, "b d *fine"]:
        """Features of the image; with ``factor``, of the image enlarged and joined with ``skip``.

        A convolution is linear: it sees the two parts one after the other, and enlarged voxels once
        instead of several times.
        """
        conv, norm = self[0], self[1]
        if factor is None:
            return normed_mish(norm, conv(image))
        weight, channels = conv.get_parameter("weight"), image.shape[1]
        hidden = nd.convolve_repeated(image, weight[:, :channels], factor)
        if skip is not None:
            own = nd.crop(hidden, skip.shape[2:])
            hidden = own + nd.convolve(skip, weight[:, channels:])
        return normed_mish(norm, hidden)


class GlobalMean(nn.Module):
    """Mean of every channel."""

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *one"]:
        """One voxel."""
        return image.mean(dim=tuple(range(2, image.ndim)), keepdim=True)


def squeeze_excite(ndim: int, channels: int) -> nn.Sequential:
    """Weights between 0 and 1 for channels (arXiv:1709.01507)."""
    few = max(1, channels // _SQUEEZE)
    return nn.Sequential(
        GlobalMean(),
        nd.conv(ndim, channels, few, kernel=1),
        Mish(),
        nd.conv(ndim, few, channels, kernel=1),
        nn.Sigmoid(),
    )


def plain_factors(stride: Sequence[int]) -> list[tuple[int, ...]]:
    """Steps from full resolution to ``stride``, each at most a prime number along every axis.

    Examples:
        >>> plain_factors((4, 4)), plain_factors((1, 2, 4)), plain_factors((1, 1))
        ([(2, 2), (2, 2)], [(1, 2, 2), (1, 1, 2)], [])
    """
    steps = [_primes(length) for length in stride]
    count = max(len(primes) for primes in steps)
    return [tuple(primes[i] if i < len(primes) else 1 for primes in steps) for i in range(count)]


def _primes(number: int) -> list[int]:
    for divisor in range(2, number + 1):
        if number % divisor == 0:
            return [divisor, *_primes(number // divisor)]
    return []
