"""Which tokens a masked method keeps: random sets of indices, drawn on the device from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unmask.space.random import device_seed


@dataclass(frozen=True)
class Mask:
    """Kept and dropped tokens of every sample; together all tokens, each once.

    Attributes:
        keep: ``(B, K)`` indices of tokens that stay visible, in random order.
        drop: ``(B, N - K)`` indices of the others, in random order.
    """

    keep: Int[Tensor, "b k"]
    drop: Int[Tensor, "b m"]


def split(noise: Float[Tensor, "b n"], ratio: float) -> Mask:
    """Keep the ``int(N * (1 - ratio))`` tokens of smallest noise; at least one on either side.

    Raises:
        ValueError: fewer than two tokens.
    """
    n = noise.shape[1]
    kept = min(max(1, int(n * (1 - ratio))), n - 1)
    if kept < 1:
        raise ValueError(f"a mask needs at least 2 tokens, found {n}. Use a larger crop.")
    order = noise.argsort(dim=1, stable=True)
    return Mask(order[:, :kept], order[:, kept:])


def draw(
    batch: int,
    grid: Sequence[int],
    *,
    ratio: float,
    seed: int,
    block: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
) -> Mask:
    """A mask for every sample.

    Args:
        batch: number of samples.
        grid: tokens along every axis.
        ratio: share of tokens that are dropped.
        seed: the mask is a pure function of it (and of the kind of device).
        block: tokens along every axis that are dropped together; 0 stands for the whole axis, so
            ``(0, 1, 1)`` gives tubes along the first axis. Default: every token on its own. The
            share is exact: one block of a sample may be cut.
        device: where the indices live.
    """
    chance = torch.Generator(device=device)
    chance.manual_seed(device_seed(seed, "mask"))
    return split(_noise(batch, grid, block or (1,) * len(grid), chance), ratio)


def _noise(
    batch: int, grid: Sequence[int], block: Sequence[int], chance: torch.Generator
) -> Tensor:
    """Noise in [0, 1) for every token, nearly equal inside a block."""
    sizes = [size or length for size, length in zip(block, grid, strict=True)]
    coarse = [-(-length // size) for length, size in zip(grid, sizes, strict=True)]
    noise = torch.rand(batch, *coarse, generator=chance, device=chance.device)
    if coarse == list(grid):
        return noise.flatten(1)
    for axis, (size, length) in enumerate(zip(sizes, grid, strict=True), start=1):
        noise = noise.repeat_interleave(size, dim=axis).narrow(axis, 0, length)
    # A second number orders the tokens of a block: two sorts in place of a sum in float64, which
    # MPS does not have. A token's place in the order is exact in float32.
    rank = torch.rand(batch, *grid, generator=chance, device=chance.device).flatten(1)
    within = rank.argsort(dim=1, stable=True)
    order = within.gather(1, noise.flatten(1).gather(1, within).argsort(dim=1, stable=True))
    return order.argsort(dim=1).float()
