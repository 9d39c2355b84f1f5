"""EfficientNet-Lite for n axes (arXiv:1905.11946, without squeeze-and-excitation, with ReLU6).

Parameter names are those of the PyTorch ports of EfficientNet, and so are the numbers: windows of
stride 2 are padded at the far side first, as TensorFlow does ("same"), and batch norms add 0.001.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unmask.models import nd
from unmask.models.blocks import ConvBlock

# Factors on channels and on blocks per stage.
SIZES = {
    "lite0": (1.0, 1.0),
    "lite1": (1.0, 1.1),
    "lite2": (1.1, 1.2),
    "lite3": (1.2, 1.4),
    "lite4": (1.4, 1.8),
}
# Of each stage: blocks, channels, kernel, stride, factor of the channels between its convolutions.
_STAGES = (
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)
_STEM, _EPSILON = 32, 1e-3


class SameConv(nn.Module):
    """Convolution to ``ceil(size / stride)`` voxels; an odd padding has its larger part at the end.

    Its parameter has the name of the layer, as published.
    """

    def __init__(self, conv: nd.Conv) -> None:
        super().__init__()
        self.weight = conv.weight
        self._stride = tuple(conv.stride)
        self._groups = conv.groups

    def forward(self, image: Float[Tensor, "b c *in"]) -> Float[Tensor, "b d *out"]:
        """The convolution."""
        kernel = self.weight.shape[2:]
        pads: list[int] = []
        sizes = zip(image.shape[2:], kernel, self._stride, strict=True)
        for size, width, stride in reversed(list(sizes)):
            # Windows reach the end of the image; no kernel here is narrower than its stride.
            total = -size % stride + width - stride
            pads += [total // 2, total - total // 2]
        convolve = {2: F.conv2d, 3: F.conv3d}[image.ndim - 2]
        return convolve(F.pad(image, pads), self.weight, stride=self._stride, groups=self._groups)


class MobileBlock(nn.Module):
    """Widen, convolve each channel on its own, narrow (arXiv:1801.04381).

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: of the convolution per channel.
        stride: of that convolution.
        expand: factor of the channels inside.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int,
        stride: int,
        expand: int,
    ) -> None:
        super().__init__()
        inside = in_channels * expand
        self._adds = stride == 1 and in_channels == out_channels
        self._expands = expand > 1
        if self._expands:
            self._expand_conv = _same(ndim, in_channels, inside, kernel=1)
            self._bn0 = _norm(ndim, inside)
        self._depthwise_conv = _same(
            ndim, inside, inside, kernel=kernel, stride=stride, groups=inside
        )
        self._bn1 = _norm(ndim, inside)
        self._project_conv = _same(ndim, inside, out_channels, kernel=1)
        self._bn2 = _norm(ndim, out_channels)

    def forward(self, image: Float[Tensor, "b c *in"]) -> Float[Tensor, "b d *out"]:
        """Features of ``ceil(size / stride)`` voxels per axis."""
        hidden = image
        if self._expands:
            hidden = F.relu6(self._bn0(self._expand_conv(hidden)))
        hidden = F.relu6(self._bn1(self._depthwise_conv(hidden)))
        hidden = self._bn2(self._project_conv(hidden))
        return hidden + image if self._adds else hidden


class EfficientNetLite(nn.Module):
    """Features at strides 2, 4, 8, 16 and 32, and at that of the image with ``stem``.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the image.
        size: ``lite0`` to ``lite4``.
        blocks: blocks of each stage, in place of those of ``size``; a list of fewer than seven
            stages ends at a finer resolution.
        stem: channels of a feature at the size of the image, which the published network lacks and
            small objects need; 0: none.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        *,
        size: str = "lite0",
        blocks: Sequence[int] | None = None,
        stem: int = 0,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size={size!r}: expected one of {', '.join(SIZES)}.")
        if stem < 0:
            raise ValueError(f"stem={stem}: expected a number of channels, or 0 for none.")
        chosen = stages(size, blocks)
        self.ndim = ndim
        self.in_channels = in_channels
        self._conv_stem = _same(ndim, in_channels, _STEM, kernel=3, stride=2)
        self._bn0 = _norm(ndim, _STEM)
        self._blocks = nn.ModuleList()
        channels: list[int] = []
        self._ends: list[int] = []
        source = _STEM
        for (*_, kernel, stride, expand), (count, width) in zip(_STAGES, chosen, strict=False):
            if stride > 1 or not channels:
                channels.append(width)
                self._ends.append(0)
            for index in range(count):
                step = stride if index == 0 else 1
                self._blocks.append(
                    MobileBlock(ndim, source, width, kernel=kernel, stride=step, expand=expand)
                )
                source = width
            # Of the stages of one resolution, the last one counts.
            channels[-1], self._ends[-1] = width, len(self._blocks)
        strides = [2 ** (level + 1) for level in range(len(channels))]
        self.fine = None
        if stem:
            self.fine = nn.Sequential(
                ConvBlock(ndim, in_channels, stem), ConvBlock(ndim, stem, stem)
            )
            channels, strides = [stem, *channels], [1, *strides]
        self.channels: Sequence[int] = tuple(channels)
        self.strides: Sequence[tuple[int, ...]] = tuple((stride,) * ndim for stride in strides)
        _initialize(self)

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Features, fine to coarse."""
        features: list[Tensor] = [] if self.fine is None else [self.fine(image)]
        hidden = F.relu6(self._bn0(self._conv_stem(nd.channels_last(image))))
        for index, block in enumerate(self._blocks, 1):
            hidden = block(hidden)
            if index in self._ends:
                features.append(hidden)
        return features


def stages(size: str, blocks: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """Blocks and channels of each stage; the published first and last ones keep their blocks.

    Raises:
        ValueError: more stages than the network has, or a number below 1.
    """
    wider, deeper = SIZES[size]
    last = len(_STAGES) - 1
    usual = [
        count if stage in (0, last) else ceil(count * deeper)
        for stage, (count, *_) in enumerate(_STAGES)
    ]
    counts = list(blocks or usual)
    if len(counts) > len(_STAGES) or min(counts) < 1:
        raise ValueError(f"blocks={counts}: expected at most {len(_STAGES)} numbers above 0.")
    widths = [_rounded(width * wider) for _, width, *_ in _STAGES]
    return list(zip(counts, widths, strict=False))


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is at least nine tenths, as published."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def _same(
    ndim: int, source: int, target: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> SameConv:
    plain = nd.conv(ndim, source, target, kernel=kernel, stride=stride, bias=False, groups=groups)
    return SameConv(plain)


def _norm(ndim: int, channels: int) -> nn.Module:
    layer = nd.norm("batch", ndim, channels)
    if isinstance(layer, _BatchNorm):
        layer.eps, layer.momentum = _EPSILON, 0.01
    return layer


@torch.no_grad()
def _initialize(network: EfficientNetLite) -> None:
    """Normal with the variance that keeps activations' size (arXiv:1502.01852)."""
    for module in network.modules():
        if isinstance(module, SameConv):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
