import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.space import Box, tiles

SHAPES = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@given(SHAPES, st.data())
def test_write_boxes_partition_any_shape(shape, data):
    block = [data.draw(st.integers(1, 8)) for _ in shape]
    halo = [data.draw(st.integers(0, 5)) for _ in shape]
    count = np.zeros(shape, int)
    for tile in tiles(shape, block, halo):
        count[tile.write.slices] += 1
        assert tile.read.clip(Box.of(shape)) == tile.read
        assert tile.write.clip(tile.read) == tile.write
    assert (count == 1).all()


def test_box_arithmetic():
    box = Box((2, 3), (5, 9))
    assert box.shape == (3, 6)
    assert box.size == 18
    assert box.grow((1, 2)) == Box((1, 1), (6, 11))
    assert box.relative_to(Box((1, 1), (9, 9))) == Box((1, 2), (4, 8))
    assert box.clip(Box.of((4, 4))) == Box((2, 3), (4, 4))
    assert box.clip(Box((10, 10), (12, 12))).size == 0


def test_box_needs_equal_lengths():
    with pytest.raises(ValueError, match="differ in length"):
        Box((0,), (1, 1))
