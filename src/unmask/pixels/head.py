"""Heads that are fitted to labeled pixels at once: a random forest as a module."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.pixels.bank import gaussian
from unmask.pixels.forest import Forest, forest_shares

# Shares of 0 would be logits of minus infinity.
_LEAST = 1e-4


class ForestHead(nn.Module):
    """A random forest per voxel; its logits are the logarithms of the classes' shares.

    Args:
        ndim: number of spatial axes.
        width: channels of the decoder.
        channels: channels of the task, one per class.
        trees: number of trees.
        nodes: nodes per tree; fitting sets it.
        smooth: standard deviation in voxels of a Gaussian that the shares are averaged with.
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    shares: Tensor

    def __init__(
        self,
        ndim: int,
        width: int,
        channels: int,
        *,
        trees: int = 64,
        nodes: int = 1,
        smooth: float = 1.0,
    ) -> None:
        super().__init__()
        self.ndim, self.width, self.smooth = ndim, width, smooth
        self.register_buffer("feature", torch.full((trees, nodes), -1, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(trees, nodes))
        self.register_buffer("left", torch.zeros(trees, nodes, dtype=torch.int32))
        self.register_buffer("shares", torch.full((trees, nodes, channels), 1 / channels))

    def fitted(self) -> Forest:
        """The trees as arrays."""
        names = ("feature", "threshold", "left", "shares")
        return Forest(*(getattr(self, name).cpu().numpy() for name in names))

    def forward(self, features: Float[Tensor, "b w *space"]) -> Float[Tensor, "b c *space"]:
        """Logits of every voxel."""
        size = features.shape[2:]
        flat = features.detach().float().movedim(1, -1).reshape(-1, features.shape[1])
        shares = torch.from_numpy(_read(self.fitted(), flat.cpu().numpy()))
        shares = shares.to(features.device).reshape(features.shape[0], *size, -1).movedim(-1, 1)
        if self.smooth:
            shares = gaussian(shares, (self.smooth,) * self.ndim)
        return shares.clamp(min=_LEAST).log()


def _read(forest: Forest, features: np.ndarray) -> np.ndarray:
    """Shares of all pixels; the kernel releases the interpreter lock."""
    pieces: Sequence[np.ndarray] = np.array_split(features, torch.get_num_threads())
    with ThreadPoolExecutor(len(pieces)) as pool:
        return np.concatenate(list(pool.map(lambda piece: forest_shares(forest, piece), pieces)))
