"""Batches of two sources."""

import numpy as np
import pytest
import torch

from unmask.data.crops import CropPlan, Crops
from unmask.data.normalize import NoNormalize
from unmask.data.pairs import Pair
from unmask.data.replay import Replay
from unmask.io import Image


def source(values, shape, batch_size, *, seed=0, labels=True):
    """Crops of constant images, one for each value."""

    def encode(labels, spacing):
        return labels[None].astype(np.float32), np.ones((1, *labels.shape), np.float32)

    pairs = [
        Pair(str(value), *(Image.from_array(np.full(shape, value), ndim=len(shape)),) * 2)
        for value in values
    ]
    plan = CropPlan((4,) * len(shape), 1, batch_size, seed=seed)
    encoded = encode if labels else None
    return Crops(pairs, plan, normalize=NoNormalize(), encode=encoded)


@pytest.mark.parametrize("shape", [(6, 7), (5, 6, 7)])
def test_every_batch_has_both_and_every_image_comes_once_an_epoch(shape):
    joined = Replay(source(range(1, 13), shape, 4), source([101, 102, 103], shape, 1, seed=9))
    batches = [joined.batch(index) for index in range(6)]
    for batch in batches:
        assert batch.image.shape == (5, 1, *(4,) * len(shape))
        np.testing.assert_array_equal(batch.image, batch.values)
    firsts = torch.cat([batch.image[:4].amax((1, *range(2, 2 + len(shape)))) for batch in batches])
    seconds = torch.stack([batch.image[4].max() for batch in batches])
    for epoch in range(2):
        assert sorted(firsts[12 * epoch : 12 * (epoch + 1)].tolist()) == list(range(1, 13))
        assert sorted(seconds[3 * epoch : 3 * (epoch + 1)].tolist()) == [101, 102, 103]


def test_batches_are_a_function_of_their_number():
    def joined():
        return Replay(source(range(5), (6, 6), 2), source(range(50, 57), (6, 6), 1, seed=3))

    for index in (0, 3, 11):
        left, right = joined().batch(index), joined().batch(index)
        assert torch.equal(left.image, right.image)
        assert left.seed == right.seed


def test_sources_without_labels_join_too():
    batch = Replay(
        source([1], (6, 6), 2, labels=False), source([2], (6, 6), 1, labels=False)
    ).batch(0)
    assert batch.image.amax((1, 2, 3)).tolist() == [1, 1, 2]
    assert batch.values is None
