import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.space.tiling import starts


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
