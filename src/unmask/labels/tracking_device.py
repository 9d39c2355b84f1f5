"""`tracking.follow` on a GPU: the same steps and roundings, all points at once.

A file of its own, because on the CPU labels are decoded without PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmask.labels.tracking import REACH, ROUND, STILL


@torch.inference_mode()
def follow_on_device(
    planes: NDArray[np.float32], points: NDArray[np.int64], steps: int, device: torch.device | str
) -> NDArray[np.int64]:
    """Flat index of the voxel where each point is after ``steps`` steps, as `tracking.follow`.

    Products and sums are kernels of their own, in the order of the CPU, so that positions are
    rounded alike and ends are equal. Points that have arrived are removed after every round: only
    then the host waits for the device.

    Args:
        planes: ``(n, *padded)`` displacement of one step, with one voxel of zeros around the image.
        points: flat indices of the first voxels, in the image without that border.
        steps: number of steps.
        device: where the paths are followed.
    """
    field = torch.from_numpy(np.ascontiguousarray(planes)).to(device)
    motion = _Motion(field)
    ends = torch.empty(len(points), dtype=torch.int64, device=field.device)
    slots = torch.arange(len(points), device=field.device)
    places = torch.from_numpy(points).to(field.device)
    whole = torch.stack(torch.unravel_index(places, motion.shape))
    rest = torch.zeros(whole.shape, device=field.device)
    every = gcd(steps, ROUND)
    for _ in range(steps // every):
        if not len(slots):
            break
        before = whole, rest
        for _ in range(every):
            whole, rest = motion.step(whole, rest)
        ends[slots] = motion.locate(whole)
        moved = ((whole - before[0]).float() + (rest - before[1])).abs().amax(0)
        moving = torch.nonzero(moved > float(STILL))[:, 0]
        whole, rest, slots = whole[:, moving], rest[:, moving], slots[moving]
    return ends.cpu().numpy()


@dataclass(frozen=True)
class _Motion:
    """A field on a device; positions are whole voxels ``(n, points)`` and the rest."""

    field: Tensor

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the image without the border."""
        return tuple(length - 2 for length in self.field.shape[1:])

    @cached_property
    def _flat(self) -> Tensor:
        return self.field.reshape(len(self.field), -1)

    @cached_property
    def _tops(self) -> Tensor:
        return torch.tensor(self.shape, device=self.field.device)[:, None] - 1

    def locate(self, whole: Tensor) -> Tensor:
        """Flat indices in an image with ``REACH`` voxels around."""
        return _flat_index(whole + REACH, [length + 2 * REACH for length in self.shape])

    def step(self, whole: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Positions after one step; they stay inside the image."""
        at = rest + self._displacement(whole, rest)
        carry = at.floor()
        voxel, left = whole + carry.long(), at - carry
        outside = (voxel < 0) | (voxel >= self._tops)
        return voxel.clamp(min=0).minimum(self._tops), left.masked_fill(outside, 0.0)

    def _displacement(self, whole: Tensor, rest: Tensor) -> Tensor:
        """Linear interpolation; corners in the order of the CPU, the last axis varies first."""
        padded, ndim = self.field.shape[1:], len(whole)
        base = _flat_index(whole + 1, padded)
        other = 1 - rest
        move = torch.zeros_like(rest)
        for corner in range(1 << ndim):
            sides = [corner >> (ndim - 1 - axis) & 1 for axis in range(ndim)]
            weight = torch.ones_like(rest[0])
            for axis in reversed(range(ndim)):
                weight = weight * (rest if sides[axis] else other)[axis]
            step = sum(side * prod(padded[axis + 1 :]) for axis, side in enumerate(sides))
            move = move + weight * self._flat[:, base + step]
        return move


def _flat_index(places: Tensor, shape: tuple[int, ...] | list[int]) -> Tensor:
    index = places[0]
    for along, length in zip(places[1:], shape[1:], strict=True):
        index = index * length + along
    return index
