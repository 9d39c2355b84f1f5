"""Choose images that are typical of their kind and of different kinds.

After Hacohen et al. 2022, "Active Learning on a Budget: Opposite Strategies Suit High and Low
Budgets" (arXiv:2202.02794): with few labels, the most typical image of each cluster beats uncertain
or random ones. Clusters are those of k-means; images that are labeled already cover theirs.

With a model, every kind is covered first; then each cluster gets labels in proportion to its
images (divisor method of Webster and Sainte-Lague), because k-means gives rare but varied kinds
more clusters than images. The uncertainty of the model decides within a cluster only: across
clusters it would again prefer rare kinds, and few labels of a rare kind help few images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kmeans import kmeans

# Neighbors whose mean distance tells how typical an image is, and principal axes that are kept.
_NEIGHBORS, _AXES = 20, 12
# With a model: clusters that count as kinds, each of which is covered first; images per cluster of
# the others, on average; and images of a cluster that count as typical even if few are in it.
_KINDS, _MEMBERS, _TYPICAL = 4, 5, 3


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
        doubts: ``(n,)`` uncertainty of a model about each image: of the typical half of a cluster,
            the image with the highest one is chosen, and clusters get labels in proportion to
            their images; None: the most typical images, and clusters without labels first.
        seed: of k-means.

    Returns:
        Fewer than ``count`` choices only if fewer images are left.
    """
    taken = set(labeled)
    count = min(count, len(descriptors) - len(taken))
    if count < 1:
        return []
    points = _reduce(descriptors)
    if doubts is None:
        return _cover(points, count, taken, seed)
    return _apportion(points, count, taken, doubts, seed)


def _cover(points: NDArray[np.float32], count: int, done: set[int], seed: int) -> list[Choice]:
    """The most typical image of each cluster, as many clusters as labeled and asked images."""
    clusters = _cluster(points, count + len(done), seed)
    covered = {int(clusters[index]) for index in done}
    sizes = np.bincount(clusters)
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
            best = int(_rank(points, clusters == each, taken)[0])
            chosen.append(Choice(best, int(sizes[each])))
            taken.add(best)
            covered.add(each)
    return chosen


def _apportion(
    points: NDArray[np.float32],
    count: int,
    done: set[int],
    doubts: NDArray[np.float64],
    seed: int,
) -> list[Choice]:
    """An image of each kind without labels, then of the clusters with the fewest for their size."""
    taken, most = set(done), count + len(done)
    kinds = _cluster(points, min(most, _KINDS), seed)
    clusters = _cluster(points, min(most, max(count, len(points) // _MEMBERS)), seed)
    chosen: list[Choice] = []
    while len(chosen) < count:
        parts, part = kinds, _largest_bare(kinds, taken)
        if part is None:
            parts, part = clusters, _most_owed(clusters, taken)
        ranked = _rank(points, parts == part, taken)
        typical = ranked[: max(_TYPICAL, (len(ranked) + 1) // 2)]
        best = int(typical[doubts[typical].argmax()])
        chosen.append(Choice(best, int((parts == part).sum())))
        taken.add(best)
    return chosen


def _largest_bare(parts: NDArray[np.int64], taken: set[int]) -> int | None:
    """The largest part in which nothing is taken."""
    sizes = np.bincount(parts)
    sizes[parts[list(taken)]] = 0
    return int(sizes.argmax()) if sizes.any() else None


def _most_owed(parts: NDArray[np.int64], taken: set[int]) -> int:
    """The part that gets the next label if labels are divided in proportion to images."""
    sizes = np.bincount(parts)
    seats = np.bincount(parts[list(taken)], minlength=len(sizes))
    return int(np.where(seats < sizes, sizes / (2 * seats + 1), -1).argmax())


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


def _rank(
    points: NDArray[np.float32], inside: NDArray[np.bool_], taken: set[int]
) -> NDArray[np.int64]:
    """Images of a cluster that are not taken, the most typical one first."""
    members = np.flatnonzero(inside)
    left = np.array([i for i in members.tolist() if i not in taken])
    return left[np.argsort(-_typicality(points, members, left), kind="stable")]


def _typicality(
    points: NDArray[np.float32], members: NDArray[np.int64], left: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Inverse of the mean distance to the nearest neighbors within the cluster."""
    inside = points[members].astype(np.float64)
    distances = np.linalg.norm(points[left].astype(np.float64)[:, None] - inside[None], axis=-1)
    nearest = np.sort(distances, axis=1)[:, 1 : _NEIGHBORS + 1]
    mean = nearest.mean(axis=1) if nearest.shape[1] else np.zeros(len(left))
    return 1 / (mean + 1e-6)
