"""Arrays of any library where a path may stand."""

from __future__ import annotations

import dask.array
import h5py
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from unmask.errors import DataError
from unmask.io import Image, open_image, open_labels
from unmask.io.inputs import as_inputs
from unmask.space.box import Box

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


class Named:
    """An array with names of axes, as xarray has it."""

    def __init__(self, data, dims):
        self.data, self.dims, self.shape, self.dtype = data, dims, data.shape, data.dtype

    def __array__(self, *args, **options):
        return np.asarray(self.data)


Named.__module__ = "xarray.core.dataarray"


class Watched:
    """An array that counts the voxels it hands out, as a lazy library has it."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.read = data, data.shape, data.dtype, 0

    def __array__(self, *args, **options):
        raise AssertionError("converted whole")

    def __getitem__(self, index):
        found = self.data[index]
        self.read += found.size
        return found


Watched.__module__ = "zarr.core.array"


def in_hdf5(array):
    return (
        h5py.File.in_memory().create_dataset("x", data=array)
        if hasattr(h5py.File, "in_memory")
        else h5py.File("x", "w", driver="core", backing_store=False).create_dataset("x", data=array)
    )


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        dask.array.from_array,
        torch.from_numpy,
        lambda array: torch.from_numpy(array.astype(np.float32)).requires_grad_(),
        lambda array: zarr.array(array, chunks=(4, 4)),
        in_hdf5,
        Pillow.fromarray,
        lambda array: Named(array, ("y", "x")),
        lambda array: array.astype(">u2"),
    ],
)
def test_every_library_gives_the_same_image(convert):
    image = open_image(convert(GREY), ndim=2)
    assert image.shape == (1, 6, 8)
    np.testing.assert_array_equal(image.read()[0], GREY)
    np.testing.assert_array_equal(image.read(Box((1, 2), (3, 7)))[0], GREY[1:3, 2:7])
    assert image.dtype.isnative
    labels = open_labels(convert(GREY), ndim=2)
    np.testing.assert_array_equal(labels.read()[0], GREY)
    assert labels.dtype.kind == "u"


def test_lazy_arrays_are_read_by_box():
    watched = Watched(np.zeros((30, 100, 100), np.uint8))
    image = Image.from_array(watched, ndim=3)
    assert watched.read == 0
    assert image.read(Box((1, 2, 3), (3, 12, 13))).shape == (1, 2, 10, 10)
    assert watched.read == 200


@pytest.mark.parametrize(
    ("shape", "ndim", "expected"),
    [
        ((6, 8, 1), 2, (1, 6, 8)),
        ((1, 6, 8), 2, (1, 6, 8)),
        ((1, 6, 8, 1), 2, (1, 6, 8)),
        ((6, 8, 3), 2, (3, 6, 8)),
        ((3, 6, 8), 2, (3, 6, 8)),
        ((3, 6, 4), 2, (3, 6, 4)),
        ((2, 6, 8), 2, (2, 6, 8)),
        ((5, 6, 8, 1), 3, (1, 5, 6, 8)),
        ((2, 5, 6, 8), 3, (2, 5, 6, 8)),
        ((5, 6, 8, 4), 3, (4, 5, 6, 8)),
        ((1, 5, 6, 8), 3, (1, 5, 6, 8)),
    ],
)
def test_where_channels_are(shape, ndim, expected):
    assert Image.from_array(np.zeros(shape, np.uint8), ndim=ndim).shape == expected
    assert Image.from_array(dask.array.zeros(shape, dtype=np.uint8), ndim=ndim).shape == expected


@pytest.mark.parametrize(("shape", "ndim"), [((64, 64, 2), 2), ((64, 64, 5), 2), ((9, 9, 9, 2), 3)])
def test_few_channels_at_the_end_need_axes(shape, ndim):
    axes = "ZYX"[-ndim:] + "C"
    with pytest.raises(DataError, match=f'axes="{axes}"'):
        Image.from_array(np.zeros(shape, np.uint8), ndim=ndim)
    image = Image.from_array(np.zeros(shape, np.uint8), axes=axes, ndim=ndim)
    assert image.shape == (shape[-1], *shape[:-1])


@given(st.sampled_from([2, 3]), st.lists(st.integers(2, 9), min_size=3), st.booleans())
def test_a_single_axis_is_dropped_as_in_files(tmp_path_factory, ndim, sizes, first):
    space = sizes[:ndim]
    shape = [1, *space] if first else [*space, 1]
    array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    path = tmp_path_factory.getbasetemp() / "same.npy"
    np.save(path, array)
    for image in (Image.from_array(array, ndim=ndim), open_image(path, ndim=ndim)):
        assert image.shape == (1, *space)
        np.testing.assert_array_equal(image.read()[0], array.reshape(space))


def test_named_axes_are_taken():
    array = np.zeros((5, 6, 2), np.uint8)
    assert open_image(Named(array, ("y", "x", "channel"))).shape == (2, 5, 6)
    assert open_image(Named(array, ("y", "x", "z")), ndim=3).shape == (1, 2, 5, 6)
    # Names that say nothing leave it to the shape.
    assert open_image(Named(np.zeros((5, 6)), ("dim_0", "dim_1")), ndim=2).shape == (1, 5, 6)


def test_palettes_are_colors_of_images_and_ids_of_labels():
    picture = Pillow.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 10, 20, 30])
    assert open_image(picture, ndim=2).read()[:, 0, 1].tolist() == [10, 20, 30]
    assert open_labels(picture, ndim=2).read()[0].tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    "value",
    [3, None, {"a": 1}, object(), [[1, 2], [3, 4]], b"x.png", zarr.group(), np.ndarray,
     torch.zeros(4, 4, dtype=torch.bfloat16), np.array(["a"]), np.zeros((4, 4), complex),
     np.ma.masked_less(GREY, 3), np.array([None, 1])],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_anything_else_is_refused_in_words(value):
    with pytest.raises(DataError, match=r"expected .*, found "):
        open_image(value, ndim=2)


def test_inputs_have_names_and_order(tmp_path):
    opened = open_image(GREY)
    found = as_inputs([tmp_path / "a.png", GREY, "b*.png", opened])
    assert list(map(str, found)) == [str(tmp_path / "a.png"), "array_1", "b*.png", "array_3"]
    assert str(as_inputs(GREY)[0]) == "array"
