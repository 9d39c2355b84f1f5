from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.space.box import Box
from unmask.space.tiling import Tiling, starts


@given(st.integers(1, 60), st.integers(1, 20), st.data())
def test_windows_cover_the_axis(length, window, data):
    step = data.draw(st.integers(1, window))
    positions = starts(length, window, step)
    covered = np.zeros(max(length, window), bool)
    for position in positions:
        covered[position : position + window] = True
    assert covered[:length].all()
    assert positions == sorted(set(positions))
    assert positions[0] == 0
    assert positions[-1] == max(0, length - window)


def test_windows_refuse_a_step_of_zero():
    with pytest.raises(ValueError, match="positive"):
        starts(10, 4, 0)


SPACES = st.integers(1, 3).flatmap(
    lambda ndim: st.tuples(
        st.lists(st.integers(1, 900), min_size=ndim, max_size=ndim),
        st.lists(st.integers(8, 90), min_size=ndim, max_size=ndim),
    )
)


@given(SPACES, st.floats(0, 0.6), st.integers(1, 8))
def test_adapted_windows_cover_the_image_with_less_work(sizes, overlap, batch):
    space, window = sizes
    given = Tiling(tuple(window), overlap=overlap, adapt=batch * prod(window))
    found = given.adapted(space)
    assert found.seen(space) <= given.seen(space)
    assert prod(found.window) <= batch * prod(window)
    assert all(new >= old for new, old in zip(found.window, window, strict=True))
    assert found.adapted(space) == found
    steps = [old - max(1, int(old * (1 - overlap))) for old in window]
    for along, length, size, lapped in zip(
        found.positions(space), space, found.window, steps, strict=True
    ):
        assert along[0] <= 0
        assert along[-1] + size >= length
        assert all(b - a <= size - lapped for a, b in pairwise(along))


def test_parts_have_the_windows_of_the_image():
    space, box = (1024, 1272), Box((100, 700), (300, 1272))
    tiling = Tiling((256, 256), adapt=8 * 256 * 256).adapted(space)
    part = tiling.cover(box, space)
    for axis, along in enumerate(tiling.positions(part.shape)):
        own = [part.start[axis] + position for position in along]
        assert set(own) <= set(tiling.positions(space)[axis])


def test_windows_are_not_adapted_unless_asked():
    assert Tiling((256, 256)).adapted((520, 696)) == Tiling((256, 256))
