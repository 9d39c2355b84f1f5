"""Choose images that are typical of their kind and of different kinds.

After Hacohen et al. 2022, "Active Learning on a Budget: Opposite Strategies Suit High and Low
Budgets" (arXiv:2202.02794): with few labels, the most typical image of each cluster beats uncertain
or random ones. Clusters are those of k-means; images that are labeled already cover theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kmeans import kmeans

# Neighbors whose mean distance tells how typical an image is, and principal axes that are kept.
_NEIGHBORS, _AXES = 20, 12


@dataclass(frozen=True)
class Choice:
    """A chosen image.

    Attributes:
        index: of the image.
        like: images of its cluster, itself included.
    """

    index: int
    like: int


def choose(
    descriptors: NDArray[np.float32],
    count: int,
    *,
    labeled: Sequence[int] = (),
    doubts: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> list[Choice]:
    """Choose ``count`` images, the largest cluster's first.

    Args:
        descriptors: ``(n, d)`` one row per image.
        count: images to choose, at most those that are not labeled.
        labeled: indices of images that have labels; they are not chosen.
        doubts: ``(n,)`` uncertainty of a model about each image, 0 or more, as weights of images
            and clusters (Prabhu et al. 2021, arXiv:2010.08666); None: equal weights.
        seed: of k-means.

    Returns:
        Fewer than ``count`` choices only if fewer images are left.
    """
    done = set(labeled)
    count = min(count, len(descriptors) - len(done))
    if count < 1:
        return []
    points = _reduce(descriptors)
    clusters = _cluster(points, count + len(done), seed)
    covered = {int(clusters[index]) for index in done}
    sizes = np.bincount(clusters, doubts)
    chosen: list[Choice] = []
    taken = set(done)
    # Clusters without a labeled image first, the largest of them first; then the others again.
    while len(chosen) < count:
        open_clusters = [
            each for each in np.argsort(-sizes, kind="stable").tolist()
            if any(i not in taken for i in np.flatnonzero(clusters == each).tolist())
        ]  # fmt: skip
        fresh = [each for each in open_clusters if each not in covered] or open_clusters
        for each in fresh[: count - len(chosen)]:
            members = np.flatnonzero(clusters == each)
            left = np.array([i for i in members.tolist() if i not in taken])
            worth = _typicality(points, members, left)
            # Typicality differs by orders of magnitude, so its rank is weighted by uncertainty.
            best = int(left[_weigh(worth, None if doubts is None else doubts[left]).argmax()])
            chosen.append(Choice(best, len(members)))
            taken.add(best)
            covered.add(each)
    return chosen


def _reduce(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Principal components of the standardized descriptors, each with its own variance."""
    middle = np.median(descriptors, axis=0)
    spread = np.percentile(descriptors, 90, axis=0) - np.percentile(descriptors, 10, axis=0)
    # Columns that hardly vary are noise; one far value must not rule.
    scaled = np.clip((descriptors - middle) / np.where(spread > 1e-6, spread, np.inf), -3, 3)
    scaled -= scaled.mean(axis=0)
    _, strengths, axes = np.linalg.svd(scaled, full_matrices=False)
    kept = axes[: min(_AXES, int((strengths > 1e-6).sum()) or 1)]
    return (scaled @ kept.T).astype(np.float32)


def _cluster(points: NDArray[np.float32], count: int, seed: int) -> NDArray[np.int64]:
    distinct = len(np.unique(points, axis=0))
    return kmeans(points, min(count, distinct), seed=seed, restarts=8).labels.astype(np.int64)


def _weigh(worth: NDArray[np.float64], doubts: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if doubts is None:
        return worth
    ranks = np.argsort(np.argsort(worth)) + 1.0
    return ranks / len(ranks) * (doubts + 1e-9)


def _typicality(
    points: NDArray[np.float32], members: NDArray[np.int64], left: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Inverse of the mean distance to the nearest neighbors within the cluster."""
    inside = points[members].astype(np.float64)
    distances = np.linalg.norm(points[left].astype(np.float64)[:, None] - inside[None], axis=-1)
    nearest = np.sort(distances, axis=1)[:, 1 : _NEIGHBORS + 1]
    mean = nearest.mean(axis=1) if nearest.shape[1] else np.zeros(len(left))
    return 1 / (mean + 1e-6)
