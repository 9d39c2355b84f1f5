"""Weights of windows and their sums."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from unmask.infer.blend import FLOOR, WeightSums, gaussian
from unmask.space.tiling import Tiling


def added(weight, starts, space):
    """The sum as it is defined: every window added where it lies."""
    total = np.zeros(space, np.float64)
    for corner in product(*starts):
        low = [max(0, start) for start in corner]
        high = [min(n, a + w) for n, a, w in zip(space, corner, weight.shape, strict=True)]
        there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        here = tuple(
            slice(a - start, b - start) for a, b, start in zip(low, high, corner, strict=True)
        )
        total[there] += weight[here]
    return total


def test_weights_have_a_floor_and_are_symmetric():
    weight = gaussian((12, 9))
    assert weight.min() == pytest.approx(FLOOR)
    assert weight.max() <= 1
    assert torch.equal(weight, weight.flip(0))
    assert torch.equal(weight, weight.flip(1))


@pytest.mark.parametrize(
    ("space", "window"),
    [((90,), (16,)), ((70, 131), (16, 20)), ((5, 64), (16, 8)), ((30, 27, 41), (8, 12, 16))],
)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6, 0.9])
@pytest.mark.parametrize("mirrored", [(), (0,)])
def test_sums_equal_those_of_all_windows(space, window, overlap, mirrored):
    tiling = Tiling(window, overlap=overlap, mirrored=mirrored)
    starts = tiling.positions(space)
    weight = gaussian(window)
    sums = WeightSums(weight, starts, space)
    expected = added(weight.numpy(), starts, space)
    np.testing.assert_allclose(sums.lines(0, space[0]), expected, rtol=1e-5)
    low, high = space[0] // 3, space[0] // 3 + 2
    np.testing.assert_allclose(sums.lines(low, high), expected[low:high], rtol=1e-5)


def test_one_period_is_kept():
    tiling = Tiling((64, 64), overlap=0.6)
    sizes = []
    for length in (1000, 9000):
        sums = WeightSums(gaussian((64, 64)), tiling.positions((64, length)), (64, length))
        sizes.append(sums.columns)
    assert sizes[0] == sizes[1] < 300
