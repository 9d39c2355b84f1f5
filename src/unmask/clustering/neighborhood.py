"""The neighborhood of a voxel, as a second half of its features: means of the features near it.

A token tells a membrane from what lies next to it, but organelles differ in what a region of them
looks like. Clusters of both halves may differ in either.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from jaxtyping import Float32
from torch import Tensor

# Standard deviations on each side that a Gaussian is summed over.
_CUT = 3.0
# Means vary less than what they are means of. Twice the weight makes both halves count.
_WEIGHT = 2.0


def reach(sigma: float) -> int:
    """Positions on each side that a mean depends on."""
    return ceil(_CUT * sigma)


def blur(
    features: Float32[Tensor, "*space d"], sigmas: Sequence[float]
) -> Float32[Tensor, "*space d"]:
    """Gaussian means along every axis; beyond the border nothing counts.

    Args:
        features: one vector per position.
        sigmas: standard deviation along every axis, in positions; 0: none.
    """
    means = features
    for axis, sigma in enumerate(sigmas):
        length = means.shape[axis]
        side = min(reach(sigma), length - 1)
        if side == 0:
            continue
        steps = torch.arange(-side, side + 1, device=means.device, dtype=torch.float32)
        weights = torch.exp(-0.5 * (steps / sigma) ** 2)
        total, counted = torch.zeros_like(means), means.new_zeros(length)
        for step, weight in zip(steps.int().tolist(), weights.tolist(), strict=True):
            here, there = max(0, -step), max(0, step)
            size = length - abs(step)
            part = total.narrow(axis, here, size)
            part.add_(means.narrow(axis, there, size), alpha=weight)
            counted.narrow(0, here, size).add_(weight)
        means = total / counted.reshape([-1 if i == axis else 1 for i in range(means.ndim)])
    return means


def append_means(
    features: Float32[Tensor, "*space d"], means: Float32[Tensor, "*space d"]
) -> Float32[Tensor, "*space e"]:
    """Features and the means around them, one vector of twice the length."""
    return torch.cat([features, _WEIGHT * means], dim=-1)
