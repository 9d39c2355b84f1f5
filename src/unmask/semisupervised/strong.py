"""Strong intensity augmentation of the crops that a student sees, for any number of axes.

It moves no voxel, so the teacher's prediction for the unchanged crop holds per voxel.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unmask.models import nd

# Ranges of a wide augmentation, on images of deviation 1.
_CONTRAST, _BRIGHTNESS, _NOISE = (0.6, 1.5), 0.3, 0.3
_BOXES, _BOX = 3, (0.1, 0.3)
_KERNEL = (0.25, 0.5, 0.25)


def strong_view(crops: Float[Tensor, "b c *space"], seed: int) -> Float[Tensor, "b c *space"]:
    """Crops with other contrast and brightness, noise, blur, and boxes without content.

    Args:
        crops: normalized.
        seed: of all that is drawn; equal seeds draw the same on every device.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    count, ndim = len(crops), crops.ndim - 2
    column = (count, crops.shape[1], *(1,) * ndim)
    axes = tuple(range(2, crops.ndim))
    mean, deviation = crops.mean(axes, keepdim=True), crops.std(axes, keepdim=True)

    def uniform(low: float, high: float, shape: tuple[int, ...]) -> Tensor:
        return (low + (high - low) * torch.rand(shape, generator=generator)).to(crops.device)

    gain = uniform(*_CONTRAST, column)
    shift = uniform(-_BRIGHTNESS, _BRIGHTNESS, column) * deviation
    changed = (crops - mean) * gain + mean + shift
    blurred = _blur(changed)
    chosen = uniform(0, 1, (count, *(1,) * (ndim + 1))) < 0.5
    changed = torch.where(chosen, blurred, changed)
    noise = torch.randn(crops.shape, generator=generator).to(crops.device)
    strength = uniform(0, _NOISE, (count, *(1,) * (ndim + 1)))
    changed = changed + noise * strength * deviation
    return torch.where(_boxes(crops.shape, generator).to(crops.device), mean, changed)


def _blur(crops: Tensor) -> Tensor:
    """Binomial means along every axis."""
    ndim, channels = crops.ndim - 2, crops.shape[1]
    flat = crops.flatten(0, 1)[:, None]
    for axis in range(ndim):
        shape = [3 if other == axis else 1 for other in range(ndim)]
        weights = torch.tensor(_KERNEL, device=crops.device).reshape(1, 1, *shape)
        flat = nd.convolve(_edge(flat, axis + 2), weights).narrow(axis + 2, 1, flat.shape[axis + 2])
    return flat.reshape(len(crops), channels, *crops.shape[2:])


def _edge(values: Tensor, axis: int) -> Tensor:
    """One voxel more on both sides of an axis, repeated from the border."""
    length = values.shape[axis]
    index = torch.arange(-1, length + 1, device=values.device).clamp(0, length - 1)
    return values.index_select(axis, index)


def _boxes(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Random boxes ``(b, 1, *space)`` whose content is removed, so that it has to be inferred."""
    inside = torch.zeros(shape[0], _BOXES, *shape[2:], dtype=torch.bool)
    for sample in range(shape[0]):
        for number in range(_BOXES):
            index = []
            for length in shape[2:]:
                share = _BOX[0] + (_BOX[1] - _BOX[0]) * float(torch.rand((), generator=generator))
                start = float(torch.rand((), generator=generator)) * (1 - share)
                index.append(slice(int(start * length), int((start + share) * length)))
            inside[(sample, number, *index)] = True
    return inside.any(dim=1, keepdim=True)
