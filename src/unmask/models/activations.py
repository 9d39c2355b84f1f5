"""Mish for any number of axes (arXiv:1908.08681), alone and behind a batch norm.

On the CPU it is computed in parts that stay in the cache: torch's own kernel, which takes a
logarithm and a hyperbolic tangent per voxel, takes two to three times as long.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unmask.models import nd

# Numbers that stay in the second-level cache between the passes over them.
_CHUNK = 1 << 17
# Above, Mish is the identity in float32, and the square of the exponential stays finite.
_LINEAR = 20.0


class Mish(nn.Module):
    """``x * tanh(log(1 + exp(x)))``.

    In inference on the CPU the input is overwritten, so give what nobody else needs, such as the
    output of a convolution: torch's own kernel takes three times as long and new memory.
    """

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """The activation of every number, in the precision of the input."""
        if not _is_plain(image):
            return activate_mish(image)
        for part in image.movedim(1, -1).flatten().split(_CHUNK):
            part.copy_(_mish(part.float()))
        return image


def activate_mish(image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
    """Mish of an image that others need too, with a gradient."""
    learns = torch.is_grad_enabled() and image.requires_grad and not torch.compiler.is_compiling()
    if image.device.type != "cpu" or not learns or not _is_dense(image):
        return F.mish(image)
    return _PartwiseMish.apply(image)  # pyright: ignore[reportReturnType]


class _PartwiseMish(torch.autograd.Function):
    """Mish part by part; its backward pass computes the exponential again from the input."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(image)
        result = torch.empty_like(image)
        for part, out in zip(_parts(image), _parts(result), strict=True):
            out.copy_(_mish(_wide(part)))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (image,) = ctx.saved_tensors
        result = torch.empty_like(image)
        if gradient.stride() != image.stride():
            gradient = result.copy_(gradient)
        parts = zip(_parts(image), _parts(gradient), _parts(result), strict=True)
        for part, change, out in parts:
            out.copy_(_mish_slope(_wide(part)).mul_(change))
        return result


def normed_mish(norm: nn.Module, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
    """Mish of a batch norm; as in ``Mish``, the input is overwritten in inference on the CPU.

    A batch of a single voxel has no variance and is normalized by the running statistics.
    """
    if norm.training and image.numel() > image.shape[1]:
        return activate_mish(norm(image))
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    weight, bias = norm.get_parameter("weight"), norm.get_parameter("bias")
    eps: float = norm.eps  # pyright: ignore[reportAssignmentType]
    if not _is_plain(image):
        return activate_mish(F.batch_norm(image, mean, variance, weight, bias, eps=eps))
    scale = weight * (variance + eps).rsqrt()
    shift = bias - mean * scale
    rows = image.movedim(1, -1).flatten(0, -2)
    for part in rows.split(max(1, _CHUNK // len(scale))):
        part.copy_(_mish(torch.addcmul(shift, part.float(), scale)))
    return image


def _mish(values: Tensor) -> Tensor:
    """``tanh(log(1 + e)) = n / (n + 1)`` with ``n = e + e^2 / 2``."""
    e = values.clamp(max=_LINEAR).exp_()
    n = torch.addcmul(e, e, e, value=0.5)
    return n.div(n + 1).mul_(values)


def _mish_slope(values: Tensor) -> Tensor:
    """Derivative of ``x n / (n + 1)``: ``(n + x n' / (n + 1)) / (n + 1)`` with ``n' = e + e^2``."""
    e = values.clamp(max=_LINEAR).exp_()
    n = torch.addcmul(e, e, e, value=0.5)
    below = n + 1
    return e.addcmul_(e, e).mul_(values).div_(below).add_(n).div_(below)


def _wide(part: Tensor) -> Tensor:
    """Numbers of at least 32 bits."""
    return part.float() if part.dtype.itemsize < 4 else part


def _parts(image: Tensor) -> tuple[Tensor, ...]:
    """Views of a dense image in the order of its memory."""
    rows = image if image.is_contiguous() else image.movedim(1, -1)
    return rows.view(-1).split(_CHUNK)


def _is_dense(image: Tensor) -> bool:
    """Whether the image is contiguous with its channels first or last."""
    return image.is_contiguous() or (image.ndim > 1 and image.movedim(1, -1).is_contiguous())


def _is_plain(image: Tensor) -> bool:
    """Whether nothing keeps ``image`` from being overwritten voxel by voxel."""
    if nd.is_exporting():
        return False
    dense = image.movedim(1, -1).is_contiguous()
    return image.device.type == "cpu" and dense and not torch.is_grad_enabled()
