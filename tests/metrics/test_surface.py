"""Surface distances against a table of all distances."""

import numpy as np
import pytest
from scipy import ndimage

from unmask.errors import DataError
from unmask.metrics import Surfaces, evaluate_pair, hd95, metric, nearest_marks, nsd, surface
from unmask.metrics.bounded_distances import BoundedDistances, largest_percentile
from unmask.metrics.nearest_marks import Volume


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
    centers = [rng.uniform(0, n, 2) for n in shape]
    return [sum((g - c[i]) ** 2 for g, c in zip(grid, centers, strict=True)) < 14 for i in range(2)]


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


def by_scipy(truth, predicted, spacing):
    """Distances of both surfaces by scipy's exact transform."""
    sides = [
        np.logical_and(inside, np.logical_not(ndimage.binary_erosion(inside)))
        for inside in (truth, predicted)
    ]
    fields = [
        np.asarray(ndimage.distance_transform_edt(np.logical_not(side), sampling=spacing))
        for side in sides
    ]
    return fields[1][sides[0]], fields[0][sides[1]]


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("far", [0, 4, 17])
@pytest.mark.parametrize("names", [(0, 1, 2, 3), (0, 7, 300, 70_000), (0, 5, 2**40, 2**50)])
def test_every_class_at_once_near_and_far(ndim, far, names):
    rng = np.random.default_rng(far)
    shape = (40, 41, 42)[:ndim]
    smooth = ndimage.gaussian_filter(rng.normal(size=(4, *shape)), (0, *(3,) * ndim))
    index = smooth.argmax(0)
    index[tuple(slice(0, 12) for _ in shape)] = 3
    truth = np.array(names)[index]
    predicted = np.roll(truth, (far,) * ndim, range(ndim))
    spacing = (3.0, 0.7, 1.1)[:ndim]
    surfaces = Surfaces(truth, predicted, spacing=spacing)
    assert surfaces.classes.tolist() == [name for name in names[1:] if name in truth]
    for name in surfaces.classes.tolist():
        expected = by_scipy(truth == name, predicted == name, spacing)
        for found, wanted in zip(surfaces.of(name), expected, strict=True):
            np.testing.assert_allclose(np.sort(found), np.sort(wanted), rtol=1e-12)


def test_a_class_that_is_only_far_away():
    truth, predicted = np.zeros((2, 60, 60), int)
    truth[1:4, 1:4], predicted[50:53, 52] = 3, 3
    there, back = Surfaces(truth, predicted, spacing=(2, 0.5)).of(3)
    expected = by_scipy(truth == 3, predicted == 3, (2, 0.5))
    np.testing.assert_allclose(np.sort(there), np.sort(expected[0]))
    np.testing.assert_allclose(np.sort(back), np.sort(expected[1]))


def test_distances_at_the_tolerance_are_within_it():
    truth, predicted = np.zeros((2, 9, 9), int)
    truth[1, 1], predicted[1, 4] = 1, 1
    assert nsd(truth, predicted, spacing=(1, 0.7), tolerance=2.1) == 1
    assert nsd(truth, predicted, spacing=(1, 0.7), tolerance=2.0999) == 0


def test_metrics_of_one_image_share_their_surfaces(monkeypatch):
    made = []

    class Counted(Surfaces):
        def __init__(self, *given, **sizes):
            made.append(sizes)
            super().__init__(*given, **sizes)

    monkeypatch.setattr(metric, "Surfaces", Counted)
    truth = np.zeros((9, 9), np.uint8)
    truth[2:7, 2:7] = 1
    names = ["hd95", "nsd", "nsd@2", "hd95/1"]
    values = evaluate_pair(truth, np.roll(truth, 1, 0), names, spacing=(1.5, 1))
    assert made == [{"spacing": (1.5, 1)}]
    assert values["hd95"] == values["hd95/1"] == 1.5
    assert values["nsd@2"] == 1
    # Voxels without truth are background on both sides.
    truth[0] = 9
    ignored = evaluate_pair(truth, np.where(truth == 9, 1, truth), names, ignore=9)
    assert ignored["hd95"] == 0


def test_surfaces_or_both_sides_are_needed():
    with pytest.raises(TypeError, match="their surfaces"):
        hd95(np.ones((3, 3), int))


@pytest.mark.parametrize("shape", [(60,), (1, 30), (25, 31), (9, 1, 12), (13, 17, 15)])
@pytest.mark.parametrize("share", [0.003, 0.1, 0.7])
@pytest.mark.parametrize("looks", [-1, 0, 20])
def test_transform_equals_all_pairs(monkeypatch, shape, share, looks):
    monkeypatch.setattr(nearest_marks, "_LOOKS_PER_VOXEL", looks)
    rng = np.random.default_rng(len(shape))
    marks = rng.random(shape) < share
    marks.flat[rng.integers(marks.size)] = True
    points = np.argwhere(rng.random(shape) < 0.3)
    sizes = np.array((3.0, 0.7, 1.1)[: len(shape)])
    table = (points[:, None] - np.argwhere(marks)[None]) * sizes
    expected = np.sqrt((table**2).sum(-1)).min(1)
    volume = Volume(marks.astype(np.uint8), sizes)
    places = np.ravel_multi_index(tuple(points.T), shape)
    found = volume.measure(*volume.locate(places, np.arange(marks.size)), 1)
    np.testing.assert_allclose(found.read(), expected, rtol=1e-12)


@pytest.mark.parametrize(("looks", "query"), [(0, 0), (0, 10**9), (10**9, 0)])
def test_every_way_measures_the_same(monkeypatch, looks, query):
    monkeypatch.setattr(surface, "_FAR_SHARE", -1)
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, (2, 12, 30, 20)) * (rng.random((2, 12, 30, 20)) < 0.02)
    monkeypatch.setattr(surface, "_LOOKS", looks)
    monkeypatch.setattr(surface, "_QUERY", query)
    monkeypatch.setattr(surface, "_AROUND", 30)
    spacing = (3.0, 0.7, 1.1)
    surfaces = Surfaces(truth, predicted, spacing=spacing)
    for name in (1, 2, 3):
        expected = by_scipy(truth == name, predicted == name, spacing)
        for found, wanted in zip(surfaces.of(name), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_random_classes_everywhere():
    truth, predicted = np.random.default_rng(1).integers(0, 5, (2, 12, 14, 16))
    truth[:, :7], predicted[:, 7:] = 2, 3
    surfaces = Surfaces(truth, predicted)
    for name in (1, 2, 3, 4):
        expected = by_scipy(truth == name, predicted == name, (1, 1, 1))
        for found, wanted in zip(surfaces.of(name), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_percentile_and_a_count_measure_what_they_depend_on():
    rng = np.random.default_rng(3)
    distances, gaps = rng.random(500) * 9, rng.random((2, 500)) * 0.1
    measured = []

    def measure(numbers, limits):
        assert (limits >= distances[numbers]).all()
        measured.extend(numbers)
        return distances[numbers]

    low, high = distances - gaps[0], (distances + gaps[1]).astype(np.float32)
    bounded = BoundedDistances(low, high, measure)
    assert bounded.percentile(95) == np.percentile(distances, 95)
    assert bounded.count_within(2.5) == (distances <= 2.5).sum()
    assert 0 < len(measured) < 100
    near = BoundedDistances(distances / 20)
    assert largest_percentile([near, bounded], 95) == np.percentile(distances, 95)
    np.testing.assert_array_equal(bounded.read(), distances)
    assert sorted(measured) == list(range(500))
