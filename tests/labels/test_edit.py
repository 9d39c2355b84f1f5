"""Corrections of single objects."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.labels import merge_objects, remove_object, split_object

LENGTH = 24


def touching(ndim: int) -> np.ndarray:
    """Object 3 is two balls that touch, object 7 lies apart."""
    grid = np.indices((LENGTH,) * ndim) + 0.0
    labels = np.zeros((LENGTH,) * ndim, np.uint16)
    for center in (6, 14):
        labels[
            sum((axis - c) ** 2 for axis, c in zip(grid, (center, *(8,) * (ndim - 1)), strict=True))
            < 25
        ] = 3
    labels[(slice(20, 23),) * ndim] = 7
    return labels


@pytest.mark.parametrize("ndim", [2, 3])
def test_split_cuts_at_the_neck(ndim: int) -> None:
    labels = touching(ndim)
    before, rest = labels.copy(), (8,) * (ndim - 1)
    correction = split_object(labels, 3, [(5, *rest), (15.4, *rest)])
    np.testing.assert_array_equal(labels, before)
    correction.apply(labels)
    np.testing.assert_array_equal(labels > 0, before > 0)
    np.testing.assert_array_equal(labels == 7, before == 7)
    assert sorted(np.unique(labels)) == [0, 3, 7, 8]
    lines = np.argwhere(labels == 3)[:, 0], np.argwhere(labels == 8)[:, 0]
    assert (lines[0].max(), lines[1].min()) in {(9, 10), (10, 11), (10, 10)}


@pytest.mark.parametrize("ndim", [2, 3])
def test_merge_and_remove(ndim: int) -> None:
    labels = touching(ndim)
    before = labels.copy()
    merge_objects(labels, [7, 3]).apply(labels)
    np.testing.assert_array_equal(labels, np.where(before > 0, 7, 0))
    remove_object(labels, 7).apply(labels)
    assert not labels.any()


def test_wrong_requests() -> None:
    labels = touching(2)
    with pytest.raises(DataError, match="object 3: expected two different points"):
        split_object(labels, 3, [(6, 8)])
    with pytest.raises(DataError, match=r"inside of it, found \(6, 8\), \(0, 0\)"):
        split_object(labels, 3, [(6, 8), (0, 0)])
    with pytest.raises(DataError, match="found none with 4"):
        merge_objects(labels, [3, 4])
    with pytest.raises(DataError, match="two different objects"):
        merge_objects(labels, [3, 3])
    with pytest.raises(DataError, match="0 is background"):
        remove_object(labels, 0)
    full = np.where(labels == 7, 255, labels).astype(np.uint8)
    with pytest.raises(DataError, match="holds the new id 256, found uint8"):
        split_object(full, 3, [(6, 8), (14, 8)])
