"""Agreement of two divisions of an image, and regions."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.selection.choose import choose
from unmask.selection.regions import divide
from unmask.selection.uncertainty import measure_agreement


def test_numbers_of_objects_do_not_count_but_their_shapes_do():
    first = np.zeros((8, 8), np.uint8)
    first[1:3, 1:3], first[4:8, 4:8] = 1, 2
    renamed = np.array([0, 9, 4], np.uint8)[first]
    assert measure_agreement(first, renamed) == 1
    merged = (first > 0).astype(np.uint8)
    # 4 of 20 voxels of the merged object belong to the small one, 16 to the large one.
    assert measure_agreement(first, merged) == pytest.approx((4 * 4 / 20 + 16 * 16 / 20) / 20)
    assert measure_agreement(first, np.zeros_like(first)) == 0
    assert measure_agreement(0 * first, 0 * first) == 1


def test_regions_cover_an_image_of_any_size():
    for space, size in (((10, 7), (4, 4)), ((5, 30, 9), (8, 16, 9))):
        seen = np.zeros(space, bool)
        for box in divide(space, size):
            assert box.shape == tuple(min(n, m) for n, m in zip(space, size, strict=True))
            seen[box.slices] = True
        assert seen.all()
    assert len(divide((64, 64), (8, 8), most=10)) <= 10


def test_the_image_of_a_kind_on_which_a_model_is_unsure_is_chosen():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(k * 10, 0.1, (20, 4)) for k in (0, 1)]).astype(np.float32)
    doubts = np.full(40, 0.05)
    doubts[[7, 23]] = 0.9
    chosen = {each.index for each in choose(points, 2, doubts=doubts)}
    assert chosen == {7, 23}
