"""From the uncertainty of an object to the probability that it is right.

Platt 1999, "Probabilistic outputs for support vector machines": a logistic curve with two
parameters, fitted to held-out objects. A few dozen objects do not determine more parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Groups of the reliability plot, each with the same number of objects.
_BINS = 8
# Largest number of Newton steps; about ten converge.
_NEWTON = 50
# Keeps the slope finite if one threshold separates right from wrong objects perfectly.
_RIDGE = 1e-3
# Smallest number of images for which the curve is judged by leave-one-image-out.
_FOLDS = 5

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """The probability of being right is ``1 / (1 + exp(-(offset + slope * uncertainty)))``.

    Attributes:
        offset: log-odds of an object with uncertainty 0.
        slope: log-odds per unit of uncertainty, 0 or less.
        count: number of objects it was fitted to.
        good: number of these objects that were right.
        auroc: probability that a wrong object has a higher uncertainty than a right one, 0 to 1;
            NaN if all are right or all are wrong.
        error: expected calibration error, the mean difference between probability and share.
        bins: (mean probability, share that was right, number of objects) per group. With five or
            more images, the probabilities of an image come from a curve fitted to the others.
    """

    offset: float
    slope: float
    count: int
    good: int
    auroc: float = math.nan
    error: float = math.nan
    bins: tuple[tuple[float, float, int], ...] = ()

    def probability(self, uncertainty: NDArray[np.floating] | float) -> Numbers:
        """Probability of being right.

        Examples:
            >>> Calibration(2.0, -4.0, 10, 8).probability(0.5).round(2)
            np.float64(0.5)
        """
        values = np.asarray(uncertainty, np.float64)
        return 1 / (1 + np.exp(-(self.offset + self.slope * values)))

    def to_card(self) -> dict[str, Any]:
        """JSON values for the card of a model."""
        card = asdict(self)
        card |= {name: _round(card[name]) for name in ("offset", "slope", "auroc", "error")}
        card["bins"] = [[round(a, 4), round(b, 4), n] for a, b, n in self.bins]
        return card

    @classmethod
    def of_card(cls, entry: Any) -> Calibration | None:
        """Read what `to_card` wrote; None if it is missing or of another form."""
        if not isinstance(entry, Mapping):
            return None
        numbers = [entry.get(name) for name in ("offset", "slope")]
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in numbers):
            return None
        count, good = (n if isinstance(n := entry.get(k), int) else 0 for k in ("count", "good"))
        rank, error = (
            v if isinstance(v := entry.get(name), float) else math.nan
            for name in ("auroc", "error")
        )
        return cls(float(numbers[0] or 0), float(numbers[1] or 0), count, good, rank, error)


def fit_calibration(
    uncertainty: Sequence[Numbers], right: Sequence[NDArray[np.bool_]]
) -> Calibration | None:
    """Fit the curve to held-out objects.

    Args:
        uncertainty: uncertainty of the objects of each image, in [0, 1].
        right: whether each object is right, such as by an IoU of 0.5 or more.

    Returns:
        The calibration; None if no image has an object.

    Examples:
        >>> fitted = fit_calibration([np.array([0.1, 0.2, 0.8])], [np.array([True, True, False])])
        >>> fitted is not None and fitted.slope < 0
        True
    """
    values, truth = np.concatenate([[], *uncertainty]), np.concatenate([[], *right]) > 0
    if not len(values):
        return None
    offset, slope = _fit(values, truth)
    held_out = _predict_left_out(uncertainty, right) if len(right) >= _FOLDS else None
    whole = Calibration(offset, slope, len(values), int(truth.sum()), auroc(values, ~truth))
    judged = whole.probability(values) if held_out is None else held_out
    bins = _bins(judged, truth)
    error = sum(n * abs(a - b) for a, b, n in bins) / len(values)
    return Calibration(offset, slope, whole.count, whole.good, whole.auroc, error, bins)


def auroc(values: Numbers, positive: NDArray[np.bool_]) -> float:
    """Probability that a positive has a larger value than a negative; ties count half.

    Examples:
        >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        0.875
    """
    count = int(positive.sum())
    if not 0 < count < len(values):
        return math.nan
    _, index, number = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(number) - (number - 1) / 2)[index]
    above = ranks[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(values) - count)))


def _fit(values: Numbers, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Offset and slope by Newton's method, with Platt's targets for one side alone."""
    good, bad = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (good + 1) / (good + 2), 1 / (bad + 2))
    matrix = np.stack([np.ones_like(values), values], 1)
    weights, ridge = np.zeros(2), np.diag([0.0, _RIDGE])
    for _ in range(_NEWTON):
        chance = 1 / (1 + np.exp(-(matrix @ weights).clip(-50, 50)))
        slope = matrix.T @ (chance - target) + ridge @ weights
        bend = (matrix.T * (chance * (1 - chance))) @ matrix + ridge + 1e-9 * np.eye(2)
        step = np.linalg.solve(bend, slope)
        weights -= step.clip(-5, 5)
        if np.abs(step).max() < 1e-8:
            break
    if weights[1] <= 0:
        return float(weights[0]), float(weights[1])
    # A higher uncertainty cannot make an object better, so such a fit has no information.
    share = target.mean()
    return float(np.log(share / (1 - share))), 0.0


def _predict_left_out(
    uncertainty: Sequence[Numbers], right: Sequence[NDArray[np.bool_]]
) -> Numbers:
    """Probabilities of each image by a curve that was fitted to the others."""
    found = []
    for number, values in enumerate(uncertainty):
        others = [i for i in range(len(right)) if i != number and len(right[i])]
        rest = np.concatenate([[], *(uncertainty[i] for i in others)])
        truth = np.concatenate([[], *(right[i] for i in others)]) > 0
        offset, slope = _fit(rest, truth)
        found.append(Calibration(offset, slope, 0, 0).probability(values))
    return np.concatenate([[], *found])


def _bins(chance: Numbers, truth: NDArray[np.bool_]) -> tuple[tuple[float, float, int], ...]:
    order = np.argsort(chance, kind="stable")
    groups = [part for part in np.array_split(order, _BINS) if len(part)]
    return tuple(
        (float(chance[part].mean()), float(truth[part].mean()), len(part)) for part in groups
    )


def _round(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
