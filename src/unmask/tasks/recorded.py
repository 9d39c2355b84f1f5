"""Scores of pairs of voxels without a kernel and without a branch by the size of the image.

A network that is recorded for a file, such as ONNX, has symbols for sizes and no compiled kernels.
The results are those of `unmask.tasks.offsets.with_border` and `unmask.tasks.cosine.affinities`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unmask.labels.edges import length

Offset = tuple[int, ...]
_EPS = 1e-12


def repeat_border(
    values: Float[Tensor, "b *space"], offset: Offset
) -> tuple[Float[Tensor, "b *space"], Bool[Tensor, " 1"]]:
    """Values whose voxels without a neighbor repeat the nearest that has one.

    Returns:
        The values, unchanged where no voxel has a neighbor, and whether any voxel has one.
    """
    steps = [(axis, step) for axis, step in enumerate(offset, 1) if step]
    indices = {axis: _index(values, axis) for axis, _ in steps}
    fits = torch.stack([indices[axis][-1:] >= abs(step) for axis, step in steps]).all(dim=0)
    for axis, step in steps:
        index = indices[axis]
        near = torch.minimum(index.clamp(min=max(0, -step)), index[-1:] - max(0, step))
        values = values.index_select(axis, torch.where(fits, near, index))
    return values, fits


def record_cosines(
    embedding: Float[Tensor, "b c *space"], offsets: Sequence[Offset], *, zero_far: bool
) -> Float[Tensor, "b k *space"]:
    """Cosines between every voxel and its neighbors, as ``affinities`` gives them."""
    norm = embedding.square().sum(dim=1, keepdim=True).sqrt()
    unit = torch.where(norm > _EPS, embedding / norm.clamp(min=_EPS), torch.zeros_like(embedding))
    found: list[Tensor] = []
    for offset in offsets:
        neighbors, known = _shift(unit, offset)
        cosine = (unit * neighbors).sum(dim=1)
        if zero_far and length(offset) > 1:
            found.append(cosine * known)
        else:
            repeated, fits = repeat_border(cosine, offset)
            found.append(repeated * fits.to(cosine.dtype))
    return torch.stack(found, dim=1)


def _shift(
    unit: Float[Tensor, "b c *space"], offset: Offset
) -> tuple[Float[Tensor, "b c *space"], Float[Tensor, "*space"]]:
    """The neighbor of each voxel, any voxel if there is none, and 1 where there is one, else 0."""
    axes = len(offset)
    known = torch.ones((1,) * axes, dtype=unit.dtype, device=unit.device)
    for axis, step in enumerate(offset):
        if not step:
            continue
        index = _index(unit, axis + 2)
        moved = index + step
        within = ((moved >= 0) & (moved <= index[-1:])).to(unit.dtype)
        known = known * within.reshape((1,) * axis + (-1,) + (1,) * (axes - axis - 1))
        unit = unit.index_select(axis + 2, torch.minimum(moved.clamp(min=0), index[-1:]))
    return unit, known


def _index(values: Tensor, axis: int) -> Tensor:
    return torch.arange(values.shape[axis], device=values.device)
