"""Fixed sine-cosine position tables for any number of axes (arXiv:1706.03762, arXiv:2111.06377)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from unmask.models import nd

_LONGEST = 10000.0


def sincos(grid: Sequence[int], dim: int) -> Float[Tensor, "1 m d"]:
    """Table of a class token (zeros) and of all places of ``grid`` in C order.

    As in the published masked autoencoder the fastest axis fills the first channels. Every axis has
    an equal, even share of them, half sines and half cosines; channels left over stay 0.
    """
    half = dim // (2 * len(grid))
    frequency = _LONGEST ** (-torch.arange(half, dtype=torch.float64) / half)
    places = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    parts = []
    for place in reversed(places):
        angle = place.flatten()[:, None] * frequency
        parts += [angle.sin(), angle.cos()]
    joined = torch.cat(parts, dim=1)
    table = torch.zeros(1 + len(joined), dim, dtype=torch.float64)
    table[1:, : joined.shape[1]] = joined
    return table.float()[None]


def to_grid(
    table: Float[Tensor, "1 m d"], grid: Sequence[int], new_grid: Sequence[int]
) -> Float[Tensor, "1 k d"]:
    """The table for another grid: cubic for two axes, else linear; the class row is kept."""
    if not nd.is_exporting() and tuple(grid) == tuple(new_grid):
        return table
    places = table[:, 1:].transpose(1, 2).unflatten(2, tuple(grid))
    moved = nd.interpolate_smooth(places, new_grid).flatten(2).transpose(1, 2)
    return torch.cat([table[:, :1], moved], dim=1)
