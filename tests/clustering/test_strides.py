import numpy as np
import pytest

from unmask.clustering.strides import Tokens, cover_aligned, cover_official
from unmask.errors import DataError, RecipeError

MAESTER = Tokens(patch=5, grid=16, center=4)


def given(cover):
    """Center of the patch that each place has its vector from, by place; -1 where it has none."""
    middles = np.full(cover.count, -1)
    for start, tokens, places in zip(cover.starts, cover.tokens, cover.places, strict=True):
        for token, place in zip(tokens, places, strict=True):
            if place >= 0:
                assert middles[place] == -1, "every place is described once"
                middles[place] = start + 5 * token + 2
    return middles


@pytest.mark.parametrize("center", [4, 8, 16])
def test_aligned_gives_every_voxel_the_patch_around_it(center):
    for length in range(1, 401):
        cover = cover_aligned(length, Tokens(5, 16, center))
        assert np.array_equal(given(cover), np.arange(length))


def test_a_stride_describes_the_middle_of_every_step():
    for length in range(1, 60):
        middles = given(cover_aligned(length, MAESTER, 5))
        assert np.array_equal(middles, 2 + 5 * np.arange(-(-length // 5)))


def test_official_is_displaced():
    rows = given(cover_official(400, MAESTER, last_axis=False))
    columns = given(cover_official(400, MAESTER, last_axis=True))
    filled = rows >= 0
    assert np.array_equal(rows[filled][2:], np.arange(400)[filled][2:] - 2)
    assert np.array_equal(columns[filled], np.arange(400)[filled] + 3)


def test_official_leaves_places_out_for_certain_sizes_only():
    for length in range(12, 400):
        cover = cover_official(length, MAESTER, last_axis=False)
        described = set(cover.places[cover.places >= 0].tolist())
        assert (len(described) < length) == ((length - 11) % 19 in {1, 2, 3, 4})


@pytest.mark.parametrize(("length", "windows"), [(545, 142), (1082, 287), (32, 7), (60, 21)])
def test_official_number_of_windows(length, windows):
    assert len(cover_official(length, MAESTER, last_axis=False).starts) == windows


def test_official_empty_rows_of_the_published_slice():
    cover = cover_official(545, MAESTER, last_axis=False)
    missing = set(range(545)) - set(cover.places.ravel().tolist())
    assert missing == {534, 535, 536, 539, 540, 541, 544}


def test_within_keeps_the_windows_of_a_part():
    whole = cover_aligned(100, MAESTER)
    part = whole.within(37, 61)
    assert np.array_equal(given(part), np.arange(37, 61))
    assert len(part.starts) < len(whole.starts)


def test_even_patches_begin_half_a_patch_before():
    cover = cover_aligned(50, Tokens(4, 6, 2))
    middles = np.full(50, np.nan)
    inside = cover.places >= 0
    middles[cover.places[inside]] = (cover.starts[:, None] + 4 * cover.tokens + 1.5)[inside]
    assert np.array_equal(middles, np.arange(50) - 0.5)


def test_wrong_requests():
    with pytest.raises(RecipeError, match="central tokens"):
        Tokens(5, 16, 17)
    with pytest.raises(RecipeError, match="divides the patch of 5"):
        cover_aligned(10, MAESTER, 3)
    with pytest.raises(DataError, match="at least 12 voxels"):
        cover_official(11, MAESTER, last_axis=False)
    with pytest.raises(RecipeError, match="aligned"):
        cover_official(50, Tokens(5, 6, 6), last_axis=True)
