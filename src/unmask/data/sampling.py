"""Which image comes next: a pure function of (seed, position)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from unmask.space.random import generator


class Order:
    """Endless order over ``count`` images.

    Without weights every image comes once an epoch, in an order drawn for that epoch. With weights
    every position is drawn on its own.

    Args:
        count: number of images.
        seed: the run's seed.
        weights: non-negative share of each image; None: all equal.
    """

    def __init__(self, count: int, *, seed: int, weights: Sequence[float] | None = None) -> None:
        if count < 1:
            raise ValueError("Order needs at least one image.")
        self.count = count
        self.seed = seed
        self._shares = None if weights is None else np.cumsum(weights) / np.sum(weights)
        self._epoch = lru_cache(maxsize=4)(self._draw_epoch)

    def __getitem__(self, position: int) -> int:
        """Index of the image at a position of the endless order."""
        if self._shares is None:
            epoch, place = divmod(position, self.count)
            return int(self._epoch(epoch)[place])
        draw = generator(self.seed, "image", position).random()
        return int(np.searchsorted(self._shares, draw, side="right").clip(max=self.count - 1))

    def _draw_epoch(self, epoch: int) -> np.ndarray:
        return generator(self.seed, "epoch", epoch).permutation(self.count)
