"""Affinities as cosines between embeddings, and the loss that shapes them.

Huang et al. 2022, Pixel-Embedded Affinity (doi:10.1609/aaai.v36i1.19984). The loss computes its
gradient with its value, offset by offset, so that no copy of the embedding exists but its gradient.
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

from unmask.labels.edges import inside, length, shift_slices
from unmask.labels.pair_products import Vectors, cosines, rows_of, spread
from unmask.tasks.offsets import Offset, pairs_of, with_border

_EPS = 1e-12
# Offsets taken together: their neighbors are read once, their cosines are kept.
_AT_ONCE = 4
# Bounds of the share of joined pairs: the rarer kind weighs at most 99 or 19 times as much.
_SHARES = (0.05, 0.99)


@dataclass(frozen=True)
class Rule:
    """How the errors of the pairs of one offset are weighed and summed.

    Attributes:
        apart: voxels of id 0 belong to nothing; otherwise they are one more object.
        border: how voxels without a neighbor count in the share of joined pairs: not (None), as
            apart (0), as joined (1), or as joined where they have an id (``"object"``).
        scale: None takes the mean over all known pairs; a number divides the sum by the voxels of
            the batch and multiplies it by that number.
    """

    apart: bool = True
    border: float | str | None = None
    scale: float | None = None


@torch.no_grad()
def affinities(
    embedding: Float[Tensor, "b c *space"], offsets: Sequence[Offset], *, zero_far: bool = False
) -> Float[Tensor, "b k *space"]:
    """Cosines between every voxel and its neighbors; see ``with_border`` for those without.

    No gradient flows through them; ``pair_loss`` has its own.

    Args:
        embedding: any length.
        offsets: those outside the image give 0.
        zero_far: voxels without a neighbor at a far offset get 0 instead.
    """
    one = _measure(embedding)
    space = embedding.shape[2:]
    result = _cosines(one, one, offsets)
    for channel, offset in enumerate(offsets):
        far = zero_far and length(offset) > 1
        if inside(offset, space) and not far:
            here, _ = shift_slices(space, offset)
            within = result[:, channel][(..., *here)]
            result[:, channel] = with_border(within, offset, space)
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
        other: embedding of the neighbors, without gradient; default: ``embedding`` itself.
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
        one = _measure(embedding)
        two = one if other is None else _measure(other)
        gradient = torch.zeros_like(one.vectors) if ctx.needs_input_grad[0] else None
        total = embedding.new_zeros(())
        for first in range(0, len(offsets), _AT_ONCE):
            some = offsets[first : first + _AT_ONCE]
            slopes = _cosines(one, two, some)
            for channel, offset in enumerate(some):
                if inside(offset, embedding.shape[2:]):
                    total += _to_slopes(slopes[:, channel], values, weight, offset, rule)
            if gradient is not None:
                _add(gradient, slopes, one, two, some)
        if gradient is not None:
            ctx.save_for_backward(_through_length(gradient, one))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = ctx.saved_tensors
        # Asking for the value would make a GPU wait; elsewhere it mostly saves a copy.
        if upstream.device.type != "cpu" or upstream.item() != 1:
            gradient = gradient * upstream
        return gradient, None, None, None, None, None


@dataclass(frozen=True)
class _Measured:
    """Vectors ``(b, c, *space)`` and one over their length ``(b, *space)``, both contiguous."""

    vectors: Tensor
    inverse: Tensor


def _measure(embedding: Tensor) -> _Measured:
    """The vectors with what brings them to unit length; 0 stays 0."""
    vectors = embedding.contiguous()
    inverse = torch.zeros_like(vectors[:, 0])
    # Channel by channel, because a sum over a slow axis takes ten times as long.
    for channel in range(vectors.shape[1]):
        inverse.addcmul_(vectors[:, channel], vectors[:, channel])
    inverse.sqrt_()
    none = inverse <= _EPS
    return _Measured(vectors, inverse.reciprocal_().masked_fill_(none, 0))


def _cosines(one: _Measured, two: _Measured, offsets: Sequence[Offset]) -> Tensor:
    """Cosines ``(b, k, *space)`` at the first voxel of each pair; 0 if there is no pair."""
    space = one.inverse.shape[1:]
    result = one.inverse.new_zeros((len(one.inverse), len(offsets), *space))
    if _has_kernels(result):
        rows = rows_of(space, offsets)
        for a, b, into in zip(_flat(one), _flat(two), result, strict=True):
            cosines(a, b, rows, into=into.flatten(1).numpy())
        return result
    for channel, offset in enumerate(offsets):
        here, there = ((slice(None), *part) for part in shift_slices(space, offset))
        total = result[:, channel][here]
        for a, b in zip(one.vectors.unbind(1), two.vectors.unbind(1), strict=True):
            total.addcmul_(a[here], b[there])
        total.mul_(one.inverse[here]).mul_(two.inverse[there])
    return result


def _to_slopes(
    cosine: Tensor, values: Tensor, weight: Tensor, offset: Offset, rule: Rule
) -> Tensor:
    """Loss of one offset; its cosines ``(b, *space)`` become the derivative of the loss by them."""
    here, _ = shift_slices(cosine.shape[1:], offset)
    within = cosine[(slice(None), *here)]
    loss, slope = _term(within, values, weight, offset, rule)
    within.copy_(slope)
    return loss


def _add(
    gradient: Tensor,
    slopes: Tensor,
    one: _Measured,
    two: _Measured,
    offsets: Sequence[Offset],
) -> None:
    """Add to the gradient by unit vectors what the pairs contribute.

    Where both vectors of a pair are of the same embedding, both get their part.
    """
    space = one.inverse.shape[1:]
    if _has_kernels(gradient):
        rows = rows_of(space, offsets)
        for a, b, slope, into in zip(_flat(one), _flat(two), slopes, gradient, strict=True):
            target = into.flatten(1).numpy()
            spread(slope.flatten(1).numpy(), a, b, rows, into=target, back=one is two)
        return
    for channel, offset in enumerate(offsets):
        here, there = ((slice(None), *part) for part in shift_slices(space, offset))
        slope = slopes[:, channel][here]
        share = (slope * two.inverse[there])[:, None]
        gradient[:, :, *here[1:]].addcmul_(two.vectors[:, :, *there[1:]], share)
        if one is two:
            share = (slope * one.inverse[here])[:, None]
            gradient[:, :, *there[1:]].addcmul_(one.vectors[:, :, *here[1:]], share)


def _has_kernels(tensor: Tensor) -> bool:
    """Whether the compiled kernels can reach the tensor; elsewhere torch does the same."""
    return tensor.device.type == "cpu"


def _flat(measured: _Measured) -> list[Vectors]:
    """The samples as the kernels take them, without a copy."""
    return [
        Vectors(values.detach().flatten(1).numpy(), inverse.detach().flatten().numpy())
        for values, inverse in zip(measured.vectors, measured.inverse, strict=True)
    ]


def _through_length(gradient: Tensor, one: _Measured) -> Tensor:
    """Gradient by the vectors, in place, from that by unit vectors."""
    along = torch.zeros_like(one.inverse)
    for channel in range(gradient.shape[1]):
        along.addcmul_(one.vectors[:, channel], gradient[:, channel])
    along.mul_(one.inverse.square())
    gradient.addcmul_(one.vectors, along[:, None], value=-1)
    return gradient.mul_(one.inverse[:, None])


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
        joined = joined + _join_at_border(values, offset, rule.border, outside)
    share = (joined / count.clamp(min=1)).clamp(*_SHARES)
    mixed = (joined > 0) & (joined < count)
    rare = torch.where(share > 0.5, share / (1 - share), (1 - share) / share)
    shape = (-1, *(1,) * len(axes))
    of_same = torch.where(mixed & (share <= 0.5), rare, 1).view(shape)
    of_other = torch.where(mixed & (share > 0.5), rare, 1).view(shape)
    weighting = torch.where(same, of_same, of_other).mul_(known)
    if rule.scale is None:
        weighting /= known.sum().clamp(min=1)
    else:
        weighting *= rule.scale / (len(cosine) * voxels)
    error = cosine - same.to(cosine.dtype)
    slope = weighting.mul_(error)
    return torch.dot(slope.flatten(), error.flatten()), slope.mul_(2)


def _join_at_border(
    values: Tensor, offset: Offset, border: float | str, outside: int
) -> Tensor | float:
    """Voxels without a neighbor that count as joined, for each sample."""
    if not isinstance(border, str):
        return border * outside
    here, _ = shift_slices(values.shape[2:], offset)
    objects = values > 0
    axes = tuple(range(1, values.ndim))
    return objects.sum(axes) - objects[(..., *here)].sum(axes)
