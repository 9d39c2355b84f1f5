"""Mix transformer for n axes: the hierarchical encoder of SegFormer (arXiv:2105.15203).

Four stages by default, each an overlapping patch embedding and transformer blocks whose keys and
values come from a coarser map. Positions are seen through the depthwise convolutions of the MLPs.
Written from the paper; parameter names are the published ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import prod, sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.attention import attend
from unmask.models.token_linear import TokenLinear

# Channels and blocks of the stages of table 6.
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2)),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3)),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3)),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3)),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3)),
}


class MixTransformer(nn.Module):
    """Features of every stage, fine to coarse.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the image.
        size: ``b0`` to ``b5``, the published sizes; ``dims`` and ``depths`` take its place.
        dims: channels of every stage.
        depths: blocks of every stage.
        heads: attention heads of every stage, divisors of ``dims``.
        strides: voxels of the image between voxels of every stage, one number per axis, for
            anisotropic images such as ``[[1, 4, 4], [2, 8, 8], [4, 16, 16], [8, 32, 32]]``;
            default: 4, then doubling.
        mlp_ratio: hidden channels of the MLPs as a multiple of ``dims``.
        drop_path: share of samples that skip the last block in training; the first block's is 0.
    """

    def __init__(  # noqa: PLR0913 - an architecture has as many; a recipe names each
        self,
        ndim: int,
        in_channels: int,
        *,
        size: str = "b0",
        dims: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        heads: Sequence[int] = (1, 2, 5, 8),
        strides: Sequence[Sequence[int]] | None = None,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size={size!r}: expected one of {', '.join(SIZES)}.")
        self.ndim = ndim
        self.in_channels = in_channels
        self.channels = tuple(dims or SIZES[size][0])
        self.depths = tuple(depths or SIZES[size][1])
        levels = len(self.channels)
        self.strides = nd.check_strides(
            strides or [(4 * 2**i,) * ndim for i in range(levels)], ndim
        )
        _same_lengths(dims=self.channels, depths=self.depths, heads=heads, strides=self.strides)
        total = sum(self.depths)
        rates = (drop_path * number / max(1, total - 1) for number in range(total))
        source, fine = in_channels, (1,) * ndim
        for level, (dim, stride) in enumerate(zip(self.channels, self.strides, strict=True)):
            factor = tuple(b // a for a, b in zip(fine, stride, strict=True))
            # All stages attend to a map as coarse as the last one
            reduction = tuple(b // a for a, b in zip(stride, self.strides[-1], strict=True))
            given = {"reduction": reduction, "mlp_ratio": mlp_ratio}
            blocks = nn.ModuleList(
                MixBlock(ndim, dim, heads[level], drop_path=next(rates), **given)
                for _ in range(self.depths[level])
            )
            self.add_module(f"patch_embed{level + 1}", OverlapEmbed(ndim, source, dim, factor))
            self.add_module(f"block{level + 1}", blocks)
            self.add_module(f"norm{level + 1}", nn.LayerNorm(dim, eps=1e-6))
            source, fine = dim, stride
        _initialize(self)

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Normed maps of ``ceil(size / stride)`` voxels."""
        size = image.shape[2:]
        hidden = nd.channels_last(nd.pad_to_multiple(image, self.strides[-1]))
        features = []
        for level, stride in enumerate(self.strides, 1):
            hidden = self._stage(level, hidden)
            grid = [(n + s - 1) // s for n, s in zip(size, stride, strict=True)]
            features.append(nd.crop(hidden, grid))
        return features

    def _stage(self, level: int, image: Tensor) -> Tensor:
        tokens, grid = self.get_submodule(f"patch_embed{level}")(image)
        blocks: nn.ModuleList = self.get_submodule(f"block{level}")  # pyright: ignore[reportAssignmentType]
        for block in blocks:
            tokens = block(tokens, grid)
        return _image(self.get_submodule(f"norm{level}")(tokens), grid)


class OverlapEmbed(nn.Module):
    """Convolution whose windows overlap by half."""

    def __init__(self, ndim: int, in_channels: int, dim: int, stride: Sequence[int]) -> None:
        super().__init__()
        kernel = tuple(2 * s - 1 for s in stride)
        self.proj = nd.conv(ndim, in_channels, dim, kernel=kernel, stride=stride)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, image: Float[Tensor, "b c *space"]
    ) -> tuple[Float[Tensor, "b n d"], tuple[int, ...]]:
        """Normed tokens, and how many there are along every axis."""
        embedded = self.proj(image)
        return self.norm(_tokens(embedded)), tuple(embedded.shape[2:])


class MixBlock(nn.Module):
    """Pre-norm attention and MLP, each skipped by some samples in training."""

    def __init__(
        self,
        ndim: int,
        dim: int,
        heads: int,
        *,
        reduction: Sequence[int],
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = ReducedAttention(ndim, dim, heads, reduction)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MixMlp(ndim, dim, int(dim * mlp_ratio))

    def forward(
        self, tokens: Float[Tensor, "b n d"], grid: Sequence[int]
    ) -> Float[Tensor, "b n d"]:
        """Tokens mixed with all others, then with their neighbors."""
        share = self.drop_path if self.training else 0.0
        tokens = tokens + drop_path(self.attn(self.norm1(tokens), grid), share)
        return tokens + drop_path(self.mlp(self.norm2(tokens), grid), share)


class ReducedAttention(nn.Module):
    """Attention of all tokens to patches of ``reduction`` tokens."""

    def __init__(self, ndim: int, dim: int, heads: int, reduction: Sequence[int]) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads={heads}: expected a divisor of dims={dim}.")
        self.heads = heads
        self.q = TokenLinear(dim, dim)
        self.kv = TokenLinear(dim, 2 * dim)
        self.proj = TokenLinear(dim, dim)
        self.sr = None if max(reduction) == 1 else nd.patch_conv(ndim, dim, dim, reduction)
        self.norm = None if self.sr is None else nn.LayerNorm(dim)

    def forward(
        self, tokens: Float[Tensor, "b n d"], grid: Sequence[int]
    ) -> Float[Tensor, "b n d"]:
        """Weighted sums of values, heads joined and projected."""
        b, n, d = tokens.shape
        coarse = tokens
        if self.sr is not None and self.norm is not None:
            coarse = self.norm(_tokens(self.sr(_image(tokens, grid))))
        q = self.q(tokens).view(b, n, self.heads, -1).transpose(1, 2)
        # (b, m, 2, heads, d / heads) -> 2 x (b, heads, m, d / heads), without copies
        pairs = self.kv(coarse).view(b, -1, 2, self.heads, d // self.heads)
        k, v = pairs.permute(2, 0, 3, 1, 4).unbind()
        return self.proj(attend(q, k, v).transpose(1, 2).reshape(b, n, d))


class MixMlp(nn.Module):
    """Two linear layers, between them a depthwise convolution and GELU."""

    def __init__(self, ndim: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = TokenLinear(dim, hidden)
        conv = nd.conv(ndim, hidden, hidden, groups=hidden)
        self.dwconv = nn.Sequential(OrderedDict(dwconv=conv))
        self.fc2 = TokenLinear(hidden, dim)

    def forward(
        self, tokens: Float[Tensor, "b n d"], grid: Sequence[int]
    ) -> Float[Tensor, "b n d"]:
        """Every token with its neighbors."""
        hidden = _tokens(self.dwconv(_image(self.fc1(tokens), grid)))
        return self.fc2(F.gelu(hidden))


def drop_path(change: Float[Tensor, "b n d"], share: float) -> Float[Tensor, "b n d"]:
    """Zero for ``share`` of the samples, the others scaled to keep the mean (arXiv:1603.09382).

    Drawn from torch's generator of the device, which the training loop seeds before every step.
    """
    if share == 0:
        return change
    kept = torch.rand(len(change), 1, 1, device=change.device) >= share
    return change * (kept / (1 - share)).to(change.dtype)


def _tokens(image: Tensor) -> Tensor:
    """``(B, N, C)``: a view where channels are last in memory."""
    return image.flatten(2).transpose(1, 2)


def _image(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    """``(B, C, *grid)`` with channels last in memory, without a copy."""
    # Not transpose and unflatten: for a batch of one these set strides that torch takes for
    # channels first, and depthwise convolutions of such take ten times as long
    if nd.is_exporting():
        return nd.tokens_to_image(tokens, grid)
    return tokens.unflatten(1, tuple(grid)).movedim(-1, 1)


def _initialize(module: nn.Module) -> None:
    """Linear maps N(0, 0.02) (arXiv:2010.11929), convolutions by fan-out (arXiv:1502.01852)."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            fan = prod(part.kernel_size) * part.out_channels // part.groups
            nn.init.normal_(part.weight, std=sqrt(2 / fan))
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _same_lengths(**options: Sequence[object]) -> None:
    if len({len(values) for values in options.values()}) > 1:
        found = ", ".join(f"{len(values)} {name}" for name, values in options.items())
        raise ValueError(
            f"expected one entry a stage in all of {', '.join(options)}, found {found}."
        )
