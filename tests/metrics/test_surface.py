"""Surface distances against a table of all distances."""

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.metrics import hd95, nsd


def surface_points(inside, spacing):
    padded = np.pad(inside, 1)
    inner = padded.copy()
    for axis in range(padded.ndim):
        for step in (1, -1):
            inner &= np.roll(padded, step, axis)
    return np.argwhere(padded & ~inner) * np.asarray(spacing)


def slow(truth, predicted, spacing):
    a, b = surface_points(truth, spacing), surface_points(predicted, spacing)
    table = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    return table.min(1), table.min(0)


def scene(ndim, seed):
    rng = np.random.default_rng(seed)
    shape = (9, 12, 13)[:ndim]
    grid = np.indices(shape)
    centres = [rng.uniform(0, n, 2) for n in shape]
    return [sum((g - c[i]) ** 2 for g, c in zip(grid, centres, strict=True)) < 14 for i in range(2)]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_distances_with_and_without_spacing(ndim, seed):
    truth, predicted = scene(ndim, seed)
    assert truth.any()
    assert predicted.any()
    for spacing in (None, (2.5, 0.5, 1.25)[:ndim]):
        there, back = slow(truth, predicted, spacing or (1,) * ndim)
        expected = max(np.percentile(there, 95), np.percentile(back, 95))
        assert hd95(truth, predicted, spacing=spacing) == pytest.approx(expected)
        near = (there <= 2).sum() + (back <= 2).sum()
        assert nsd(truth, predicted, spacing=spacing, tolerance=2) == pytest.approx(
            near / (len(there) + len(back))
        )


def test_mean_over_classes_and_one_class():
    truth = np.zeros((10, 10), int)
    truth[1:4, 1:4], truth[6:9, 6:9] = 1, 2
    predicted = truth.copy()
    predicted[truth == 2] = 0
    predicted[6:9, 4:7] = 2
    assert hd95(truth, predicted, label=1) == 0
    assert hd95(truth, predicted, label=2) == 2
    assert hd95(truth, predicted) == 1
    assert nsd(truth, predicted, label=1) == 1
    assert nsd(truth, predicted) == pytest.approx((1 + nsd(truth, predicted, label=2)) / 2)


def test_a_class_on_one_side_has_no_distance_and_no_agreement():
    empty, one = np.zeros((5, 5), int), np.eye(5, dtype=int)
    for pair in ((empty, one), (one, empty)):
        assert np.isnan(hd95(*pair))
        assert nsd(*pair) == 0
    assert np.isnan(hd95(empty, empty))
    assert np.isnan(nsd(empty, empty))
    assert np.isnan(nsd(one, one, label=4))


def test_wrong_shapes_and_spacings_are_refused():
    square = np.ones((3, 3), int)
    with pytest.raises(DataError, match="shape of truth"):
        hd95(square, square[:2])
    with pytest.raises(DataError, match="2 positive voxel sizes"):
        nsd(square, square, spacing=(1, 1, 1))
