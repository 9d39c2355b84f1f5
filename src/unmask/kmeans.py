"""K-means: seeded starts on a sample, one pass over everything.

Centers come from a sample, since 2e5 points place 16 centers as well as all do (inertia within
0.1 %); memory beyond the points is one label and one distance a point. Starts are k-means++ with
the best of a few candidates at each draw (Arthur and Vassilvitskii 2007,
doi:10.5555/1283383.1283494), updates those of Lloyd (doi:10.1109/TIT.1982.1056489).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unmask.errors import DataError, message
from unmask.kernels import njit
from unmask.space.random import generator

# Rows of one product: points, scores and centers stay in the second-level cache
_ROWS = 1024
# A start is chosen on this many points per center, and at least so many
_START_POINTS = 512
_START_LEAST = 8192
_START_ITERATIONS = 12
# Lloyd ends where the inertia falls by less than this share
_STEADY = 1e-5
# On a sample, further steps would follow its chance
_STEADY_SAMPLE = 1e-4


@dataclass(frozen=True)
class Clusters:
    """A clustering of ``n`` points.

    Attributes:
        centers: ``(k, d)`` float32.
        labels: ``(n,)`` int32, the nearest center, starting at 0.
        inertia: sum of squared distances to the nearest center.
    """

    centers: np.ndarray
    labels: np.ndarray
    inertia: float


def kmeans(
    points: np.ndarray,
    count: int,
    *,
    seed: int,
    restarts: int = 4,
    iterations: int = 50,
    sample: int | None = 200_000,
) -> Clusters:
    """Cluster points around ``count`` centers; a function of its arguments alone.

    Args:
        points: ``(n, d)`` float32.
        count: number of centers, at most the number of distinct points.
        seed: of the sample and the starts.
        restarts: starts by k-means++; the best one continues.
        iterations: updates of the centers at most.
        sample: points that centers are fitted to; None: all of them.

    Raises:
        DataError: not finite ``(n, d)`` points, or fewer distinct ones than ``count``.

    Examples:
        >>> found = kmeans(np.array([[0.0], [1.0], [9.0]], np.float32), 2, seed=0)
        >>> sorted(found.centers.ravel().tolist())
        [0.5, 9.0]
    """
    points = _check_points(points, count, restarts, iterations)
    whole = sample is None or sample >= len(points)
    fitted = points if whole else _subset(points, sample or 0, seed, "kmeans sample")
    pools = [fitted] if whole else [fitted, points]
    fitted, centers = _best_start(pools, count, seed, restarts)
    centers = lloyd(fitted, centers, iterations, _STEADY if whole else _STEADY_SAMPLE)
    labels, distances = assign(points, centers)
    return Clusters(centers, labels, float(distances.sum(dtype=np.float64)))


def assign(points: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest center of every point, the first of equals.

    Args:
        points: ``(n, d)`` float32.
        centers: ``(k, d)`` float32.

    Returns:
        Labels ``(n,)`` int32 and squared distances ``(n,)`` float32.
    """
    labels, distances, _, _ = _pass(points, centers)
    return labels, distances


def lloyd(points: np.ndarray, centers: np.ndarray, iterations: int, steady: float) -> np.ndarray:
    """Centers moved to the means of their points until the inertia is steady.

    Args:
        points: ``(n, d)`` float32.
        centers: ``(k, d)`` float32 to begin with; where one loses all points it takes over one of
            those that are farthest from their centers.
        iterations: updates at most.
        steady: share of the inertia below which a gain ends the updates.

    Raises:
        DataError: points that are not finite.
    """
    before = np.inf
    for _ in range(iterations):
        _, distances, sums, counts = _pass(points, centers)
        inertia = float(distances.sum(dtype=np.float64))
        empty = np.flatnonzero(counts == 0)
        moved = sums / np.maximum(counts, 1)[:, None]
        if len(empty):
            # The points that are served worst, the farthest first
            moved[empty] = points[np.argsort(-distances, kind="stable")[: len(empty)]]
        centers = moved.astype(np.float32)
        if not len(empty) and before - inertia <= steady * inertia:
            break
        before = inertia
    return centers


def _check_points(points: np.ndarray, count: int, restarts: int, iterations: int) -> np.ndarray:
    if points.shape != (len(points), points.shape[-1]) or points.dtype != np.float32:
        raise DataError(
            message(
                "k-means",
                expected="points (n, d) of float32",
                found=f"{points.shape} of {points.dtype}",
                do="Convert the array.",
            )
        )
    if min(count, restarts) < 1 or iterations < 0:
        raise DataError(
            message(
                "k-means",
                expected="at least one center and one start",
                found=f"count={count}, restarts={restarts}, iterations={iterations}",
                do="Give positive numbers.",
            )
        )
    if len(points) < count:
        raise _too_many(count, len(points))
    return points


def _too_many(count: int, distinct: int) -> DataError:
    return DataError(
        message(
            "k-means",
            expected=f"at least {count} distinct points for {count} clusters",
            found=str(distinct),
            do=f"Ask for at most {distinct} clusters, or give images that are less uniform.",
        )
    )


def _subset(points: np.ndarray, size: int, seed: int, purpose: str) -> np.ndarray:
    """``size`` rows drawn without repetition, in their order (reading them is the cost)."""
    rows = generator(seed, purpose).choice(len(points), size, replace=False, shuffle=False)
    rows.sort()
    return points[rows]


def _best_start(
    pools: Sequence[np.ndarray], count: int, seed: int, restarts: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of several starts, each k-means++ and a few iterations on part of the sample.

    Where a part has too few distinct points, the next larger pool is tried; the pool for
    the next step is returned with the centers.
    """
    least = max(_START_LEAST, _START_POINTS * count)
    tried = [(pool, pool) for pool in pools]
    if len(pools[0]) > least:
        tried.insert(0, (_subset(pools[0], least, seed, "kmeans start"), pools[0]))
    found: list[tuple[float, np.ndarray]] = []
    distinct = 0
    for pool, larger in tried:
        for restart in range(restarts):
            start = _plus_plus(pool, count, generator(seed, "kmeans restart", restart))
            distinct = len(start)
            if distinct < count:
                break
            centers = lloyd(pool, start, _START_ITERATIONS, _STEADY_SAMPLE)
            found.append((float(assign(pool, centers)[1].sum(dtype=np.float64)), centers))
        if found:
            return larger, min(found, key=lambda pair: pair[0])[1]
    raise _too_many(count, distinct)


def _plus_plus(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points drawn by their squared distance to those drawn before; fewer where no more differ.

    Of a few candidates at each draw the one that leaves the least inertia is taken.
    """
    candidates = 2 + int(np.log(count))
    chosen = [int(rng.integers(len(points)))]
    nearest = _lower(points, points[chosen[0]], np.full(len(points), np.inf, np.float32))
    while len(chosen) < count:
        total = np.cumsum(nearest, dtype=np.float64)
        if not np.isfinite(total[-1]):
            raise _not_finite()
        if total[-1] == 0:
            break
        places = np.searchsorted(total, rng.random(candidates) * total[-1], side="right")
        places = np.minimum(places, len(points) - 1)
        trials = [_lower(points, points[place], nearest) for place in places]
        best = int(np.argmin([trial.sum(dtype=np.float64) for trial in trials]))
        nearest = trials[best]
        chosen.append(int(places[best]))
    return points[chosen]


def _pass(
    points: np.ndarray, centers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, squared distances, and of every cluster the sum (float64) and number of points."""
    count, dim = centers.shape
    exact = centers.astype(np.float64)
    middle = exact.mean(axis=0)
    # |x - c|^2 is smallest where x . (c - m) - (|c|^2 - |m|^2) / 2 is largest, for any m; with the
    # middle of the centers as m no large numbers cancel where all points are far from 0
    directions = (exact - middle).astype(np.float32)
    offsets = (((exact - middle) * (exact + middle)).sum(axis=1) / 2).astype(np.float32)
    labels = np.empty(len(points), np.int32)
    distances = np.empty(len(points), np.float32)
    sums = np.zeros((count, dim))
    counts = np.zeros(count, np.int64)
    scores = np.empty((count, _ROWS), np.float32)
    for start in range(0, len(points), _ROWS):
        part = np.ascontiguousarray(points[start : start + _ROWS])
        here = slice(start, start + len(part))
        if len(part) < _ROWS:
            scores = np.empty((count, len(part)), np.float32)
        np.matmul(directions, part.T, out=scores)
        _nearest(scores, offsets, labels[here])
        _gather(part, centers, labels[here], distances[here], sums, counts)
    if not np.isfinite(distances).all():
        raise _not_finite()
    return labels, distances, sums, counts


def _not_finite() -> DataError:
    return DataError(
        message(
            "k-means",
            expected="finite points",
            found="some that are infinite or not a number",
            do="Look for damaged pixels in the images, or for a model that diverged.",
        )
    )


@njit(cache=True, nogil=True)
def _nearest(scores: np.ndarray, offsets: np.ndarray, labels: np.ndarray) -> None:
    """Index of the largest score less its offset in every column."""
    best = np.empty(labels.size, np.float32)
    for i in range(labels.size):
        best[i] = scores[0, i] - offsets[0]
        labels[i] = 0
    for k in range(1, len(offsets)):
        for i in range(labels.size):
            score = scores[k, i] - offsets[k]
            higher = score > best[i]
            best[i] = score if higher else best[i]
            labels[i] = k if higher else labels[i]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _gather(
    points: np.ndarray,
    centers: np.ndarray,
    labels: np.ndarray,
    distances: np.ndarray,
    sums: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Distance of every point to its center; points added to the sums of their clusters."""
    part = np.zeros(centers.shape, np.float32)
    for i in range(len(points)):
        label = labels[i]
        distance = np.float32(0)
        for j in range(points.shape[1]):
            off = points[i, j] - centers[label, j]
            distance += off * off
            # Summed as differences: small numbers keep their digits
            part[label, j] += off
        distances[i] = distance
        counts[label] += 1
    number = np.zeros(len(centers), np.int64)
    for i in range(len(labels)):
        number[labels[i]] += 1
    for k in range(len(centers)):
        for j in range(points.shape[1]):
            sums[k, j] += np.float64(part[k, j]) + number[k] * np.float64(centers[k, j])


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _lower(points: np.ndarray, center: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Squared distances lowered to those to one more center."""
    lowered = np.empty_like(nearest)
    for i in range(len(points)):
        distance = np.float32(0)
        for j in range(points.shape[1]):
            off = points[i, j] - center[j]
            distance += off * off
        lowered[i] = min(nearest[i], distance)
    return lowered
