"""Phantoms: truth fits the image, any number of axes, addressed chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from unmask.errors import DataError
from unmask.io import open_image, open_labels
from unmask.phantoms.cells import KINDS, nuclei, tissue, write_set

SHAPES = [(200,), (128, 120), (24, 64, 60), (6, 20, 24, 22)]


def draw(kind, shape, seed=0, **options):
    return KINDS[kind](shape, rng=np.random.default_rng(seed), **options)


def pieces(image):
    return ndimage.label(image, output=np.zeros(image.shape, np.int32))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_any_number_of_axes(kind, shape):
    sample = draw(kind, shape)
    assert sample.image.shape == (1, *shape)
    assert sample.image.dtype == np.uint8
    assert sample.labels.shape == sample.classes.shape == shape
    assert sample.labels.dtype == np.uint16
    assert sample.spacing == (1.0,) * len(shape)
    assert sample.labels.max() >= 1
    np.testing.assert_array_equal(sample.labels > 0, sample.classes > 0)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(
    shape=st.lists(st.integers(1, 24), min_size=1, max_size=3).map(tuple),
    seed=st.integers(0, 99),
)
def test_labels_are_consecutive_connected_and_no_scraps(kind, shape, seed):
    labels = draw(kind, shape, seed).labels
    values, sizes = np.unique(labels[labels > 0], return_counts=True)
    assert values.tolist() == list(range(1, len(values) + 1))
    assert all(size >= 8 for size in sizes)
    assert all(pieces(labels == value) == 1 for value in values)


@pytest.mark.parametrize("kind", KINDS)
def test_chance_comes_from_the_generator_alone(kind):
    one, same, other = (draw(kind, (48, 40), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.labels, same.labels)
    assert np.any(one.image != other.image)


@pytest.mark.parametrize("shape", [(256, 256), (32, 96, 96)])
def test_nuclei_touch_and_vary_but_shine(shape):
    samples = [draw("nuclei", shape, seed) for seed in range(3)]
    touching = 0
    for sample in samples:
        labels, image = sample.labels, sample.image[0].astype(float)
        assert 0.08 < np.mean(labels > 0) < 0.4
        levels = ndimage.median(image, labels, range(1, labels.max() + 1))
        assert np.std(levels) > 0.1 * np.mean(levels)
        assert np.median(image[labels > 0]) > 1.5 * np.median(image[labels == 0])
        touching += labels.max() - pieces(labels > 0)
    assert touching >= 5


@pytest.mark.parametrize("shape", [(256, 256), (32, 96, 96)])
def test_tissue_is_divided_by_dark_membranes_and_holds_mitochondria(shape):
    sample = draw("tissue", shape, 1)
    image, labels, classes = sample.image[0].astype(float), sample.labels, sample.classes
    mean = [image[classes == value].mean() for value in range(3)]
    assert mean[1] > mean[0] + 25
    assert mean[1] > mean[2] + 25
    assert np.mean(labels > 0) > 0.5
    assert np.isin(classes, [0, 1, 2]).all()
    # Cells never touch: a voxel and its neighbor belong to one cell or a membrane lies between.
    for axis in range(labels.ndim):
        a, b = np.delete(labels, -1, axis), np.delete(labels, 0, axis)
        assert np.mean((a != b) & (a > 0) & (b > 0)) < 1e-3


def test_spacing_shortens_objects_along_the_coarse_axis():
    fine = draw("nuclei", (96, 96), 5, density=0.1)
    coarse = draw("nuclei", (24, 96), 5, density=0.1, spacing=(4, 1))
    assert coarse.spacing == (4.0, 1.0)

    def extents(sample):
        boxes = ndimage.find_objects(sample.labels)
        return np.mean([[s.stop - s.start for s in box] for box in boxes], axis=0)

    tall, wide = extents(coarse)
    assert 2 < wide / tall < 8
    assert 0.6 < np.divide(*extents(fine)) < 1.6


def test_density_and_diameter_are_obeyed():
    few, many = (draw("nuclei", (256, 256), 2, density=share) for share in (0.08, 0.4))
    assert np.mean(few.labels > 0) < 0.15 < 0.25 < np.mean(many.labels > 0)
    small, large = (draw("nuclei", (256, 256), 2, diameter=size) for size in (12, 40))
    area = [np.median(np.bincount(sample.labels.ravel())[1:]) for sample in (small, large)]
    assert area[1] > 5 * area[0]


def test_bad_requests_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match="one of nuclei, tissue"):
        write_set(tmp_path, "cats", shape=(8, 8), count=1)
    with pytest.raises(DataError, match="positive length"):
        nuclei((0, 4), rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="2 positive voxel sizes"):
        tissue((8, 8), rng=np.random.default_rng(0), spacing=(1, 1, 1))


def test_write_set_pairs_by_stem_and_keeps_spacing(tmp_path):
    options = {"shape": (6, 24, 24), "seed": 7, "spacing": (2.0, 0.5, 0.5)}
    folder = write_set(tmp_path / "set", "tissue", count=3, labeled=2, **options)
    names = {
        part: sorted(p.name for p in (folder / part).iterdir())
        for part in ("images", "labels", "classes")
    }
    assert names["images"] == ["tissue_000.tif", "tissue_001.tif", "tissue_002.tif"]
    assert names["labels"] == names["classes"] == names["images"][:2]
    image = open_image(folder / "images" / "tissue_001.tif", ndim=3)
    assert image.shape == (1, 6, 24, 24)
    assert image.spacing == pytest.approx((2.0, 0.5, 0.5))
    labels = open_labels(folder / "labels" / "tissue_001.tif", ndim=3).read()
    assert labels.shape == (1, 6, 24, 24)
    # An image depends on seed and index, not on how many are written.
    again = write_set(tmp_path / "again", "tissue", count=2, **options)
    np.testing.assert_array_equal(
        open_image(again / "images" / "tissue_001.tif", ndim=3).read(), image.read()
    )
