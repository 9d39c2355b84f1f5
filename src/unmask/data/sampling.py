"""Which image comes next: a pure function of (seed, position)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from unmask.errors import RecipeError
from unmask.space.random import generator


@dataclass(frozen=True)
class Modalities:
    """Images of rare kinds come more often: kinds are found by clustering, not by names.

    The modality discovery of MEDIAR (Lee et al. 2022, arXiv:2212.03465), for any images.

    Attributes:
        clusters: number of kinds to tell apart.
        floor: images of a kind in an epoch at least; those of smaller kinds are repeated.
        features: what images are compared by: "backbone", the features of the network that the run
            starts with, or "statistics" of brightness, color and texture, which need none.
    """

    clusters: int = 40
    floor: int = 50
    features: Literal["backbone", "statistics"] = "backbone"

    def __post_init__(self) -> None:
        known = self.features in ("backbone", "statistics")
        if self.clusters < 1 or self.floor < 0 or not known:
            raise RecipeError(
                "data.sampling modalities: expected clusters of 1 or more, floor of 0 or more, "
                f"features backbone or statistics, found clusters={self.clusters}, "
                f"floor={self.floor}, features={self.features!r}. Correct the recipe."
            )


SAMPLINGS = {"modalities": Modalities}


def oversample(clusters: Sequence[int] | np.ndarray, floor: int) -> list[int]:
    """Numbers of the images of an epoch, so that every cluster has ``floor`` of them or more.

    Images of a smaller cluster are repeated in turn up to exactly ``floor``; larger clusters stay.

    Args:
        clusters: cluster of each image.
        floor: images of a cluster at least.

    Examples:
        >>> oversample([0, 0, 1], 2)
        [0, 1, 2, 2]
    """
    groups = [np.flatnonzero(np.asarray(clusters) == value) for value in np.unique(clusters)]
    return [int(i) for group in groups for i in np.resize(group, max(floor, len(group)))]


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
