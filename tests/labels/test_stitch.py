"""Objects joined over blocks are those of one pass, up to their numbers."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.blocks.grid import Grid
from unmask.errors import DataError
from unmask.labels import connected_components
from unmask.labels.stitch import match_ids, number_pieces


def same_objects(first: np.ndarray, second: np.ndarray) -> bool:
    """Equal up to renaming, background included."""
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    ids = [np.unique(side) for side in pairs]
    zeros = np.array_equal(first == 0, second == 0)
    return zeros and pairs.shape[1] == len(ids[0]) == len(ids[1])


def in_blocks(foreground, block, *, halo, connectivity, order=None) -> np.ndarray:
    """Components labeled block by block, joined as blocks are."""
    grid = Grid(foreground.shape, block, halo)
    tiles = [grid.tile(number) for number in range(len(grid))]
    parts = [
        connected_components(foreground[tile.read.slices], connectivity=connectivity)
        for tile in tiles
    ]
    offsets = np.cumsum([0, *(int(part.max(initial=0)) for part in parts)])
    written = np.zeros(offsets[-1], bool)
    pairs = [np.zeros((0, 2), np.int64)]
    for number in order or range(len(grid)):
        tile, part = tiles[number], parts[number]
        own = np.unique(part[tile.write.relative_to(tile.read).slices])
        written[offsets[number] + own[own > 0] - 1] = True
        for axis in range(foreground.ndim):
            other = grid.after(number, axis)
            if other is not None:
                slab = grid.slab(number, axis)
                there = slab.relative_to(tiles[other].read).slices
                table = match_ids(part[slab.relative_to(tile.read).slices], parts[other][there])
                pairs.append(table + offsets[[number, other]] - 1)
    numbers = np.concatenate([[0], number_pieces(np.concatenate(pairs), written)])
    result = np.zeros(foreground.shape, np.int64)
    for number, (tile, part) in enumerate(zip(tiles, parts, strict=True)):
        own = part[tile.write.relative_to(tile.read).slices].astype(np.int64)
        own[own > 0] += offsets[number]
        result[tile.write.slices] = numbers[own]
    return result


def check(foreground, block, *, halo, connectivity) -> None:
    whole = connected_components(foreground, connectivity=connectivity)
    found = in_blocks(foreground, block, halo=halo, connectivity=connectivity)
    assert same_objects(whole, found)
    assert found.max(initial=0) == whole.max(initial=0)


def random_volume(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 4))
    shape = rng.integers(1, (60, 26, 14)[ndim - 1], ndim)
    foreground = rng.random(shape) < rng.uniform(0.2, 0.8)
    block = tuple(int(n) for n in rng.integers(1, 12, ndim))
    halo, connectivity = int(rng.integers(1, 5)), int(rng.integers(1, ndim + 1))
    check(foreground, block, halo=halo, connectivity=connectivity)


@given(st.integers(0, 2**32))
@settings(max_examples=40, derandomize=True)
def test_random_volumes_equal_one_pass(seed):
    random_volume(seed)


@pytest.mark.slow
def test_a_thousand_random_volumes_equal_one_pass():
    for seed in range(1000):
        random_volume(seed)


def spiral(size: int) -> np.ndarray:
    foreground = np.zeros((size, size), bool)
    place, step = np.array([0, 0]), np.array([0, 1])
    for length in range(size - 1, 0, -2):
        for _ in range(4):
            for _ in range(length):
                foreground[tuple(place)] = True
                place += step
            step = np.array([step[1], -step[0]])
        place += (2, 2) if length > 4 else (0, 0)
    return foreground


def corners(ndim: int) -> np.ndarray:
    """A cube over the corner that 2 ** ndim blocks share, and a diagonal through corners."""
    foreground = np.zeros((20,) * ndim, bool)
    foreground[(slice(8, 12),) * ndim] = True
    for place in range(20):
        foreground[(place,) * ndim] = True
    return foreground


SHAPES = {
    "over 4 blocks": corners(2),
    "over 8 blocks": corners(3),
    "spiral": spiral(30),
    "all blocks": np.ones((17, 23), bool),
    "nothing": np.zeros((17, 23), bool),
    "one block with objects": np.pad(np.ones((3, 3), bool), ((0, 27), (20, 7))),
    "comb": np.indices((24, 30))[1] % 2 == 0,
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("edge", [3, 4, 7, 10])
@pytest.mark.parametrize("halo", [1, 2, 6])
def test_objects_over_many_blocks(name, edge, halo):
    foreground = SHAPES[name]
    for connectivity in (1, foreground.ndim):
        check(foreground, (edge,) * foreground.ndim, halo=halo, connectivity=connectivity)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_blocks_of_one_voxel(ndim):
    foreground = corners(ndim)[(slice(6, 12),) * ndim]
    for connectivity in {1, ndim}:
        check(foreground, (1,) * ndim, halo=1, connectivity=connectivity)


def test_the_order_of_blocks_changes_nothing():
    rng = np.random.default_rng(3)
    foreground = rng.random((40, 37)) < 0.5
    options = {"halo": 2, "connectivity": 1}
    expected = in_blocks(foreground, (9, 8), **options)
    count = len(Grid(foreground.shape, (9, 8), 2))
    for _ in range(5):
        order = rng.permutation(count).tolist()
        np.testing.assert_array_equal(
            in_blocks(foreground, (9, 8), order=order, **options), expected
        )


class TestMatched:
    def test_uncertain_borders_do_not_join_neighbors(self):
        here, there = np.zeros((2, 10), int), np.zeros((2, 10), int)
        here[:, :5], here[:, 5:] = 1, 2
        there[:, :4], there[:, 4:] = 7, 8
        assert match_ids(here, there).tolist() == [[1, 7], [2, 8]]

    def test_a_speck_is_not_joined_to_what_it_touches(self):
        here, there = np.zeros((1, 20), int), np.zeros((1, 20), int)
        here[0, :10], there[0, 9:] = 1, 2
        assert match_ids(here, there).tolist() == []

    def test_one_that_is_seen_as_two_is_joined_to_the_larger(self):
        here, there = np.ones((1, 10), int), np.ones((1, 10), int)
        there[0, 7:] = 2
        assert match_ids(here, there).tolist() == [[1, 1]]

    def test_two_that_are_seen_as_one_do_not_become_one(self):
        """The larger one is joined; the smaller one would join both neighbors."""
        here, there = np.ones((1, 10), int), np.ones((1, 10), int)
        here[0, 7:] = 2
        assert match_ids(here, there).tolist() == [[1, 1]]

    def test_a_pair_must_be_the_largest_overlap_of_both(self):
        here = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 2, 2]])
        there = np.array([[3, 3, 3, 4, 4, 4, 4, 4, 4, 4]])
        # 1 meets 3 and 4 in three voxels each and 2 meets 4 in four: 4 belongs to 2 alone.
        assert match_ids(here, there).tolist() == [[1, 3], [2, 4]]

    def test_both_legs_of_one_object_are_joined(self):
        here, there = np.array([[3, 3, 0, 3, 3]]), np.array([[1, 1, 0, 2, 2]])
        assert match_ids(here, there).tolist() == [[3, 1], [3, 2]]

    def test_many_large_ids(self):
        here = np.arange(40_000, dtype=np.uint32).reshape(200, 200) + 3_000_000_000
        there = here.astype(np.int64)[::-1].copy()
        pairs = match_ids(here, there)
        assert len(pairs) == here.size
        assert pairs.min() == 3_000_000_000

    def test_two_shapes(self):
        with pytest.raises(DataError, match=r"\(2, 3\) and \(3, 2\)"):
            match_ids(np.zeros((2, 3), int), np.zeros((3, 2), int))


class TestJoined:
    def test_numbers_are_compact_and_in_order(self):
        pairs = np.array([[5, 1], [1, 3], [4, 4]])
        written = np.array([True, True, False, True, False, True])
        assert number_pieces(pairs, written).tolist() == [1, 2, 0, 2, 0, 2]

    def test_pieces_that_are_not_written_only_connect(self):
        assert (
            number_pieces(np.array([[0, 1], [1, 2]]), np.array([True, False, True])).tolist()
            == [1] * 3
        )

    def test_nothing(self):
        assert number_pieces(np.zeros((0, 2), np.int64), np.zeros(0, bool)).tolist() == []

    def test_pieces_that_are_not_there(self):
        with pytest.raises(DataError, match=r"0 \.\. 1.*found 0 \.\. 2"):
            number_pieces(np.array([[0, 2]]), np.ones(2, bool))

    def test_long_chains(self):
        count = 200_000
        pairs = np.stack([np.arange(count - 1), np.arange(1, count)], axis=1)
        begin = time.process_time()
        for order in (pairs, pairs[::-1]):
            assert number_pieces(order, np.ones(count, bool)).max() == 1
        assert time.process_time() - begin < 5


def test_every_slab_is_seen_by_both_blocks():
    for space, block, halo in product([(13,), (9, 14), (5, 6, 7)], [3, 20], [1, 5]):
        grid = Grid(space, (block,) * len(space), halo)
        for number in range(len(grid)):
            for axis in range(len(space)):
                other = grid.after(number, axis)
                if other is None:
                    continue
                slab = grid.slab(number, axis)
                for each in (number, other):
                    read = grid.tile(each).read
                    assert slab.clip(read) == slab
                    assert (f"{axis}{'+' if each == number else '-'}", slab) in grid.faces(each)
