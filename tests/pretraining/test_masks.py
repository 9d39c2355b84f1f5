"""Masks: exact share, every token once, a function of the seed, blocks stay together."""

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.pretraining import masks
from unmask.space.random import device_seed


@given(
    grid=st.lists(st.integers(1, 5), min_size=1, max_size=3).filter(lambda g: max(g) > 1),
    ratio=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**63 - 1),
    block=st.integers(0, 3),
)
def test_keep_and_drop_partition_the_tokens(grid, ratio, seed, block):
    n = prod(grid)
    mask = masks.draw(3, grid, ratio=ratio, seed=seed, block=(block,) * len(grid))
    assert mask.keep.shape[1] == min(max(1, int(n * (1 - ratio))), n - 1)
    both = torch.cat([mask.keep, mask.drop], dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(n).expand(3, -1))


def test_seed_decides():
    first, again, other = (masks.draw(2, (8, 8), ratio=0.75, seed=s).keep for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first.sort().values, other.sort().values)
    assert not torch.equal(first[0].sort().values, first[1].sort().values)


def dropped(mask, grid):
    image = torch.zeros(len(mask.keep), prod(grid))
    return image.scatter(1, mask.drop, 1.0).view(-1, *grid)


def test_blocks_drop_together():
    grid = (6, 8)
    image = dropped(masks.draw(4, grid, ratio=0.5, seed=0, block=(2, 2)), grid)
    blocks = image.view(4, 3, 2, 4, 2).sum(dim=(2, 4))
    assert set(blocks.unique().tolist()) == {0.0, 4.0}


def test_tubes_run_along_the_first_axis():
    grid = (4, 5, 6)
    image = dropped(masks.draw(2, grid, ratio=0.5, seed=0, block=(0, 1, 1)), grid)
    assert torch.equal(image, image[:, :1].expand_as(image))


def test_a_cut_block_keeps_the_share_exact():
    image = dropped(masks.draw(1, (4, 4), ratio=0.4, seed=0, block=(4, 2)), (4, 4))
    assert image.sum() == 16 - int(16 * 0.6)


def test_one_token_cannot_be_masked():
    with pytest.raises(ValueError, match="at least 2 tokens"):
        masks.draw(1, (1, 1), ratio=0.5, seed=0)


def test_blocks_are_in_the_order_of_one_sum_in_float64():
    """Two sorts in float32 give what earlier versions had: the same masks, without float64."""
    grid, block, seed = (6, 8), (2, 2), 11
    mask = masks.draw(3, grid, ratio=0.5, seed=seed, block=block)
    chance = torch.Generator().manual_seed(device_seed(seed, "mask"))
    noise = torch.rand(3, 3, 4, generator=chance)
    noise = noise.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    rank = torch.rand(3, *grid, generator=chance)
    order = (noise.double() + rank * 2.0**-25).flatten(1).argsort(dim=1, stable=True)
    assert torch.equal(torch.cat([mask.keep, mask.drop], dim=1), order)
