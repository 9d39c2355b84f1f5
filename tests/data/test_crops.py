from dataclasses import dataclass

import numpy as np
import pytest

from unmask.data.augment.spatial import Spatial
from unmask.data.crops import CropPlan, Crops
from unmask.data.normalize import NoNormalize
from unmask.data.pairs import Pair
from unmask.errors import DataError
from unmask.io import Image


def pair(shape, *, name="a", labels=True, channels=1):
    """The image's values are voxel numbers, and labels equal them, so crops can be traced."""
    grid = np.arange(1, np.prod(shape) + 1).reshape(shape)
    image = np.stack([grid] * channels).astype(np.float32)
    found = Image.from_array(grid.astype(np.int64), name=name, ndim=len(shape)) if labels else None
    return Pair(name, Image.from_array(image, name=name, ndim=len(shape)), found)


def encode(labels, spacing):
    return labels[None].astype(np.float32), np.ones((1, *labels.shape), np.float32)


def crops(pairs, *, crop, encode=encode, **options):
    plan = CropPlan(crop=crop, channels=1, batch_size=3, **options)
    return Crops(pairs, plan, normalize=NoNormalize(), encode=encode)


@pytest.mark.parametrize("shape", [(20, 30), (8, 12, 14)])
def test_image_and_labels_show_the_same_box(shape):
    batch = crops([pair(shape)], crop=tuple(n // 2 for n in shape)).batch(0)
    assert batch.image.shape == (3, 1, *(n // 2 for n in shape))
    np.testing.assert_array_equal(batch.image, batch.values)


@pytest.mark.parametrize("shape", [(20, 30), (8, 12, 14)])
def test_flips_and_turns_keep_image_and_labels_together(shape):
    batch = crops([pair(shape)], crop=(6,) * len(shape), parts=(Spatial(),)).batch(3)
    np.testing.assert_array_equal(batch.image, batch.values)


def test_batches_are_a_function_of_their_index():
    def some(index):
        source = crops([pair((20, 30)), pair((25, 25), name="b")], crop=(8, 8), parts=(Spatial(),))
        return source.batch(index)

    first, again, other = some(4), some(4), some(5)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.seed == again.seed
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("shape", [(9, 10), (6, 7, 7)])
def test_crops_reach_every_corner_of_the_image(shape):
    crop = tuple(n - 1 for n in shape)
    source = crops([pair(shape)], crop=crop, foreground=0.0)
    corners = {
        int(image.flatten()[0]) for index in range(40) for image in source.batch(index).image
    }
    grid = np.arange(1, np.prod(shape) + 1).reshape(shape)
    room = tuple(slice(0, n - c + 1) for n, c in zip(shape, crop, strict=True))
    assert corners == set(grid[room].flatten().tolist())


@dataclass(frozen=True)
class _Margin:
    """A geometric part that reads more than the crop and returns its center."""

    margin: int

    def draw(self, rng, shape):
        return None

    def read_shape(self, crop):
        return tuple(n + 2 * self.margin for n in crop)

    def resample(self, images, labels, params, *, crop):
        inner = tuple(slice(self.margin, self.margin + n) for n in crop)
        return images[(..., *inner)], labels[(..., *inner)]


@pytest.mark.parametrize("shape", [(20, 30), (8, 12, 14)])
@pytest.mark.parametrize("border", ["mirror", "zero"])
def test_the_crop_is_centered_in_the_region_that_a_warp_reads(shape, border):
    crop = tuple(n // 2 for n in shape)
    plain = crops([pair(shape)], crop=crop, border=border).batch(2)
    wide = crops([pair(shape)], crop=crop, border=border, parts=(_Margin(3),)).batch(2)
    np.testing.assert_array_equal(plain.image, wide.image)
    np.testing.assert_array_equal(plain.values, wide.values)


@pytest.mark.parametrize("shape", [(5, 30), (1, 1), (3, 4)])
def test_images_smaller_than_the_crop_are_mirrored(shape):
    batch = crops([pair(shape)], crop=(8, 8)).batch(0)
    assert batch.image.shape == (3, 1, 8, 8)
    assert set(batch.image.unique().tolist()) <= set(range(1, np.prod(shape) + 1))


def test_the_share_of_crops_on_objects_is_kept():
    labels = np.zeros((200, 200), np.int64)
    labels[10, 10] = 7
    image = Image.from_array(np.zeros((200, 200), np.uint8), ndim=2)
    source = [Pair("a", image, Image.from_array(labels, ndim=2))]

    def hits(foreground):
        some = crops(source, crop=(16, 16), foreground=foreground)
        return np.mean([(some.batch(i).values == 7).any().item() for i in range(30)])

    assert hits(1.0) == 1.0
    assert hits(0.0) < 0.5


def test_uncached_images_give_the_same_batches():
    plan = CropPlan(crop=(8, 8), channels=1, batch_size=3)
    some, other = (
        Crops([pair((20, 30))], plan, normalize=NoNormalize(), encode=encode, cache_bytes=size)
        for size in (0, 1e9)
    )
    np.testing.assert_array_equal(some.batch(2).image, other.batch(2).image)


def test_pre_training_needs_no_labels():
    batch = crops([pair((20, 30), labels=False)], crop=(8, 8), encode=None).batch(0)
    assert batch.values is None
    assert batch.weight is None


def test_an_image_with_nan_is_refused_by_name():
    image = np.zeros((9, 9), np.float32)
    image[2, 3] = np.nan
    source = [Pair("x", Image.from_array(image, name="x.tif", ndim=2))]
    with pytest.raises(DataError, match=r"x\.tif: expected finite values"):
        crops(source, crop=(4, 4), encode=None)


def test_an_error_of_the_task_names_the_file():
    def refuse(labels, spacing):
        raise DataError("labels: expected 0 or 1")

    with pytest.raises(DataError, match="b: labels: expected 0 or 1"):
        crops([pair((9, 9), name="b")], crop=(4, 4), encode=refuse).batch(0)


def test_label_images_without_an_object_are_named():
    image = np.arange(400, dtype=np.uint16).reshape(20, 20)
    labels = [np.zeros((20, 20), np.uint8), np.eye(20, dtype=np.uint8)]
    pairs = [
        Pair(str(i), Image.from_array(image), Image.from_array(each, name=f"l{i}"))
        for i, each in enumerate(labels)
    ]
    assert crops(pairs, crop=(8, 8)).empty == ["l0"]
