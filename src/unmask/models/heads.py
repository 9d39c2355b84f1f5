"""Heads: from the decoder's features to the channels of the task, at full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd


def linear(ndim: int, width: int, channels: int) -> nn.Module:
    """One linear map of every voxel.

    Args:
        ndim: number of spatial axes.
        width: channels of the decoder.
        channels: channels of the task.
    """
    return nd.conv(ndim, width, channels, kernel=1)


class BranchHead(nn.Module):
    """A small network for each group of channels, as in MEDIAR (arXiv:2212.03465).

    Every branch is convolution, Mish, batch norm, convolution. Quantities of different kinds, such
    as flows and the foreground, share no weights here.

    Args:
        ndim: number of spatial axes.
        width: channels of the decoder.
        channels: channels of the task.
        groups: channels of each branch, in order; default: all but the last one, and the last one,
            which are flows and foreground.
        hidden: channels inside a branch.
    """

    def __init__(
        self,
        ndim: int,
        width: int,
        channels: int,
        *,
        groups: Sequence[int] | None = None,
        hidden: int = 32,
    ) -> None:
        super().__init__()
        split = [n for n in (channels - 1, 1) if n] if groups is None else list(groups)
        if sum(split) != channels or min(split) < 1:
            raise ValueError(
                f"groups={split}: expected sizes of 1 or more that add up to the {channels} "
                "channels of the task."
            )
        self.branches = nn.ModuleList(
            nn.Sequential(
                nd.conv(ndim, width, hidden),
                nn.Mish(),
                nd.norm("batch", ndim, hidden),
                nd.conv(ndim, hidden, size),
            )
            for size in split
        )

    def forward(self, features: Float[Tensor, "b w *space"]) -> Float[Tensor, "b c *space"]:
        """Outputs of all branches, joined in order."""
        return torch.cat([branch(features) for branch in self.branches], dim=1)
