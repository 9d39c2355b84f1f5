"""The second look at objects in several blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unmask
from unmask.measurement.exact import as_pairs, group_sums, variances
from unmask.measurement.hull import count_inside
from unmask.measurement.intensity import medians, whole_medians
from unmask.measurement.spanning import median


@given(
    st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=60),
    st.integers(1, 10),
    st.integers(1, 9),
)
def test_narrowing_down_finds_the_median(values, kept, step):
    array = np.array(values, np.float32)
    # The middle of two infinities of unlike sign is not a number.
    expected = np.sort(array).astype(float)[[(len(array) - 1) // 2, len(array) // 2]]
    expected = expected[0] if expected[0] == expected[1] else np.mean(expected)

    def pieces():
        yield from np.array_split(array, step)

    np.testing.assert_array_equal(median(pieces, len(array), kept), expected)


@given(
    st.lists(st.lists(st.integers(0, 65535), min_size=1, max_size=30), min_size=1, max_size=5),
    st.sampled_from([1, 100, 5000]),
)
def test_medians_of_pieces(groups, coarse):
    groups = [[value // coarse for value in group] for group in groups]
    values = np.array([value for group in groups for value in group], np.uint16)
    starts = np.cumsum([0, *map(len, groups)])
    expected = [np.median(group) for group in groups]
    low, high = (np.array(list(map(side, groups))) for side in (min, max))
    np.testing.assert_array_equal(whole_medians(values, starts, low, high), expected)
    np.testing.assert_array_equal(medians(values, starts), expected)


def test_sums_do_not_depend_on_order():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 1000) * 10.0 ** rng.integers(-8, 8, 1000)
    results = set()
    for _ in range(5):
        rng.shuffle(values)
        index = np.zeros(1000, np.int64)
        high, _ = group_sums(index, 1, values[:, None], np.zeros((1000, 1)))
        results.add(float(high[0, 0]))
    assert len(results) == 1


def test_variance_of_large_values():
    values = 2**30 + np.array([0, 1, 3], np.int64)
    sums = np.array(as_pairs(np.array([[values.sum()]])))
    squares = np.array(as_pairs(np.array([[(values**2).sum()]])))
    assert variances(np.array([3]), sums, squares)[0, 0] == pytest.approx(14 / 9, rel=1e-14)


def test_scattered_objects_are_taken_a_few_at_a_time(monkeypatch):
    labels = np.random.default_rng(0).integers(0, 40, (30, 30)).astype(np.uint8)
    expected = unmask.measure(labels)["solidity"]
    monkeypatch.setattr("unmask.measurement.hull._ROWS", 50)
    np.testing.assert_array_equal(unmask.measure(labels)["solidity"], expected)


def test_hulls_of_no_points_and_of_other_axes():
    bounds = np.array([0, 0, 1])
    np.testing.assert_array_equal(count_inside(np.array([[3, 4]]), bounds), [0, 1])
    np.testing.assert_array_equal(count_inside(np.array([[3, 4, 5]]), bounds), [0, 1])
    np.testing.assert_array_equal(count_inside(np.array([[3]]), bounds), [0, 0])
