"""Which family resembles images, how much, and with which options.

Simulation-based: phantoms with known options are drawn, and photographs are compared with them by
cheap statistics (approximate Bayesian computation with linear adjustment; Beaumont, Zhang & Balding
2002, Genetics 162:2025). So no family needs a fitting procedure of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from unmask.phantoms.likeness.bank import Bank, Canvas, Ranges, draw_bank, option_ranges
from unmask.phantoms.likeness.reference import Metric, Reference, summarize

Rows = NDArray[np.float32]

# Phantoms from which the options of a family are read, twice.
_READ = 40
# Penalty of the regression of options.
_RIDGE = 6.0
# Distances up to which a family fits. 1 is the distance of phantoms of the family themselves.
WORDS = ((1.2, "close"), (1.4, "fair"), (1.6, "poor"))
UNFIT = "does not fit"


@dataclass(frozen=True)
class Fit:
    """A family and its options that resemble some images.

    Attributes:
        kind: family.
        distance: of the images to phantoms of the family; 1 is the distance of such phantoms to
            each other.
        ranges: options of the family.
        diameters: estimated mean diameter of the objects, per image.
        rivals: other families and their distances, nearest first.
        metric: of the statistics.
    """

    kind: str
    distance: float
    ranges: Ranges
    diameters: NDArray[np.float64]
    rivals: tuple[tuple[str, float], ...]
    metric: Metric

    @property
    def word(self) -> str:
        """The distance in a word."""
        return describe_distance(self.distance)

    @property
    def diameter(self) -> float:
        """Median of the estimated diameters."""
        return float(np.median(self.diameters))


def describe_distance(distance: float) -> str:
    """close, fair, poor, or does not fit."""
    return next((word for limit, word in WORDS if distance <= limit), UNFIT)


def fit_images(
    rows: Rows,
    canvas: Canvas,
    *,
    reference: Reference,
    kind: str | None = None,
    seed: int = 0,
) -> Fit:
    """The family nearest to images, and its options.

    Args:
        rows: ``(n, d)`` statistics of images.
        canvas: size of the parts of images that were measured.
        reference: all families.
        kind: take this family.
        seed: of the phantoms that are drawn to read the options.
    """
    ranks = reference.rank(rows)
    kind = ranks[0][0] if kind is None else kind
    metric = reference.metric
    wide = draw_bank([kind], canvas, _READ, seed=seed + 1)
    first = _read_options(metric(rows), wide, metric)
    middle = float(np.exp(np.median(np.log(first["diameter"]))))
    limits = option_ranges(kind)["diameter"]
    near = (max(limits[0] / 1.5, middle / 1.7), min(limits[1] * 1.5, middle * 1.7))
    narrow = draw_bank([kind], canvas, _READ, ranges={"diameter": near}, seed=seed + 2)
    read = _read_options(metric(rows), narrow, metric)
    # A family of another distribution is not among the ranks.
    distance = dict(ranks).get(kind) or summarize(wide).rank(rows)[0][1]
    rivals = tuple((name, far) for name, far in ranks if name != kind)[:3]
    return Fit(kind, distance, _as_ranges(read, kind), read["diameter"], rivals, metric)


def _read_options(
    points: NDArray[np.float64], bank: Bank, metric: Metric
) -> dict[str, NDArray[np.float64]]:
    """Options per image by ridge regression on the statistics of phantoms of one family."""
    known = metric(bank.rows)
    middle = known.mean(axis=0)
    centered = known - middle
    gram = centered @ centered.T
    result = {}
    for key in bank.options[0]:
        values = np.array([options[key] for options in bank.options])
        positive = bool(np.all(values > 0))
        target = np.log(values) if positive else values
        weights = np.linalg.solve(gram + _RIDGE * np.eye(len(gram)), target - target.mean())
        found = (points - middle) @ centered.T @ weights + target.mean()
        # Beyond what was drawn, a line says nothing.
        found = np.clip(found, target.min(), target.max())
        result[key] = np.exp(found) if positive else found
    return result


def _as_ranges(read: dict[str, NDArray[np.float64]], kind: str) -> Ranges:
    """From values per image to ranges: tight for the diameter, wider for what is less certain."""
    ranges = {}
    for key, limits in option_ranges(kind).items():
        low, high = np.quantile(read[key], (0.1, 0.9)).tolist()
        if key == "diameter":
            ranges[key] = (0.9 * low, 1.1 * high)
            continue
        slack = 0.15 * (limits[1] - limits[0])
        ranges[key] = (max(limits[0], low - slack), min(limits[1], high + slack))
    return ranges


def separate_groups(points: NDArray[np.float64], apart: float) -> list[list[int]]:
    """Indices of images of a kind: average linkage up to a distance, largest group first."""
    if len(points) < 2:
        return [list(range(len(points)))]
    numbers = fcluster(linkage(points, "average"), apart, "distance")
    groups = [np.flatnonzero(numbers == n).tolist() for n in np.unique(numbers)]
    return sorted(groups, key=lambda group: (-len(group), group[0]))

