import numpy as np
import pytest
import torch

from unmask.clustering import on_device
from unmask.clustering.on_device import nearest_centers
from unmask.errors import DataError
from unmask.kmeans import assign


def test_the_nearest_center_is_that_of_the_cpu(monkeypatch):
    monkeypatch.setattr(on_device, "_ROWS", 100)
    rng = np.random.default_rng(0)
    points = rng.standard_normal((1000, 12), dtype=np.float32) + 40
    centers = points[:7].copy()
    np.testing.assert_array_equal(
        nearest_centers(torch.from_numpy(points), centers), assign(points, centers)[0]
    )


def test_points_that_are_not_finite_are_refused():
    points = torch.zeros(5, 2)
    points[3, 1] = float("nan")
    with pytest.raises(DataError, match="k-means: expected finite points"):
        nearest_centers(points, np.zeros((2, 2), np.float32))


def test_no_points():
    assert nearest_centers(torch.zeros(0, 2), np.zeros((2, 2), np.float32)).shape == (0,)
