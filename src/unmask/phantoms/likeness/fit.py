"""Find the family of phantoms that resembles images, its distance and its options.

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

# Phantoms from which the options of a family are read, over the whole range and near the images.
# For 38 images of nuclei of 9 to 47 pixels, the mean error of the diameter was 30 % with 24 in the
# second reading, 20 % with 48, and 19 % with 96.
_READ, _READ_AGAIN = 24, 48
# Families about as near as the nearest are drawn with fitted options before one is chosen.
_NEARLY, _RIVALS = 1.15, 4
# Other families that are named.
_SHOWN = 3
# Neighbors whose mean distance is that of an image to phantoms of a family.
_NEIGHBORS = 3
# Diameters of the second reading: those of nine images in ten with a margin, and at least this
# factor around their middle.
_MOST, _MARGIN, _AROUND = (0.05, 0.95), 1.2, 1.7
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
        rivals: the next families and their distances, each in the unit of its family, smallest
            first. One of them may be smaller than ``distance``: families are ranked in a common
            unit, and those about as near by phantoms with fitted options.
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

    Families that are about equally near are compared again by phantoms with fitted options.

    Args:
        rows: ``(n, d)`` statistics of parts of images.
        canvas: size of the parts.
        reference: all families.
        kind: take this family.
        seed: of the phantoms that are drawn to read the options.
    """
    ranks = reference.rank(rows)
    names = [kind] if kind is not None else reference.near(rows, _NEARLY)[:_RIVALS]
    fitted = [_fit_family(name, rows, canvas, reference.metric, seed) for name in names]
    best = min(fitted, key=lambda one: one.apart)
    # A family of another distribution is not among the ranks.
    distance = dict(ranks).get(best.kind) or summarize(best.bank).rank(rows)[0][1]
    others = [(name, far) for name, far in ranks if name != best.kind][:_SHOWN]
    rivals = tuple(sorted(others, key=lambda other: other[1]))
    ranges = _as_ranges(best.options, best.kind)
    return Fit(best.kind, distance, ranges, best.options["diameter"], rivals, reference.metric)


@dataclass(frozen=True)
class _Fitted:
    """A family after its options were read.

    Attributes:
        kind: family.
        options: values of every option, per image.
        apart: distance of the images to the phantoms that were drawn.
        bank: phantoms over the whole range of options.
    """

    kind: str
    options: dict[str, NDArray[np.float64]]
    apart: float
    bank: Bank


def _fit_family(name: str, rows: Rows, canvas: Canvas, metric: Metric, seed: int) -> _Fitted:
    """Read the options twice: over the whole range, and near the diameters that were found."""
    wide = draw_bank([name], canvas, _READ, seed=seed + 1)
    first = _read_options(metric(rows), wide, metric)
    near = _near(first["diameter"], option_ranges(name)["diameter"])
    narrow = draw_bank([name], canvas, _READ_AGAIN, ranges={"diameter": near}, seed=seed + 2)
    drawn = metric.scale(np.concatenate([wide.rows, narrow.rows]))
    apart = np.linalg.norm(metric.scale(rows)[:, None] - drawn[None], axis=-1)
    nearest = np.sort(apart, axis=1)[:, :_NEIGHBORS].mean(axis=1)
    read = _read_options(metric(rows), narrow, metric)
    return _Fitted(name, read, float(np.median(nearest)), wide)


def _near(diameters: NDArray[np.float64], limits: tuple[float, float]) -> tuple[float, float]:
    """Diameters to draw for images of one group, which need not be of one magnification."""
    middle = float(np.exp(np.median(np.log(diameters))))
    low, high = np.quantile(diameters, _MOST).tolist()
    low, high = min(middle / _AROUND, low / _MARGIN), max(middle * _AROUND, high * _MARGIN)
    return max(limits[0] / 1.5, low), min(limits[1] * 1.5, high)


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
        if key == "diameter":
            low, high = np.quantile(read[key], _MOST).tolist()
            ranges[key] = (0.9 * low, 1.1 * high)
            continue
        low, high = np.quantile(read[key], (0.1, 0.9)).tolist()
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
