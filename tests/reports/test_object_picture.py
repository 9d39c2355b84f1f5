"""Pictures of labels: outlines where objects are, reduced images, volumes, movies."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.io import Image, Stored
from unmask.io.image import arranged_image
from unmask.reports.object_picture import draw_objects, png


def opened(array, axes, spacing=()):
    stored = Stored(array.shape, array.dtype, axes, array.__getitem__,
                    spacing=dict(zip(axes, spacing, strict=False)))  # fmt: skip
    return arranged_image(stored, axes, f"C{axes}", source="a", name="a")


def pair(shape, axes, spacing=()):
    labels = np.zeros(shape, np.uint16)
    inner = tuple(slice(n // 4, max(n // 4 + 1, n // 2)) for n in shape[-2:])
    labels[(..., *inner)] = 3
    image = np.random.default_rng(0).integers(0, 200, shape, np.uint8)
    return opened(image, axes, spacing), opened(labels, axes, spacing)


def colored(picture):
    """Where pixels are not gray."""
    return np.ptp(picture.astype(int), axis=-1) > 30


def test_outlines_are_colored_and_the_inside_is_the_image():
    picture = draw_objects(*pair((400, 400), "YX"))
    assert picture.shape == (800, 800, 3)
    marks = colored(picture)
    assert marks[200:400, 200:202].any(axis=1).all()
    assert not marks[206:394, 206:394].any()
    assert not marks[420:].any()


def test_ids_that_follow_each_other_have_different_colors():
    labels = np.repeat(np.arange(1, 7, dtype=np.uint8), 10)[None].repeat(20, 0)
    picture = draw_objects(opened(np.zeros_like(labels), "YX"), opened(labels, "YX"))
    columns = picture[40, 2::40]
    assert len({tuple(c) for c in picture[0].tolist()}) >= 6, columns


@pytest.mark.parametrize("shape", [(3001, 1700), (2, 5000), (1, 1)])
def test_large_images_are_reduced(shape, monkeypatch):
    monkeypatch.setattr("unmask.reports.object_picture._STRIP_PIXELS", 100_000)
    picture = draw_objects(*pair(shape, "YX"), edge=500)
    assert max(picture.shape[:2]) <= 500
    assert colored(picture).any() or min(shape) < 10


def test_a_volume_shows_three_slices_and_a_projection():
    image, labels = pair((10, 60, 80), "ZYX", (4.0, 1.0, 1.0))
    picture = draw_objects(image, labels)
    # The slice and the one below it, the one beside it, and the projection; z is stretched.
    white = (picture == 255).all(axis=2)
    assert np.count_nonzero(np.diff(white[:100].all(axis=0).astype(int)) == 1) == 2
    assert np.count_nonzero(np.diff(white[:, :100].all(axis=1).astype(int)) == 1) == 1
    assert picture.shape == (240 + 6 + 160, 320 + 6 + 160 + 6 + 320, 3)
    assert colored(picture).any()


def test_a_movie_shows_three_points_in_time():
    picture = draw_objects(*pair((9, 40, 40), "TYX"))
    assert picture.shape[1] > 3 * picture.shape[0]


def test_the_file_is_a_png():
    assert png(np.zeros((2, 2, 3), np.uint8)).startswith(b"\x89PNG")


def test_an_image_without_objects():
    image = Image.from_array(np.zeros((3, 30, 30), np.uint8), axes="CYX")
    assert not colored(draw_objects(image, opened(np.zeros((30, 30), np.uint8), "YX"))).any()
