"""Label images that are changed before training."""

import numpy as np
import pytest

from unmask.data.crops import CropPlan, Crops
from unmask.data.label_changes import ExcludeBoundaries, apply_changes
from unmask.data.normalize import NoNormalize
from unmask.data.pairs import Pair
from unmask.errors import RecipeError
from unmask.io import Image
from unmask.labels.boundaries import exclude_boundaries
from unmask.space.box import Box


def image(shape=(40, 36)):
    labels = np.zeros(shape, np.uint16)
    labels[tuple(slice(5, 25) for _ in shape)] = 3
    labels[tuple(slice(25, 35) for _ in shape)] = 8
    return Image.from_array(labels, ndim=len(shape))


@pytest.mark.parametrize("shape", [(40, 36), (36, 40, 38)])
def test_parts_are_those_of_the_whole(shape):
    labels = image(shape)
    wanted = exclude_boundaries(labels.read()[0], min_size=500, frame=1)
    found = apply_changes(labels, [ExcludeBoundaries(min_size=500, frame=1)])
    assert found.shape == labels.shape
    np.testing.assert_array_equal(found.read()[0], wanted)
    box = Box((4,) * len(shape), (20,) * len(shape))
    np.testing.assert_array_equal(found.read(box)[0], wanted[box.slices])
    assert apply_changes(labels, []) is labels


@pytest.mark.parametrize("cache_bytes", [0, 1e9])
def test_crops_are_those_of_changed_labels(cache_bytes):
    def encode(labels, spacing):
        return labels[None].astype(np.float32), np.ones((1, *labels.shape), np.float32)

    labels = image()
    pair = Pair("a", Image.from_array(np.ones((40, 36), np.uint8), ndim=2), labels)
    plan = CropPlan((40, 36), 1, 1, changes=(ExcludeBoundaries(),))
    crops = Crops([pair], plan, normalize=NoNormalize(), encode=encode, cache_bytes=cache_bytes)
    values = crops.batch(0).values
    assert values is not None
    np.testing.assert_array_equal(values[0, 0], exclude_boundaries(labels.read()[0]))


def test_wrong_options_are_refused():
    with pytest.raises(RecipeError, match="min_size=-1"):
        ExcludeBoundaries(min_size=-1)
