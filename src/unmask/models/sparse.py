"""Any convolutional network on the visible part of its input, by an explicit mask.

``masked(network, visible)`` is the same network, with the same weights, whose every convolution,
pooling and normalization leaves hidden voxels at zero and takes its statistics from visible ones:
sparse convolution emulated on dense memory, without gathering (SparK, Tian et al. 2023,
arXiv:2301.03580). Nothing of the network is changed or shared but its weights and running
statistics, so calls with different masks do not know of each other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unmask.errors import DataError, RecipeError
from unmask.models import nd
from unmask.models.efficientnet_lite import SameConv
from unmask.models.process_sums import sum_processes

_BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nd.InstanceNorm, nn.GroupNorm)
_LAYERS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    SameConv,
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
)


class Visible:
    """Which patches of a batch can be seen, at the resolution of any feature.

    Args:
        grid: ``(B, 1, *grid)``, 1 where a patch is visible, else 0.
    """

    def __init__(self, grid: Float[Tensor, "b 1 *grid"]) -> None:
        self.grid = grid
        self._known: dict[tuple[int, ...], Tensor] = {tuple(grid.shape[2:]): grid}

    @classmethod
    def of(cls, keep: Int[Tensor, "b k"], grid: Sequence[int]) -> Visible:
        """From the indices of the visible patches of every sample, in C order."""
        flat = torch.zeros(len(keep), prod(grid), device=keep.device)
        return cls(flat.scatter_(1, keep, 1.0).reshape(len(keep), 1, *grid))

    @property
    def share(self) -> Tensor:
        """Visible share of the whole batch, a scalar."""
        return self.grid.mean()

    def at(self, size: Sequence[int]) -> Float[Tensor, "b 1 *space"]:
        """1 and 0 for voxels of a feature of ``size``.

        Raises:
            DataError: a size that is not a multiple of the grid.
        """
        size = tuple(size)
        if size not in self._known:
            self._known[size] = self._enlarged(size)
        return self._known[size]

    def samples(self) -> list[Visible]:
        """One for each sample, ``B`` = 1."""
        each = [Visible(grid) for grid in self.grid.split(1)]
        for size, known in self._known.items():
            for one, part in zip(each, known.split(1), strict=True):
                one._known[size] = part
        return each

    def _enlarged(self, size: tuple[int, ...]) -> Tensor:
        coarse = self.grid.shape[2:]
        if any(n % g for n, g in zip(size, coarse, strict=True)):
            raise DataError(
                f"expected features of whole patches, a multiple of {tuple(coarse)}, found {size}. "
                "Use crops that are multiples of the coarsest stride of the backbone."
            )
        mask = self.grid
        for axis, (n, g) in enumerate(zip(size, coarse, strict=True), start=2):
            mask = mask.repeat_interleave(n // g, dim=axis)
        return mask


def mask_network(module: nn.Module, visible: Visible) -> nn.Module:
    """The same network on visible voxels; its input must be zero where it is hidden."""
    if isinstance(module, _NORMS):
        return _MaskedNorm(module, visible)
    if isinstance(module, _LAYERS):
        return _MaskedLayer(module, visible)
    children: Mapping[str, nn.Module | None] = module._modules
    if not children:
        return module
    twin = copy.copy(module)
    twin.__dict__["_modules"] = {
        name: None if child is None else mask_network(child, visible)
        for name, child in children.items()
    }
    return twin


def check_layers(network: nn.Module, *, needed_by: str) -> None:
    """Refuse a network with layers of which no masked form is known.

    Raises:
        RecipeError: the first such layer.
    """
    pending = [("", network)]
    while pending:
        name, module = pending.pop()
        if isinstance(module, _NORMS + _LAYERS):
            continue
        children = list(module.named_children())
        if not children and any(True for _ in module.parameters()):
            raise RecipeError(
                f"{needed_by}: expected a backbone of convolutions, poolings and normalizations "
                f"(batch, instance, group), found {type(module).__name__} at {name or 'its top'}. "
                "Choose another model.backbone, such as resunet or resnet."
            )
        pending += [(f"{name}.{key}".lstrip("."), child) for key, child in children]


class _MaskedLayer(nn.Module):
    """A convolution or pooling whose output is zero where hidden."""

    def __init__(self, layer: nn.Module, visible: Visible) -> None:
        super().__init__()
        self.layer, self.visible = layer, visible

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.layer(image)
        # In place: neither convolutions nor poolings need their output for the gradient
        return found.mul_(self.visible.at(found.shape[2:]))


class _MaskedNorm(nn.Module):
    """A normalization whose statistics are those of visible voxels."""

    def __init__(self, layer: nn.Module, visible: Visible) -> None:
        super().__init__()
        self.layer, self.visible = layer, visible

    def forward(self, image: Tensor) -> Tensor:
        layer, visible = self.layer, self.visible
        mask = visible.at(image.shape[2:])
        if isinstance(layer, nn.GroupNorm):
            return _group_norm(image, mask, layer)
        if isinstance(layer, nd.InstanceNorm):
            parts = zip(image.split(1), visible.samples(), strict=True)
            each = [
                _normed(part, one.at(image.shape[2:]), one.share, layer)[0] for part, one in parts
            ]
            return torch.cat(each)
        if not isinstance(layer, _BatchNorm):
            raise TypeError(f"expected a batch norm, found {type(layer).__name__}.")
        if layer.training or layer.running_mean is None:
            normed, mean, variance = _normed(image, mask, visible.share, layer)
            count = visible.grid.sum() * (mask.numel() / visible.grid.numel())
            _track(layer, mean, variance, sum_processes(count) if _shares(layer) else count)
            return normed
        return layer(image) * mask.to(image.dtype)


def _normed(
    image: Tensor, mask: Tensor, share: Tensor, layer: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalized voxels, and the mean and (biased) variance of the visible ones."""
    weight, bias = layer.weight, layer.bias
    if weight is None:
        weight, bias = image.new_ones(image.shape[1]), image.new_zeros(image.shape[1])
    return _VisibleNorm.apply(image, weight, bias, mask, share, (layer.eps, _shares(layer)))  # pyright: ignore[reportReturnType]


def _shares(layer: Any) -> bool:
    """Whether a batch norm takes the statistics of all processes (``models.shared_norm``)."""
    return getattr(layer, "shares", False)


class _VisibleNorm(torch.autograd.Function):
    """Batch normalization over visible voxels, by the library's kernels for given moments."""

    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        weight: Tensor,
        bias: Tensor,
        mask: Tensor,
        share: Tensor,
        options: tuple[float, bool],
    ) -> tuple[Tensor, Tensor, Tensor]:
        eps, shared = options
        mean, variance = _moments(image, mask, share, shared=shared)
        normed = torch.native_batch_norm(
            image, weight, bias, mean, variance, training=False, momentum=0.0, eps=eps
        )[0]
        normed.mul_(mask)
        ctx.save_for_backward(image, weight, mean, variance, mask, share)
        ctx.eps, ctx.shared = eps, shared
        ctx.mark_non_differentiable(mean, variance)
        return normed, mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        image, weight, mean, variance, mask, share = ctx.saved_tensors
        gradient = gradient * mask.to(gradient.dtype)
        found, slope, offset = torch.ops.aten.native_batch_norm_backward(
            *(gradient, image, weight, mean, variance, None, None),
            train=False,
            eps=ctx.eps,
            output_mask=[True, True, True],
        )
        # What the statistics owe to each visible voxel: a constant, and a part along the image
        count = share * (image.numel() / image.shape[1])
        total_slope, total_offset = slope, offset
        if ctx.shared:
            # The voxels of this process take part in the statistics of every other one.
            count, total_slope, total_offset = map(sum_processes, (count, slope, offset))
        scale = (variance + ctx.eps).rsqrt()
        factor = -scale * weight / count
        along = factor * total_slope * scale
        constant = factor * total_offset - along * mean
        column = (1, -1, *(1,) * (image.ndim - 2))
        found.addcmul_(image, along.view(column).to(found.dtype))
        found.addcmul_(mask.to(found.dtype), constant.view(column).to(found.dtype))
        return found, slope, offset, None, None, None


def _moments(
    image: Tensor, mask: Tensor, share: Tensor, *, shared: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of every channel over the visible voxels; hidden ones are zero.

    ``batch_norm_update_stats`` would be faster, but on the CPU it adds one voxel after the other,
    and loses three of seven digits in large images.
    """
    exact = image.to(torch.promote_types(image.dtype, torch.float32))
    axes = (0, *range(2, image.ndim))
    count = share * (image.numel() / image.shape[1])
    total = exact.sum(axes)
    if shared:
        count, total = sum_processes(count), sum_processes(total)
    mean = total / count
    column = mean.view(1, -1, *(1,) * (image.ndim - 2))
    # Sample by sample, so that the squares stay in the cache
    squares = [
        (one - column).mul_(shown).square_().sum(axes)
        for one, shown in zip(exact.split(1), mask.split(1), strict=True)
    ]
    spread = torch.stack(squares).sum(0)
    return mean, (sum_processes(spread) if shared else spread) / count


def _group_norm(image: Tensor, mask: Tensor, layer: nn.GroupNorm) -> Tensor:
    b, c = image.shape[:2]
    exact = image.to(torch.promote_types(image.dtype, torch.float32))
    groups = exact.reshape(b, layer.num_groups, -1)
    shown = mask.expand_as(image).reshape(groups.shape)
    count = shown.sum(dim=2, keepdim=True).clamp(min=1)
    centered = (groups - groups.sum(dim=2, keepdim=True) / count) * shown
    variance = centered.square().sum(dim=2, keepdim=True) / count
    normed = (centered * (variance + layer.eps).rsqrt()).reshape(image.shape)
    if layer.affine:
        column = (1, c, *(1,) * (image.ndim - 2))
        normed = normed * layer.weight.view(column) + mask * layer.bias.view(column)
    return normed.to(image.dtype)


@torch.no_grad()
def _track(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    """Move the running statistics, with the unbiased variance as dense layers do."""
    if layer.running_mean is None or layer.running_var is None or not layer.training:
        return
    layer.num_batches_tracked.add_(1)  # pyright: ignore[reportOptionalMemberAccess]
    share = layer.momentum
    if share is None:
        share = 1.0 / float(layer.num_batches_tracked)  # pyright: ignore[reportArgumentType]
    layer.running_mean.lerp_(mean, share)
    layer.running_var.lerp_(variance * count / (count - 1).clamp(min=1), share)
