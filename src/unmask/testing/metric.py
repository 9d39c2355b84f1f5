"""Contract of metrics: pure functions of two label images."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest

from unmask.metrics import METRICS, Metric, find_metric
from unmask.metrics.metric import measure
from unmask.metrics.own import own_function
from unmask.testing.base import Contract

SPACES = {2: (12, 14), 3: (5, 12, 14)}


def _scene(ndim: int) -> tuple[np.ndarray, np.ndarray]:
    truth = np.zeros(SPACES[ndim], np.uint16)
    inner = (slice(2, -2),) * (ndim - 2)
    truth[*inner, 3:6, 3:6], truth[*inner, 3:7, 8:11] = 1, 2
    predicted = truth.copy()
    predicted[..., 3:6, 3] = 0
    return truth, predicted


@pytest.mark.parametrize("ndim", SPACES)
class MetricContract(Contract):
    """Numbers for any pair of label images, in 2D and 3D.

    Attributes:
        part: name, a `Metric`, or a function ``(truth, predicted)``.
        higher_is_better: of a plain function; None where neither direction is.
    """

    higher_is_better: ClassVar[bool | None] = True

    @property
    def metric(self) -> Metric:
        """The metric."""
        part = self.chosen
        if isinstance(part, str):
            return find_metric(part, METRICS)
        if isinstance(part, Metric):
            return part
        function = own_function(part, getattr(part, "__name__", "metric"))
        return Metric(function, kind="any", table="overlap" in function.parameters, arrays=True)

    def _values(self, truth: np.ndarray, predicted: np.ndarray) -> list[float]:
        metrics = {"metric": self.metric}
        spacing = (1.0,) * truth.ndim
        return list(measure(truth, predicted, metrics, spacing=spacing).values())

    def test_numbers(self, ndim: int) -> None:
        """Plain Python numbers, the same each time; the images stay as they are."""
        truth, predicted = _scene(ndim)
        before = truth.copy(), predicted.copy()
        values = self._values(truth, predicted)
        assert values
        assert all(type(value) is float for value in values)
        assert values == pytest.approx(self._values(truth, predicted), nan_ok=True)
        np.testing.assert_array_equal(truth, before[0])
        np.testing.assert_array_equal(predicted, before[1])

    @pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
    def test_type_and_memory_do_not_matter(self, ndim: int, dtype: str) -> None:
        """Labels come in any integer type, and as parts of larger arrays."""
        truth, predicted = _scene(ndim)
        views = [np.asfortranarray(side.astype(dtype)) for side in (truth, predicted)]
        expected = self._values(truth, predicted)
        assert self._values(views[0], views[1]) == pytest.approx(expected, nan_ok=True)

    @pytest.mark.parametrize("sides", [(0, 0), (0, 1), (1, 0), (1, 1)])
    def test_images_of_one_value_have_a_value(self, ndim: int, sides: tuple[int, int]) -> None:
        """Empty images are a number or NaN, not an error."""
        for shape in (SPACES[ndim], (1,) * ndim):
            images = [np.full(shape, value, np.uint16) for value in sides]
            assert all(isinstance(value, float) for value in self._values(images[0], images[1]))

    def test_the_truth_is_a_best_prediction(self, ndim: int) -> None:
        """Not better than the truth is a prediction that lacks voxels."""
        truth, predicted = _scene(ndim)
        best, worse = self._values(truth, truth), self._values(truth, predicted)
        named = isinstance(self.chosen, str | Metric)
        higher = self.metric.higher_is_better if named else self.higher_is_better
        if len(best) > 1 or higher is None:
            assert all(math.isfinite(value) for value in best)
        elif higher:
            assert best[0] >= worse[0]
        else:
            assert best[0] <= worse[0]
