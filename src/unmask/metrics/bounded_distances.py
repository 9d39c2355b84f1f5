"""Distances that are exact only where a question about them needs it.

A percentile and a count within a limit need the exact value of few distances: of those whose bounds
lie on both sides of what is asked for. All others are counted by their bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# Measures the distances of these numbers, given upper bounds of them.
Measure = Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]


class BoundedDistances:
    """Distances between bounds, measured when they are needed.

    Args:
        low: lower bounds; they are replaced by the distances.
        high: upper bounds; None if the lower ones are the distances.
        measure: gives exact distances; None if there are no upper bounds.
    """

    def __init__(
        self,
        low: NDArray[np.float64],
        high: NDArray[np.float32] | None = None,
        measure: Measure | None = None,
    ) -> None:
        self._low = low
        self._high = high
        self._measure = measure
        self._exact = np.full(low.size, high is None)

    @property
    def size(self) -> int:
        """Number of distances."""
        return self._low.size

    def read(self) -> NDArray[np.float64]:
        """All distances, exact."""
        self._settle(~self._exact)
        return self._low

    def bound_percentile(self, percent: float) -> tuple[float, float]:
        """Lower and upper bound of the percentile; there must be a distance."""
        # It lies between two ranks; one more on either side is safe from rounding.
        rank, last = int((self.size - 1) * percent / 100), self.size - 1
        before, after = max(rank - 1, 0), min(rank + 2, last)
        low = float(np.partition(self._low, before)[before])
        return low, float(np.partition(self._upper(), after)[after])

    def percentile(self, percent: float) -> float:
        """Percentile as of ``numpy.percentile``; there must be a distance."""
        if self._high is not None:
            lowest, highest = self.bound_percentile(percent)
            self._settle((self._upper() >= lowest) & (self._low <= highest) & ~self._exact)
        return float(np.percentile(self._low, percent))

    def _upper(self) -> NDArray[np.float64]:
        """Upper bounds."""
        return self._low if self._high is None else np.where(self._exact, self._low, self._high)

    def count_within(self, limit: float) -> int:
        """Number of distances up to a limit."""
        if self._high is not None:
            self._settle((self._low <= limit) & (self._high > limit) & ~self._exact)
        return int((self._low <= limit).sum())

    def _settle(self, needed: NDArray[np.bool_]) -> None:
        numbers = np.flatnonzero(needed)
        if numbers.size and self._high is not None and self._measure is not None:
            limits = self._high[numbers].astype(np.float64)
            self._low[numbers] = self._measure(numbers, limits)
            self._exact[numbers] = True


def largest_percentile(distances: Sequence[BoundedDistances], percent: float) -> float:
    """Largest of the percentiles; those that their bounds exclude are not measured."""
    bounds = [(one.bound_percentile(percent), one) for one in distances]
    worst = -np.inf
    for (_, high), one in sorted(bounds, key=lambda pair: -pair[0][0]):
        if high > worst:
            worst = max(worst, one.percentile(percent))
    return float(worst)
