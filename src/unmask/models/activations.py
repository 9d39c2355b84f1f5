"""Mish for any number of axes (arXiv:1908.08681), alone and behind a batch norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

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
            return F.mish(image)
        for part in image.movedim(1, -1).flatten().split(_CHUNK):
            part.copy_(_mish(part.float()))
        return image


def normed_mish(norm: nn.Module, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
    """Mish of a batch norm; as in ``Mish``, the input is overwritten in inference on the CPU.

    A batch of a single voxel has no variance and is normalized by the running statistics.
    """
    if norm.training and image.numel() > image.shape[1]:
        return F.mish(norm(image))
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    weight, bias = norm.get_parameter("weight"), norm.get_parameter("bias")
    eps: float = norm.eps  # pyright: ignore[reportAssignmentType]
    if not _is_plain(image):
        return F.mish(F.batch_norm(image, mean, variance, weight, bias, eps=eps))
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


def _is_plain(image: Tensor) -> bool:
    """Whether nothing keeps ``image`` from being overwritten voxel by voxel."""
    if nd.is_exporting():
        return False
    dense = image.movedim(1, -1).is_contiguous()
    return image.device.type == "cpu" and dense and not torch.is_grad_enabled()
