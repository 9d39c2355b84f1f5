"""Layers for any number of spatial axes: the only file that knows Conv2d from Conv3d.

On the CPU, convolutions of channels-last tensors are about twice as fast as of channel-first ones:
``channels_last`` is applied once behind a network's first layer and then kept by all layers here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import pi, prod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_CONV_TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_CONVOLVED = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_BATCH_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MAX_POOL_LAYER = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
_CUBIC = {2: "bicubic"}
# Voxels from which sums of weights pay
_WORTH_SUMMING = 2048
_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def is_exporting() -> bool:
    """Whether a network is being recorded for a file that runs without unmask.

    Sizes are symbols then, so a layer must not choose its way by them, and kernels of other
    libraries cannot be recorded.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def per_axis(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """One number per axis: an int is repeated, a sequence must have ``ndim`` entries.

    Raises:
        ValueError: a sequence of another length.
    """
    if isinstance(value, int):
        return (value,) * ndim
    if len(value) != ndim:
        raise ValueError(f"expected one number or {ndim} (one per axis), found {tuple(value)}.")
    return tuple(value)


def check_strides(strides: Sequence[Sequence[int]], ndim: int) -> tuple[tuple[int, ...], ...]:
    """Strides of features, fine to coarse, as tuples; each a multiple of the one before.

    Raises:
        ValueError: strides of another length, or one that is not a multiple.
    """
    clean = tuple(per_axis(tuple(stride), ndim) for stride in strides)
    for fine, coarse in pairwise(clean):
        if any(b % a for a, b in zip(fine, coarse, strict=True)):
            raise ValueError(
                f"strides: expected every entry to be a multiple of the one before, found {fine} "
                f"before {coarse}."
            )
    return clean


def conv(
    ndim: int,
    in_channels: int,
    out_channels: int,
    *,
    kernel: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
    bias: bool = True,
    groups: int = 1,
) -> Conv:
    """Convolution to ``ceil(size / stride)`` voxels, kernels odd."""
    kernel = per_axis(kernel, ndim)
    return _CONV[ndim](
        in_channels,
        out_channels,
        kernel,
        stride=per_axis(stride, ndim),
        padding=tuple((k - 1) // 2 for k in kernel),
        bias=bias,
        groups=groups,
    )


def patch_conv(
    ndim: int, in_channels: int, out_channels: int, patch: Sequence[int], *, bias: bool = True
) -> Conv:
    """Convolution whose windows are the patches of a grid (kernel = stride)."""
    return _CONV[ndim](in_channels, out_channels, tuple(patch), stride=tuple(patch), bias=bias)


def conv_transpose(
    ndim: int, in_channels: int, out_channels: int, factor: Sequence[int]
) -> nn.Module:
    """Transposed convolution that enlarges every axis ``factor`` times (kernel = stride)."""
    return _CONV_TRANSPOSE[ndim](in_channels, out_channels, tuple(factor), stride=tuple(factor))


def conv_enlarge(
    ndim: int, in_channels: int, out_channels: int, factor: Sequence[int]
) -> nn.Module:
    """Transposed convolution as above whose windows overlap, about twice the factor wide."""
    kernel = tuple(2 * f - f % 2 for f in factor)
    return _CONV_TRANSPOSE[ndim](
        in_channels,
        out_channels,
        kernel,
        stride=tuple(factor),
        padding=tuple((k - f) // 2 for k, f in zip(kernel, factor, strict=True)),
    )


def pool_layer(ndim: int, *, kernel: int, stride: Sequence[int]) -> nn.Module:
    """Largest value of overlapping windows, ``ceil(size / stride)`` voxels per axis, kernel odd."""
    return _MAX_POOL_LAYER[ndim](kernel, stride=tuple(stride), padding=(kernel - 1) // 2)


def norm(kind: str, ndim: int, channels: int) -> nn.Module:
    """Normalization layer: ``instance``, ``group`` (at most 8 groups) or ``batch``.

    Raises:
        ValueError: another kind.
    """
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "group":
        groups = max(g for g in range(1, 9) if channels % g == 0)
        return nn.GroupNorm(groups, channels)
    if kind == "batch":
        return _BATCH_NORM[ndim](channels)
    raise ValueError(f"norm={kind!r}: expected instance, group or batch.")


def conv_norm(
    kind: str,
    ndim: int,
    in_channels: int,
    out_channels: int,
    *,
    kernel: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
) -> tuple[Conv, nn.Module]:
    """Convolution and the normalization behind it, whose shift makes a bias redundant."""
    layer = conv(ndim, in_channels, out_channels, kernel=kernel, stride=stride, bias=False)
    return layer, norm(kind, ndim, out_channels)


class InstanceNorm(nn.Module):
    """Instance normalization with scale and shift (arXiv:1607.08022).

    A single voxel normalizes to the shift instead of being an error.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """Every channel of every sample to mean 0 and variance 1, then scale and shift."""
        if is_exporting():
            # Strides are not known, and a loop over samples would fix their number.
            return torch.instance_norm(image, *self._arguments, cudnn_enabled=False)
        if image.device.type == "cpu" and image.shape[1] > 1 and image.stride(1) == 1:
            return self._channels_last(image)
        return torch.instance_norm(image, *self._arguments, cudnn_enabled=image.is_cuda)

    @property
    def _arguments(self) -> tuple[Tensor, Tensor, None, None, bool, float, float]:
        """Weight, bias, running mean and variance, use of the input's, momentum, eps."""
        return self.weight, self.bias, None, None, True, 0.0, self.eps

    def _channels_last(self, image: Tensor) -> Tensor:
        # Torch's own layer leaves channels-last on the CPU and takes three times as long; the
        # batch norm of a single sample is its instance norm and has a channels-last kernel.
        b, c, *space = image.shape
        flat = image.movedim(1, -1).reshape(b, prod(space), 1, c).permute(0, 3, 1, 2)
        normed = [
            torch.batch_norm(one, *self._arguments, cudnn_enabled=False) for one in flat.split(1)
        ]
        return torch.cat(normed).permute(0, 2, 3, 1).reshape(b, *space, c).movedim(-1, 1)


def repeat(image: Float[Tensor, "b c *space"], factor: Sequence[int]) -> Tensor:
    """Every voxel ``factor`` times along every axis."""
    whole = [n * f for n, f in zip(image.shape[2:], factor, strict=True)]
    return F.interpolate(image, whole, mode="nearest")


def convolve(
    image: Float[Tensor, "b c *space"], weight: Float[Tensor, "d c *window"]
) -> Float[Tensor, "b d *space"]:
    """Convolution by given weights, without offset; windows odd and centered."""
    padding = tuple((n - 1) // 2 for n in weight.shape[2:])
    return _CONVOLVED[len(padding)](image, weight, padding=padding)


def convolve_repeated(
    image: Float[Tensor, "b c *space"],
    weight: Float[Tensor, "d c *window"],
    factor: Sequence[int],
) -> Float[Tensor, "b d *fine"]:
    """``convolve(repeat(image, factor), weight)`` with fewer products.

    Equal voxels meet the sum of their weights once: one transposed convolution, which for a factor
    of 2 in 2D has 16 products for each voxel of the image where the plain way has 36. On small maps
    the sums would take longer than the products that they save.
    """
    axes = len(factor)
    if is_exporting() or image.device.type != "cpu":
        return convolve(repeat(image, factor), weight)
    if image.numel() // image.shape[1] < _WORTH_SUMMING:
        return convolve(repeat(image, factor), weight)
    summed = weight.flip(tuple(range(2, 2 + axes))).transpose(0, 1)
    for axis, length in enumerate(factor):
        # F.pad counts axes from the last one
        before = [0] * (2 * (axes - axis - 1))
        shifted = [F.pad(summed, (*before, r, length - 1 - r)) for r in range(length)]
        summed = torch.stack(shifted).sum(dim=0)
    padding = tuple((n - 1) // 2 for n in weight.shape[2:])
    return _TRANSPOSED[axes](image, summed, stride=tuple(factor), padding=padding)


def pad_to_multiple(image: Float[Tensor, "b c *space"], multiple: Sequence[int]) -> Tensor:
    """Repeat the border behind every axis up to the next multiple."""
    extra = [-n % m for n, m in zip(image.shape[2:], multiple, strict=True)]
    if not is_exporting() and not any(extra):
        return image
    widths = [width for after in reversed(extra) for width in (0, after)]
    return F.pad(image, widths, mode="replicate")


def max_pool(image: Float[Tensor, "b c *space"], window: Sequence[int]) -> Tensor:
    """Largest value of every window of a grid, ``ceil(size / window)`` voxels per axis."""
    if is_exporting():
        # Rounding up is a case distinction by the size; repeated borders change no maximum.
        return _MAX_POOL[len(window)](pad_to_multiple(image, window), tuple(window))
    return _MAX_POOL[len(window)](image, tuple(window), ceil_mode=True)


def interpolate(image: Float[Tensor, "b c *space"], size: Sequence[int]) -> Tensor:
    """Linear interpolation along every axis to ``size`` voxels (corners of voxels aligned)."""
    if not is_exporting() and tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, tuple(size), mode=_LINEAR[len(size)], align_corners=False)


def interpolate_smooth(image: Float[Tensor, "b c *space"], size: Sequence[int]) -> Tensor:
    """Cubic interpolation where torch has it (two axes), else linear."""
    if image.ndim - 2 in _CUBIC:
        mode = _CUBIC[image.ndim - 2]
        return F.interpolate(image, tuple(size), mode=mode, align_corners=False)
    return interpolate(image, size)


def upsample(
    image: Float[Tensor, "b c *space"], factor: Sequence[int], size: Sequence[int]
) -> Tensor:
    """Linear interpolation by whole factors, cut to ``size``.

    Unlike ``interpolate`` to an odd size, a voxel keeps its place whatever the size of the image.
    """
    if max(factor) == 1:
        return crop(image, size)
    whole = [n * f for n, f in zip(image.shape[2:], factor, strict=True)]
    return crop(interpolate(image, whole), size)


def upsample_corners(
    image: Float[Tensor, "b c *space"], factor: Sequence[int], size: Sequence[int]
) -> Tensor:
    """Linear interpolation by whole factors that keeps the outermost voxels, cut to ``size``."""
    whole = [n * f for n, f in zip(image.shape[2:], factor, strict=True)]
    mode = _LINEAR[len(whole)]
    return crop(F.interpolate(image, whole, mode=mode, align_corners=True), size)


def crop(image: Float[Tensor, "b c *space"], size: Sequence[int]) -> Tensor:
    """The first ``size`` voxels along every axis."""
    return image[(..., *(slice(n) for n in size))]


def memory_format(ndim: int) -> torch.memory_format:
    """The channels-last format for ``ndim`` axes; a single axis has none."""
    return _CHANNELS_LAST.get(ndim, torch.contiguous_format)


def channels_last(image: Float[Tensor, "b c *space"]) -> Tensor:
    """The same values with channels next to each other in memory."""
    if is_exporting():
        return image
    return image.contiguous(memory_format=memory_format(image.ndim - 2))


def image_to_tokens(image: Float[Tensor, "b c *space"]) -> Tensor:
    """Voxels in C order as ``(B, N, C)``."""
    # Not flatten, which a converter of traced graphs refuses where it lost the number of axes.
    return image.reshape(image.shape[0], image.shape[1], -1).transpose(1, 2)


def tokens_to_image(tokens: Float[Tensor, "b n c"], grid: Sequence[int]) -> Tensor:
    """Tokens in C order as ``(B, C, *grid)``."""
    channels_first = tokens.transpose(1, 2)
    if is_exporting():
        return channels_first.reshape(tokens.shape[0], tokens.shape[2], *grid)
    return channels_first.unflatten(2, tuple(grid))


def symmetric_eigenvalues(entries: Mapping[tuple[int, int], Tensor], size: int) -> list[Tensor]:
    """Eigenvalues of symmetric matrices, one per voxel, largest first.

    Closed forms (Smith 1961, doi:10.1145/355578.366316) are a hundred times as fast on the CPU as
    ``torch.linalg.eigvalsh`` of small matrices.

    Args:
        entries: the upper triangle, by row and column.
        size: rows of a matrix, 1 to 3.
    """
    mean = torch.stack([entries[i, i] for i in range(size)]).mean(dim=0)
    if size == 1:
        return [mean]
    rest = {key: value - mean if key[0] == key[1] else value for key, value in entries.items()}
    squares = sum((1 if i == j else 2) * value**2 for (i, j), value in rest.items())
    spread = (torch.as_tensor(squares) / (size * (size - 1))).sqrt()
    if size == 2:
        return [mean + spread, mean - spread]
    determinant = (
        rest[0, 0] * (rest[1, 1] * rest[2, 2] - rest[1, 2] ** 2)
        - rest[0, 1] * (rest[0, 1] * rest[2, 2] - rest[1, 2] * rest[0, 2])
        + rest[0, 2] * (rest[0, 1] * rest[1, 2] - rest[1, 1] * rest[0, 2])
    )
    angle = (determinant / (2 * spread.clamp(min=1e-12) ** 3)).clamp(-1, 1).acos() / 3
    first = mean + 2 * spread * angle.cos()
    last = mean + 2 * spread * (angle + 2 * pi / 3).cos()
    return [first, 3 * mean - first - last, last]
