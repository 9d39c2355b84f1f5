"""Stacks and movies: which axis is divided, and every position as an image of its own."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import tifffile

from unmask.errors import DataError
from unmask.io import open_image
from unmask.io.inputs import ArrayInput
from unmask.io.stacks import lead_axes, open_stack, plane_of
from unmask.space.box import Box

MOVIE = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)


def write(path, array, axes):
    tifffile.imwrite(path, array, imagej=True, metadata={"axes": axes})
    return path


def test_a_movie_is_divided_without_being_asked(tmp_path):
    stack = open_stack(write(tmp_path / "a.tif", MOVIE, "TYX"), ndim=2)
    assert stack is not None
    assert (stack.axes, stack.shape, lead_axes(stack, 2)) == ("CTYX", (1, *MOVIE.shape), "T")
    plane = plane_of(stack, (3,))
    assert (plane.axes, plane.shape) == ("CYX", (1, 6, 7))
    assert plane.source.endswith("a.tif (t = 3)")
    np.testing.assert_array_equal(plane.read()[0], MOVIE[3])
    np.testing.assert_array_equal(plane.read(Box((1, 2), (4, 5)))[0], MOVIE[3, 1:4, 2:5])


@pytest.mark.parametrize(
    ("axes", "planes", "found"), [("ZYX", "z", "Z"), ("ZYX", "t", "T"), ("TYX", "z", "Z")]
)
def test_the_user_says_what_the_axis_is(tmp_path, axes, planes, found):
    stack = open_stack(write(tmp_path / "a.tif", MOVIE, axes), ndim=2, planes=planes)
    assert stack is not None
    assert lead_axes(stack, 2) == found
    np.testing.assert_array_equal(plane_of(stack, (4,)).read()[0], MOVIE[4])


@pytest.mark.parametrize("suffix", ["tif", "npy"])
def test_an_axis_without_a_name_is_the_divided_one(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    (tifffile.imwrite if suffix == "tif" else np.save)(path, MOVIE)
    assert open_stack(path, ndim=2) is None
    stack = open_stack(path, ndim=2, planes="t")
    assert stack is not None
    assert stack.axes == "CTYX"


def test_channels_and_colors_stay_channels(tmp_path):
    hyper = np.random.default_rng(0).integers(0, 99, (4, 3, 2, 6, 7), np.uint16)
    stack = open_stack(write(tmp_path / "a.tif", hyper, "TZCYX"), ndim=2, planes="z")
    assert stack is not None
    assert (stack.axes, stack.shape) == ("CTZYX", (2, 4, 3, 6, 7))
    np.testing.assert_array_equal(plane_of(stack, (2, 1)).read(), hyper[2, 1])
    colors = np.random.default_rng(0).integers(0, 99, (5, 6, 7, 3), np.uint8)
    stack = open_stack(ArrayInput(colors, "array"), ndim=2, planes="t")
    assert stack is not None
    np.testing.assert_array_equal(plane_of(stack, (2,)).read(), colors[2].transpose(2, 0, 1))


def test_a_single_image_in_color_is_no_stack():
    colors = ArrayInput(np.zeros((16, 17, 3), np.uint8), "array")
    assert open_stack(colors, ndim=2, planes="t") is None


def test_a_movie_of_volumes_for_a_model_for_volumes(tmp_path):
    hyper = np.random.default_rng(0).integers(0, 99, (4, 3, 6, 7), np.uint16)
    path = write(tmp_path / "a.tif", hyper, "TZYX")
    stack = open_stack(path, ndim=3)
    assert stack is not None
    assert (stack.axes, lead_axes(stack, 3)) == ("CTZYX", "T")
    np.testing.assert_array_equal(plane_of(stack, (2,)).read()[0], hyper[2])
    with pytest.raises(DataError, match=r"a model for volumes.*Leave out --planes"):
        open_stack(path, ndim=3, planes="z")


def test_spacing_is_that_of_the_axes_of_space(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((7, 6, 5, 4), np.int16), np.diag([0.5, 0.6, 2, 1]))
    nibabel.save(image, tmp_path / "a.nii")
    stack = open_stack(tmp_path / "a.nii", ndim=3)
    assert stack is not None
    assert stack.spacing == pytest.approx((2, 0.6, 0.5))
    assert plane_of(stack, (1,)).spacing == pytest.approx((2, 0.6, 0.5))


def test_slices_at_every_time_are_not_divided_silently(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((4, 3, 6, 7), np.uint16), "TZYX")
    for planes in (None, "t"):
        with pytest.raises(DataError, match=r"with slices as well.*--planes z"):
            open_stack(path, ndim=2, planes=planes)


def test_what_has_nothing_to_divide_is_no_stack(tmp_path):
    assert open_stack(write(tmp_path / "a.tif", MOVIE[0], "YX"), ndim=2, planes="z") is None
    assert open_stack(write(tmp_path / "b.tif", MOVIE, "ZYX"), ndim=3) is None
    # Slices may be meant for a model of volumes.
    assert open_stack(tmp_path / "b.tif", ndim=2) is None


def test_messages_lead_to_the_option(tmp_path):
    for path in (write(tmp_path / "a.tif", MOVIE, "ZYX"), tmp_path / "b.npy"):
        np.save(tmp_path / "b.npy", MOVIE)
        with pytest.raises(DataError, match="unmask predict --planes z"):
            open_image(path, ndim=2)
