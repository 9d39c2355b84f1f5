"""Heads: from the decoder's features to the channels of the task, at full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd
from unmask.models.activations import Mish


def linear(ndim: int, width: int, channels: int) -> nn.Module:
    """One linear map of every voxel.

    Args:
        ndim: number of spatial axes.
        width: channels of the decoder.
        channels: channels of the task.
    """
    return nd.conv(ndim, width, channels, kernel=1)


def mlp(ndim: int, width: int, channels: int, *, hidden: int | None = None) -> nn.Module:
    """Two linear maps of every voxel with a GELU between them.

    Args:
        ndim: number of spatial axes.
        width: channels of the decoder.
        channels: channels of the task.
        hidden: channels between the maps; default: as many as the decoder has.
    """
    inner = hidden or width
    return nn.Sequential(
        nd.conv(ndim, width, inner, kernel=1), nn.GELU(), nd.conv(ndim, inner, channels, kernel=1)
    )


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
                Mish(),
                nd.norm("batch", ndim, hidden),
                nd.conv(ndim, hidden, size),
            )
            for size in split
        )

    def forward(self, features: Float[Tensor, "b w *space"]) -> Float[Tensor, "b c *space"]:
        """Outputs of all branches, joined in order."""
        return torch.cat([branch(features) for branch in self.branches], dim=1)


class ForegroundHead(nn.Module):
    """A linear map, and a small network for the last channels (Pixel-Embedded Affinity, 2D).

    Args:
        ndim: number of spatial axes.
        width: channels of the decoder.
        channels: channels of the task.
        foreground: channels of the small network.
    """

    def __init__(self, ndim: int, width: int, channels: int, *, foreground: int = 2) -> None:
        super().__init__()
        if not 0 < foreground < channels:
            raise ValueError(
                f"foreground={foreground}: expected 1 to {channels - 1} of the {channels} "
                "channels of the task."
            )
        self.embedding = nd.conv(ndim, width, channels - foreground, kernel=1)
        self.foreground = nn.Sequential(
            nd.conv(ndim, width, width, kernel=1),
            nd.norm("batch", ndim, width),
            nn.ReLU(),
            nd.conv(ndim, width, foreground, kernel=1),
        )

    def forward(self, features: Float[Tensor, "b w *space"]) -> Float[Tensor, "b c *space"]:
        """Outputs of both, joined in order."""
        return torch.cat([self.embedding(features), self.foreground(features)], dim=1)
