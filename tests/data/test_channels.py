"""Channels fit by rule or are refused with both numbers."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.data.channels import match_channels
from unmask.errors import DataError


def image(channels: int, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(channels).integers(0, 200, (channels, 5, 7))
    return values.astype(dtype)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_equal_numbers_are_left_alone(channels):
    given = image(channels)
    assert match_channels(given, channels, "a.tif") is given


def test_one_channel_is_repeated_without_a_copy():
    given = image(1, np.uint16)
    result = match_channels(given, 3, "a.tif")
    assert result.shape == (3, 5, 7)
    assert result.dtype == np.uint16
    assert np.shares_memory(result, given)
    assert (result == given).all()


def test_constant_alpha_is_dropped():
    given = image(4)
    given[3] = 255
    assert np.array_equal(match_channels(given, 3, "a.png"), given[:3])
    assert np.array_equal(match_channels(given, 1, "a.png"), match_channels(given[:3], 1, "a"))


def test_alpha_that_varies_is_refused():
    with pytest.raises(DataError, match=r"a\.png.*constant alpha.*between \d+ and \d+"):
        match_channels(image(4), 3, "a.png")


@pytest.mark.parametrize(
    ("dtype", "expected"), [(np.uint8, np.float32), (np.float32, np.float32), (np.float64, float)]
)
def test_colors_become_their_mean(dtype, expected):
    given = image(3, dtype)
    result = match_channels(given, 1, "a.tif")
    assert result.dtype == expected
    np.testing.assert_allclose(result[0], given.astype(float).mean(axis=0), rtol=1e-6)


def test_volumes_follow_the_same_rules():
    assert match_channels(np.zeros((1, 2, 3, 4)), 2, "v.nii").shape == (2, 2, 3, 4)


@pytest.mark.parametrize(("found", "channels"), [(2, 3), (5, 3), (3, 2), (2, 1), (3, 4), (5, 1)])
def test_anything_else_names_the_file_and_both_numbers(found, channels):
    with pytest.raises(DataError, match=rf"b\.tif: expected {channels} channel.*found {found}"):
        match_channels(image(found), channels, "b.tif")


@pytest.mark.parametrize(("found", "says"), [(2, "a model for 2 channels"), (128, "data.axes")])
def test_advice_fits_the_number_of_channels(found, says):
    with pytest.raises(DataError, match="Split Channels") as caught:
        match_channels(np.zeros((found, 4, 4)), 3, "two.tif")
    assert says in str(caught.value)
    # A file that names its channels is not asked to name its axes.
    assert ("axes" in str(caught.value)) == (found > 12)
