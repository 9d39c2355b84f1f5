"""Residual network of bottleneck blocks for n axes (He et al. 2016, arXiv:1512.03385).

Parameter names are those of torchvision and timm, and so are the numbers: the stride of a block
sits in its 3 x 3 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd

_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_EXPANSION = 4


class Bottleneck(nn.Module):
    """Convolutions of kernel 1, 3, 1 in parallel with a shortcut, down by ``stride``.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the input.
        width: channels between the convolutions; the output has four times as many.
        stride: of the middle convolution, one number per axis.
        norm: ``instance``, ``group`` or ``batch``.
        drop: share of samples that skip the block in training (arXiv:1603.09382).
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        width: int,
        *,
        stride: Sequence[int],
        norm: str = "batch",
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        out_channels = width * _EXPANSION
        self.drop = drop
        self.conv1 = nd.conv(ndim, in_channels, width, kernel=1, bias=False)
        self.bn1 = nd.norm(norm, ndim, width)
        self.conv2 = nd.conv(ndim, width, width, stride=stride, bias=False)
        self.bn2 = nd.norm(norm, ndim, width)
        self.conv3 = nd.conv(ndim, width, out_channels, kernel=1, bias=False)
        self.bn3 = nd.norm(norm, ndim, out_channels)
        changes = in_channels != out_channels or max(stride) > 1
        self.downsample = (
            nn.Sequential(
                nd.conv(ndim, in_channels, out_channels, kernel=1, stride=stride, bias=False),
                nd.norm(norm, ndim, out_channels),
            )
            if changes
            else nn.Identity()
        )

    def forward(self, image: Float[Tensor, "b c *in"]) -> Float[Tensor, "b d *out"]:
        """Features of ``ceil(size / stride)`` voxels per axis."""
        hidden = F.relu(self.bn1(self.conv1(image)))
        hidden = F.relu(self.bn2(self.conv2(hidden)))
        hidden = self._dropped(self.bn3(self.conv3(hidden)))
        return F.relu(hidden + self.downsample(image))

    def _dropped(self, hidden: Tensor) -> Tensor:
        if not (self.training and self.drop > 0):
            return hidden
        shape = (len(hidden), *(1,) * (hidden.ndim - 1))
        kept = (torch.rand(shape, device=hidden.device) >= self.drop).to(hidden.dtype)
        return hidden * (kept / (1 - self.drop))


class ResNet(nn.Module):
    """Features of the four stages, each with twice the channels of the one before.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the image.
        depth: 50, 101 or 152, the published numbers of layers.
        blocks: blocks of each stage, in place of ``depth``.
        width: channels of the stem; the stages have 4, 8, 16, 32 times as many.
        strides: voxels of the image between voxels of each stage, one number per axis, for
            anisotropic images such as ``[[1, 4, 4], [1, 8, 8], [2, 16, 16], [4, 32, 32]]``; the
            default is 4, 8, 16, 32 along every axis.
        norm: ``batch`` as published, ``instance`` or ``group``.
        drop_path: share of samples that skip the last block in training; earlier blocks
            proportionally less (arXiv:1603.09382).
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        *,
        depth: int = 50,
        blocks: Sequence[int] | None = None,
        width: int = 64,
        strides: Sequence[Sequence[int]] | None = None,
        norm: str = "batch",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        counts = tuple(blocks or _counts(depth))
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path={drop_path}: expected a share of 0 or more, below 1.")
        self.ndim = ndim
        self.in_channels = in_channels
        self.strides = nd.check_strides(
            strides or [(4 * 2**level,) * ndim for level in range(len(counts))], ndim
        )
        if len(self.strides) != len(counts):
            raise ValueError(f"strides: expected {len(counts)}, one per stage, found {strides}.")
        self.channels = tuple(width * _EXPANSION * 2**level for level in range(len(counts)))
        self.conv1, self.maxpool = _stem(ndim, in_channels, width, self.strides[0])
        self.bn1 = nd.norm(norm, ndim, width)
        self.stages = tuple(f"layer{level + 1}" for level in range(len(counts)))
        total, done, source, fine = sum(counts), 0, width, self.strides[0]
        for level, count in enumerate(counts):
            step = tuple(b // a for a, b in zip(fine, self.strides[level], strict=True))
            stage = nn.Sequential()
            for index in range(count):
                stage.append(
                    Bottleneck(
                        ndim,
                        source,
                        width * 2**level,
                        stride=step if index == 0 else (1,) * ndim,
                        norm=norm,
                        drop=drop_path * done / max(1, total - 1),
                    )
                )
                source, done = self.channels[level], done + 1
            self.add_module(self.stages[level], stage)
            fine = self.strides[level]
        _initialize(self)

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Features, fine to coarse."""
        hidden = nd.channels_last(self.conv1(image))
        hidden = self.maxpool(F.relu(self.bn1(hidden)))
        features = []
        for name in self.stages:
            hidden = self.get_submodule(name)(hidden)
            features.append(hidden)
        return features


def _counts(depth: int) -> tuple[int, ...]:
    if depth not in _BLOCKS:
        raise ValueError(f"depth={depth}: expected one of {', '.join(map(str, _BLOCKS))}.")
    return _BLOCKS[depth]


def _stem(
    ndim: int, in_channels: int, width: int, stride: Sequence[int]
) -> tuple[nn.Module, nn.Module]:
    """Convolution and pooling that share ``stride``, at most 2 in the pooling."""
    pooled = tuple(2 if n % 4 == 0 else 1 for n in stride)
    convolved = tuple(n // p for n, p in zip(stride, pooled, strict=True))
    return (
        nd.conv(ndim, in_channels, width, kernel=7, stride=convolved, bias=False),
        nd.pool_layer(ndim, kernel=3, stride=pooled),
    )


@torch.no_grad()
def _initialize(network: nn.Module) -> None:
    """Normal with the variance that keeps gradients' size through ReLUs (arXiv:1502.01852)."""
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and name.endswith("weight"):
            nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
