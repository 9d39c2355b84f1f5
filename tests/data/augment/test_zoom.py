"""Magnification when a crop is read."""

from typing import Any

import numpy as np
import pytest

from unmask.data.augment.spatial import Spatial
from unmask.data.augment.zoom import Zoom, region, resize, resize_labels
from unmask.data.crops import CropPlan, Crops
from unmask.data.normalize import NoNormalize
from unmask.data.pairs import Pair
from unmask.errors import RecipeError
from unmask.io import Image
from unmask.space.random import generator

SHAPES = [(60, 50), (22, 24, 20)]


def encode(labels, spacing):
    return labels[None].astype(np.float32), np.ones((1, *labels.shape), np.float32)


def batch(image, factor, *, parts=(), border="mirror", crop=8):
    """Crops of an image whose labels equal it."""
    ndim = image.ndim
    pair = Pair("a", *(Image.from_array(image.astype(kind), ndim=ndim) for kind in ("f4", "i8")))
    plan = CropPlan(
        (crop,) * ndim, 1, 4, parts=(Zoom((factor, factor), p=1), *parts), border=border
    )
    found = Crops([pair], plan, normalize=NoNormalize(), encode=encode).batch(0)
    assert found.values is not None
    return found.image, found.values


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parts", [(), (Spatial(p_flip=0.5, p_rotate90=2 / 3),)])
def test_objects_change_their_size(shape, parts):
    ramp = np.broadcast_to(np.arange(shape[-1]) * 8, shape)
    for factor in (0.5, 2.0):
        found, _ = batch(ramp, factor, parts=parts)
        assert found.shape == (4, 1, *(8,) * len(shape))
        for one in found[:, 0]:
            slope = max(float(one.diff(dim=axis).mean().abs()) for axis in range(one.ndim))
            assert slope == pytest.approx(8 / factor, rel=0.15)


@pytest.mark.parametrize("shape", SHAPES)
def test_image_and_labels_stay_together(shape):
    steps = np.zeros(shape)
    steps[tuple(slice(0, n // 2) for n in shape)] = 100
    found, labels = batch(steps, 0.5)
    assert ((found - labels).abs() <= 50).all()
    assert (labels.unique() % 100 == 0).all()


def test_shrinking_takes_the_mean_of_areas():
    image = np.arange(2 * 6 * 4, dtype=np.float32).reshape(2, 6, 4)
    means = image.reshape(2, 3, 2, 2, 2).mean((2, 4))
    np.testing.assert_allclose(resize(image, (3, 2)), means, rtol=1e-6)
    assert resize(image, (6, 4)) is image
    fine = np.tile([0.0, 1.0], 32).astype(np.float32)[None]
    np.testing.assert_allclose(resize(fine, (8,)), 0.5)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_labels_are_picked_never_mixed(dtype):
    labels = np.array([[1, 1, 7, 7], [1, 1, 7, 7], [200, 200, 3, 3], [200, 200, 3, 3]], dtype)
    assert resize_labels(labels, (2, 2)).tolist() == [[1, 7], [200, 3]]
    assert resize_labels(labels, (8, 4)).dtype == dtype
    np.testing.assert_array_equal(resize_labels(labels, (8, 8))[::2, ::2], labels)


def test_images_smaller_than_the_box_end_in_zeros_where_asked():
    ones = np.ones((10, 10))
    found, labels = batch(ones, 0.5, border="zero")
    assert (found[:, 0, 2:6, 2:6] == 1).all()
    assert found[:, 0].sum().item() == pytest.approx(4 * 25, abs=4)
    assert (labels[:, 0, 0] == 0).all()
    assert (batch(ones, 0.5)[0] == 1).all()


def test_share_range_and_wrong_options():
    part, rng = Zoom(p=0.5), generator(1, "draw")
    drawn = [part.draw(rng, (3, 8, 8)) for _ in range(600)]
    factors = np.array([factor for factor in drawn if factor is not None])
    assert len(factors) / 600 == pytest.approx(0.5, abs=0.06)
    assert 0.25 <= factors.min() < 0.3
    assert 1.45 < factors.max() <= 1.5
    assert factors.mean() == pytest.approx(0.875, abs=0.06)
    assert region((512, 512), 0.25) == (2048, 2048)
    assert region((512, 512), None) == (512, 512)
    wrongs: list[dict[str, Any]] = [{"factor": (0, 1)}, {"factor": (2, 1)}, {"p": 2}]
    for wrong in wrongs:
        with pytest.raises(RecipeError, match="expected"):
            Zoom(**wrong)
