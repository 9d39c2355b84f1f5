"""Affinities as cosines between embeddings, and the loss that shapes them.

Huang et al. 2022, Pixel-Embedded Affinity (doi:10.1609/aaai.v36i1.19984). The loss computes its
gradient with its value, offset by offset, so that no more than two copies of the embedding exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from unmask.labels.edges import inside, length, shifted
from unmask.tasks.offsets import Offset, pairs_of, with_border

_EPS = 1e-12
# Bounds of the share of joined pairs: the rarer kind weighs at most 99 or 19 times as much.
_SHARES = (0.05, 0.99)


@dataclass(frozen=True)
class Rule:
    """How the errors of the pairs of one offset are weighed and summed.

    Attributes:
        apart: voxels of id 0 belong to nothing; otherwise they are one more object.
        border: how voxels without a neighbour count in the share of joined pairs: not (None), as
            apart (0), as joined (1), or as joined where they have an id (``"object"``).
        scale: None takes the mean over all known pairs; a number divides the sum by the voxels of
            the batch and multiplies it by that number.
    """

    apart: bool = True
    border: float | str | None = None
    scale: float | None = None


def affinities(
    embedding: Float[Tensor, "b c *space"], offsets: Sequence[Offset], *, zero_far: bool = False
) -> Float[Tensor, "b k *space"]:
    """Cosines between every voxel and its neighbours; see ``with_border`` for those without.

    Args:
        embedding: any length.
        offsets: those outside the image give 0.
        zero_far: voxels without a neighbour at a far offset get 0 instead.
    """
    unit, _ = _normalised(embedding)
    space = unit.shape[2:]
    result = unit.new_zeros((len(unit), len(offsets), *space))
    for channel, offset in enumerate(offsets):
        if inside(offset, space):
            places = shifted(space, offset)
            cosine = _dot(unit, unit, places)
            if zero_far and length(offset) > 1:
                result[:, channel][(..., *places[0])] = cosine
            else:
                result[:, channel] = with_border(cosine, offset, space)
    return result


def pair_loss(
    embedding: Float[Tensor, "b c *space"],
    values: Float[Tensor, "b 1 *space"],
    weight: Float[Tensor, "b 1 *space"],
    *,
    offsets: Sequence[Offset],
    rule: Rule,
    other: Float[Tensor, "b c *space"] | None = None,
) -> Float[Tensor, ""]:
    """Squared errors of the affinities, both kinds of pairs balanced, summed over the offsets.

    Args:
        embedding: any length; the gradient flows here.
        values: ids.
        weight: 0 where the id is unknown.
        offsets: those outside the crop are left out.
        rule: weights and sums.
        other: embedding of the neighbours, without gradient; default: ``embedding`` itself.
    """
    return _PairLoss.apply(embedding, other, values, weight, offsets, rule)  # pyright: ignore[reportReturnType]


class _PairLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        embedding: Tensor,
        other: Tensor | None,
        values: Tensor,
        weight: Tensor,
        offsets: Sequence[Offset],
        rule: Rule,
    ) -> Tensor:
        unit, inverse = _normalised(embedding)
        partner = unit if other is None else _normalised(other)[0]
        gradient = torch.zeros_like(unit) if ctx.needs_input_grad[0] else None
        total = unit.new_zeros(())
        for offset in offsets:
            if not inside(offset, unit.shape[2:]):
                continue
            places = shifted(unit.shape[2:], offset)
            loss, slope = _term(_dot(unit, partner, places), values, weight, offset, rule)
            total += loss
            if gradient is not None:
                here, there = ((..., *part) for part in places)
                gradient[here].addcmul_(partner[there], slope[:, None])
                if other is None:
                    gradient[there].addcmul_(unit[here], slope[:, None])
        if gradient is not None:
            along = torch.zeros_like(inverse)
            for channel in range(unit.shape[1]):
                along[:, 0].addcmul_(unit[:, channel], gradient[:, channel])
            gradient.addcmul_(unit, along, value=-1).mul_(inverse)
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None, None, None, None


def _normalised(embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors, contiguous, and the factor ``(b, 1, *space)``; 0 stays 0."""
    norm = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
    inverse = torch.where(norm > _EPS, 1 / norm.clamp(min=_EPS), 0)
    return torch.mul(embedding, inverse).contiguous(), inverse.contiguous()


def _dot(a: Tensor, b: Tensor, places: tuple[tuple[slice, ...], tuple[slice, ...]]) -> Tensor:
    """Products of neighbours summed over channels, without a copy of the channels."""
    here, there = ((slice(None), *part) for part in places)
    total = a[:, 0][here] * b[:, 0][there]
    for channel in range(1, a.shape[1]):
        total.addcmul_(a[:, channel][here], b[:, channel][there])
    return total


def _term(
    cosine: Tensor, values: Tensor, weight: Tensor, offset: Offset, rule: Rule
) -> tuple[Tensor, Tensor]:
    """Loss of one offset and its derivative by the cosines."""
    same, known = pairs_of(values, weight, offset, apart=rule.apart)
    known = known.to(cosine.dtype)
    axes = tuple(range(1, cosine.ndim))
    voxels = prod(values.shape[2:])
    count, joined = known.sum(axes), (known * same).sum(axes)
    if rule.border is not None:
        outside = voxels - cosine[0].numel()
        count = count + outside
        joined = joined + _joined_at_border(values, offset, rule.border, outside)
    share = (joined / count.clamp(min=1)).clamp(*_SHARES)
    mixed = (joined > 0) & (joined < count)
    rare = torch.where(share > 0.5, share / (1 - share), (1 - share) / share)
    shape = (-1, *(1,) * len(axes))
    of_same = torch.where(mixed & (share <= 0.5), rare, 1).view(shape)
    of_other = torch.where(mixed & (share > 0.5), rare, 1).view(shape)
    weighting = known * torch.where(same, of_same, of_other)
    if rule.scale is None:
        weighting /= known.sum().clamp(min=1)
    else:
        weighting *= rule.scale / (len(cosine) * voxels)
    error = cosine.sub_(same.to(cosine.dtype))
    slope = weighting.mul_(error)
    return (slope * error).sum(), slope.mul_(2)


def _joined_at_border(
    values: Tensor, offset: Offset, border: float | str, outside: int
) -> Tensor | float:
    """Voxels without a neighbour that count as joined, for each sample."""
    if not isinstance(border, str):
        return border * outside
    here, _ = shifted(values.shape[2:], offset)
    objects = values > 0
    axes = tuple(range(1, values.ndim))
    return objects.sum(axes) - objects[(..., *here)].sum(axes)
