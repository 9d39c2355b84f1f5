"""Position tables in closed form; the golden fixtures compare them with published ones."""

from __future__ import annotations

from math import cos, sin

import pytest
import torch

from unmask.models import positions


@pytest.mark.parametrize("grid", [(2, 3), (2, 3, 4)])
def test_the_fastest_axis_fills_the_first_channels(grid):
    dim = 4 * len(grid)
    table = positions.sincos(grid, dim)[0]
    assert table.shape == (1 + torch.tensor(grid).prod(), dim)
    assert (table[0] == 0).all()
    # Two frequencies per axis: 10000 ** 0 and 10000 ** (-1 / 2).
    for row, place in enumerate(torch.cartesian_prod(*map(torch.arange, grid)).tolist(), 1):
        expected = [
            wave(position * frequency)
            for position in reversed(place)
            for wave in (sin, cos)
            for frequency in (1.0, 0.01)
        ]
        assert table[row].tolist() == pytest.approx(expected, abs=1e-6)


def test_channels_that_no_axis_can_share_stay_zero():
    table = positions.sincos((2, 2), 10)
    assert (table[..., 8:] == 0).all()
    assert (table[0, 1:, :8] != 0).any()


def test_a_resized_table_keeps_its_class_row_and_its_axes():
    table = positions.sincos((4, 4), 8)
    table[:, 0] = 5.0
    moved = positions.to_grid(table, (4, 4), (8, 4))
    assert moved.shape == (1, 33, 8)
    assert (moved[0, 0] == 5.0).all()
    # Only the slow axis became finer, so channels of the fast axis repeat row by row.
    fast = moved[0, 1:].reshape(8, 4, 8)[..., :4]
    torch.testing.assert_close(fast, fast[:1].expand_as(fast), atol=1e-5, rtol=0)
