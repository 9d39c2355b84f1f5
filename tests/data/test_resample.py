"""Interpolation against scipy, votes against one interpolated mask a label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from unmask.data.resample import Line, _thick, interpolate, vote

RNG = np.random.default_rng(0)
SHAPES = [((9,), (4,)), ((7, 11), (13, 6)), ((5, 6, 7), (9, 3, 7)), ((3, 4, 2, 5), (2, 7, 3, 5))]


def lines(source, target):
    return [Line.between(n, m) for n, m in zip(source, target, strict=True)]


def reference(values, target):
    axes = [
        np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
        for n, m in zip(values.shape, target, strict=True)
    ]
    grid = np.meshgrid(*axes, indexing="ij")
    return ndimage.map_coordinates(values.astype(float), grid, order=1, mode="nearest")


@pytest.mark.parametrize(("source", "target"), SHAPES)
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f2", "f4", "f8", "bool"])
def test_values_are_those_of_scipy(source, target, dtype):
    values = (RNG.normal(size=source) * 100).astype(dtype)
    if dtype == "u1":
        values = RNG.integers(0, 256, source).astype("u1")
    found = interpolate(values, lines(source, target))
    assert found.dtype == values.dtype
    assert found.shape == target
    expected = reference(values, target)
    if values.dtype.kind in "iu":
        assert np.abs(found - expected).max() <= 0.5 + 1e-3
    elif dtype == "bool":
        assert (found == (expected >= 0.5 - 1e-6)).all()
    else:
        np.testing.assert_allclose(found, expected, rtol=2e-3 if dtype == "f2" else 1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8"])
@pytest.mark.parametrize(("source", "target"), SHAPES)
def test_a_vote_is_the_largest_interpolated_mask(source, target, dtype):
    top = np.iinfo(dtype).max
    ids = np.array([0, 1, 7, top], dtype)
    coarse = RNG.integers(0, 4, [-(-n // 2) for n in source])
    labels = ids[_doubled(coarse)[tuple(slice(n) for n in source)]]
    found = vote(labels, lines(source, target))
    assert found.dtype == labels.dtype
    masks = np.stack([reference((labels == each).astype(float), target) for each in ids])
    given_to = np.take_along_axis(
        masks, np.searchsorted(ids, found)[None].astype(np.int64), axis=0
    )[0]
    # Where two are equal either may win.
    np.testing.assert_allclose(given_to, masks.max(0), atol=1e-9)


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_a_part_of_a_line_is_that_part(source, target, draw):
    start = draw.draw(st.integers(0, target - 1))
    stop = draw.draw(st.integers(start + 1, target))
    smooth = draw.draw(st.booleans())
    whole = Line.between(source, target, smooth=smooth)
    part = Line.between(source, target, slice(start, stop), smooth=smooth)
    np.testing.assert_array_equal(whole.index[start:stop], part.index)
    np.testing.assert_array_equal(whole.near[start:stop], part.near)
    np.testing.assert_allclose(whole.weight.sum(1), 1)
    first, last = part.bounds
    assert 0 <= first < last <= source
    moved = part.moved(first)
    values = RNG.normal(size=source)
    np.testing.assert_array_equal(
        interpolate(values[first:last], [moved]), interpolate(values, [whole])[start:stop]
    )


def test_the_same_grid_changes_nothing():
    values = RNG.integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    np.testing.assert_array_equal(interpolate(values, lines(values.shape, values.shape)), values)


def test_memory_that_is_not_contiguous():
    values = RNG.normal(size=(6, 7, 8)).transpose(2, 0, 1)[:, ::-1]
    found = interpolate(values, lines(values.shape, (3, 9, 4)))
    np.testing.assert_allclose(found, reference(values, (3, 9, 4)), atol=1e-9)


def smooth_lines(source, target):
    return [Line.between(n, m, smooth=True) for n, m in zip(source, target, strict=True)]


def test_finer_labels_have_smoothed_borders():
    """Twice as many voxels of the masks, filtered by a cubic B-spline as scipy's."""
    radius = np.sqrt(((np.indices((20, 22)) - 10) ** 2).sum(0))
    labels = np.where(radius < 7, 3, 0).astype(np.uint8)
    found = vote(labels, smooth_lines(labels.shape, (40, 44)))
    axes = np.meshgrid(*((np.arange(2 * n) + 0.5) / 2 - 0.5 for n in labels.shape), indexing="ij")
    smooth = ndimage.map_coordinates(
        (labels == 3).astype(float), axes, order=3, prefilter=False, mode="nearest"
    )
    inside = (slice(4, -4), slice(4, -4))
    np.testing.assert_array_equal(found[inside] == 3, smooth[inside] > 0.5)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_what_is_thin_does_not_fade(ndim):
    labels = np.zeros((9,) * ndim, np.uint8)
    labels[(4,) * (ndim - 1)] = 5  # a line of one voxel
    found = vote(labels, smooth_lines(labels.shape, (18,) * ndim))
    np.testing.assert_array_equal(found, labels.repeat(2, 0) if ndim == 1 else _doubled(labels))


def _doubled(labels):
    for axis in range(labels.ndim):
        labels = labels.repeat(2, axis)
    return labels


def test_thick_is_what_holds_a_square():
    labels = np.zeros((6, 7), int)
    labels[1, 1:6] = 1
    labels[3:5, 2:4] = 2
    expected = np.zeros(labels.shape, bool)
    for corner in np.ndindex(5, 6):
        square = tuple(slice(c, c + 2) for c in corner)
        if np.ptp(labels[square]) == 0:
            expected[square] = True
    np.testing.assert_array_equal(_thick(labels), expected)
    assert _thick(np.array([[1, 1, 2]])).tolist() == [[True, True, False]]
