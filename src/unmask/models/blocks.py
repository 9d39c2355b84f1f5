"""Blocks that several networks are made of: convolution, residual convolution, transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.attention import Attention

_SLOPE = 0.01


class ConvBlock(nn.Module):
    """Convolution, normalization, leaky ReLU."""

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int | Sequence[int] = 3,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        self.conv, self.norm = nd.conv_norm(norm, ndim, in_channels, out_channels, kernel=kernel)

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *space"]:
        """Features of the same size."""
        return F.leaky_relu(self.norm(self.conv(image)), _SLOPE)


class ResidualBlock(nn.Module):
    """Two convolutions in parallel with a shortcut (arXiv:1512.03385), down by ``stride``.

    Where size or channels change, the shortcut is a linear map of the voxels that become one: it
    sees all of them, and takes a quarter of the time of averaging them in 3D bf16 on the CPU.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        stride: int | Sequence[int] = 1,
        kernel: int | Sequence[int] = 3,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        self.stride = nd.per_axis(stride, ndim)
        self.conv1, self.norm1 = nd.conv_norm(
            norm, ndim, in_channels, out_channels, kernel=kernel, stride=self.stride
        )
        self.conv2, self.norm2 = nd.conv_norm(norm, ndim, out_channels, out_channels, kernel=kernel)
        changes = in_channels != out_channels or max(self.stride) > 1
        self.project = (
            nd.patch_conv(ndim, in_channels, out_channels, self.stride, bias=False)
            if changes
            else nn.Identity()
        )

    def forward(self, image: Float[Tensor, "b c *in"]) -> Float[Tensor, "b d *out"]:
        """Features of ``ceil(size / stride)`` voxels per axis."""
        shortcut = self.project(nd.pad_to_multiple(image, self.stride))
        image = F.leaky_relu(self.norm1(self.conv1(image)), _SLOPE)
        image = self.norm2(self.conv2(image))
        return F.leaky_relu(image + shortcut, _SLOPE)


class Mlp(nn.Module):
    """Two linear layers with GELU between; parameter names of timm."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Map every token on its own."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP (arXiv:2010.11929); parameter names of timm."""

    def __init__(self, dim: int, heads: int, *, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Mix tokens with each other, then map each on its own."""
        tokens = _onto(tokens, self.attn(self.norm1(tokens)))
        return _onto(tokens, self.mlp(self.norm2(tokens)))


def _onto(tokens: Float[Tensor, "b n d"], change: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """The sum, in the memory of ``change``; in mixed precision tokens stay longer numbers."""
    if nd.is_exporting() or change.dtype != tokens.dtype:
        return tokens + change
    return change.add_(tokens)
