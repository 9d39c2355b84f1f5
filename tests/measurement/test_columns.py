"""Columns of the object table against scikit-image, and against themselves in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import marching_cubes, mesh_surface_area, regionprops_table

import unmask
from unmask.errors import DataError
from unmask.io import Image
from unmask.measurement import measure_image
from unmask.measurement.volume import Scale, block_shape, channel_names

SHAPES = {2: (50, 61), 3: (14, 24, 27)}
SPACINGS = {2: (0.5, 0.5), 3: (2.0, 0.5, 0.7)}
SIZES = {2: "area", 3: "volume"}
SHAPE_NAMES = ("area", "centroid", "bbox", "solidity", "axis_major_length", "axis_minor_length",
               "euler_number")  # fmt: skip
VALUE_NAMES = ("mean", "median", "min", "max", "std")


def opened(array: np.ndarray, ndim: int) -> Image:
    channels = "C" * (array.ndim - ndim)
    return Image.from_array(array, axes=channels + "ZYX"[-ndim:], ndim=ndim)


def pixels(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(1000, 300, (2, *shape))
    return values.astype(dtype) if dtype.startswith("f") else values.clip(0, 200).astype(dtype)


def same(table, other):
    assert list(table) == list(other)
    for name in table:
        np.testing.assert_array_equal(table[name], other[name], err_msg=name)


def peer_table(labels, values, names, **more):
    names = ["label", *names]
    return regionprops_table(
        labels.astype(int), np.moveaxis(values, 0, -1), properties=names, **more
    )


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32"])
def test_equals_regionprops(make_cells, ndim, dtype):
    labels, values = make_cells(SHAPES[ndim], ndim), pixels(SHAPES[ndim], dtype)
    spacing = SPACINGS[ndim]
    table = unmask.measure(labels, images=values, spacing=spacing)
    names = [*SHAPE_NAMES, *(f"intensity_{name}" for name in VALUE_NAMES)]
    peer = peer_table(labels, values, [*names, *["orientation", "perimeter"][: 4 - 2 * (ndim - 2)]]
                      if ndim == 2 else names)  # fmt: skip
    np.testing.assert_array_equal(table["id"], peer["label"])
    np.testing.assert_array_equal(table[SIZES[ndim]], peer["area"])
    pairs = {
        name: name
        for name in ("euler_number", "solidity", "axis_major_length", "axis_minor_length")
    }
    if ndim == 2:
        pairs |= {"perimeter": "perimeter", "orientation": "orientation"}
    for k, axis in enumerate("zyx"[-ndim:]):
        pairs |= {f"centroid_{axis}": f"centroid-{k}", f"bbox_{axis}_min": f"bbox-{k}",
                  f"bbox_{axis}_max": f"bbox-{k + ndim}"}  # fmt: skip
    pairs |= {
        f"{name}_channel_{c}": f"intensity_{name}-{c}" for name in VALUE_NAMES for c in (0, 1)
    }
    for ours, theirs in pairs.items():
        # numpy keeps the type of float images, so its means of float32 are less exact than ours.
        near = 1e-5 if "intensity" in theirs and dtype == "float32" else 1e-9
        np.testing.assert_allclose(table[ours], peer[theirs], rtol=near, atol=1e-9, err_msg=ours)


@pytest.mark.parametrize("ndim", [2, 3])
def test_units_equal_regionprops_with_spacing(make_cells, ndim):
    labels, spacing = make_cells(SHAPES[ndim], 1), SPACINGS[ndim]
    table = unmask.measure(labels, spacing=spacing)
    names = ["area", "centroid", "axis_major_length", "axis_minor_length"]
    names += ["perimeter", "orientation"] if ndim == 2 else []
    peer = peer_table(labels, labels[None], names, spacing=spacing)
    pairs = {f"{SIZES[ndim]}_um{ndim}": "area", "axis_major_length_um": "axis_major_length",
             "axis_minor_length_um": "axis_minor_length"}  # fmt: skip
    if ndim == 2:
        pairs |= {"perimeter_um": "perimeter", "orientation": "orientation"}
    pairs |= {f"centroid_{axis}_um": f"centroid-{k}" for k, axis in enumerate("zyx"[-ndim:])}
    for ours, theirs in pairs.items():
        np.testing.assert_allclose(table[ours], peer[theirs], rtol=1e-9, err_msg=ours)
    for k, axis in enumerate("zyx"[-ndim:]):
        np.testing.assert_allclose(
            table[f"bbox_{axis}_max_um"], table[f"bbox_{axis}_max"] * spacing[k]
        )


def test_surface_is_that_of_marching_cubes(make_cells):
    labels, spacing = make_cells(SHAPES[3], 2, count=8), SPACINGS[3]
    table = unmask.measure(labels, spacing=spacing)
    for k, key in enumerate(table["id"]):
        mask = np.pad(labels == key, 1).astype(np.float32)
        for column, size in (("surface", (1, 1, 1)), ("surface_um2", spacing)):
            corners, faces, *_ = marching_cubes(mask, 0.5, spacing=size)
            area = mesh_surface_area(corners, faces)
            np.testing.assert_allclose(table[column][k], area, rtol=1e-5)


def test_perimeter_of_pixels_that_are_not_square():
    labels = np.zeros((20, 30), np.uint8)
    labels[5:15, 4:24] = 1
    table = unmask.measure(labels, spacing=(2.0, 0.5))
    # The steps run through the centers of the border pixels, 9 along y and 19 along x.
    assert table["perimeter"] == 2 * (9 + 19)
    assert table["perimeter_um"] == 2 * (9 * 2.0 + 19 * 0.5)


@settings(max_examples=40)
@given(data=st.data(), ndim=st.sampled_from([2, 3]))
def test_blocks_give_the_same_numbers_as_one_piece(data, ndim):
    shape = data.draw(st.tuples(*[st.integers(1, 12)] * ndim))
    block = data.draw(st.tuples(*[st.integers(1, 7)] * ndim))
    seed = data.draw(st.integers(0, 2**32 - 1))
    dtype = data.draw(st.sampled_from(["uint16", "float32", "float64"]))
    rng = np.random.default_rng(seed)
    # Large values that differ little, whose plain sum of squares would lose the variance.
    values = (rng.normal(0, 1, (2, *shape)) + 60000).astype(dtype)
    labels = rng.integers(0, 4, shape).astype(np.uint16) * 1000
    scale = Scale(SPACINGS[ndim], "um")
    whole = measure_image(opened(labels, ndim), opened(values, ndim), scale=scale)
    blocks = measure_image(opened(labels, ndim), opened(values, ndim), scale=scale, block=block)
    same(whole, blocks)


def test_four_axes_lack_only_what_is_for_planes_and_volumes():
    labels = np.zeros((3, 4, 5, 6), np.uint8)
    labels[1:, 1:3, 2:4, 2:] = 3
    image = Image(
        shape=(1, *labels.shape), dtype=labels.dtype, axes="CTZYX", source="a", name="a",
        fetch=lambda index: labels[None][index].copy(),
    )  # fmt: skip
    table = measure_image(image)
    assert table["size"] == 2 * 2 * 2 * 4
    assert table["euler_number"] == 1
    assert not {"solidity", "perimeter", "surface"} & set(table)


def test_neighbors():
    labels = np.zeros((9, 20), np.uint8)
    labels[2:5, 2:5] = 1
    labels[5:7, 5:9] = 2  # touches 1 at a corner only
    labels[2:4, 12] = 9
    table = unmask.measure(labels)
    np.testing.assert_array_equal(table["touching_neighbors"], [1, 1, 0])
    np.testing.assert_array_equal(table["nearest_id"], [2, 1, 2])
    np.testing.assert_allclose(table["nearest_distance"][0], np.hypot(2.5, 3.5))
    # In physical space another object may be the nearest.
    flat = unmask.measure(labels, spacing=(10.0, 0.1))
    np.testing.assert_array_equal(flat["nearest_id"], [9, 1, 1])


def test_concentric_objects_are_each_others_nearest():
    labels = np.zeros((7, 7), np.uint8)
    labels[1:6, 1:6] = 4
    labels[3, 3] = 5
    table = unmask.measure(labels)
    np.testing.assert_array_equal(table["nearest_id"], [5, 4])
    np.testing.assert_array_equal(table["nearest_distance"], [0, 0])
    np.testing.assert_array_equal(table["euler_number"], [0, 1])


def test_border_flag():
    labels = np.zeros((6, 6), np.uint8)
    labels[0, 2] = 1
    labels[2:4, 2:4] = 2
    labels[5, 5] = 3
    np.testing.assert_array_equal(unmask.measure(labels)["touches_border"], [True, False, True])
    # An axis of one voxel has no border of its own.
    inside = unmask.measure(labels[None])["touches_border"]
    np.testing.assert_array_equal(inside, [True, False, True])


def test_a_direction_in_space():
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[np.arange(1, 8), np.arange(1, 8), 4] = 1
    table = unmask.measure(labels, spacing=(1.0, 2.0, 1.0))
    vector = [table[f"axis_major_{axis}"][0] for axis in "zyx"]
    np.testing.assert_allclose(vector, np.array([1, 2, 0]) / np.sqrt(5), atol=1e-12)


def test_one_pixel_objects_and_no_object():
    labels = np.zeros((5, 5), np.uint8)
    assert len(unmask.measure(labels, images=labels, spacing=(1, 1))) == 0
    labels[2, 2] = 200
    table = unmask.measure(labels, images=labels)
    expected = {"area": 1, "axis_major_length": 0, "solidity": 1, "perimeter": 0,
                "euler_number": 1, "std_channel_0": 0, "median_channel_0": 200}  # fmt: skip
    assert {name: table[name][0] for name in expected} == expected
    assert np.isnan(table["nearest_distance"][0])
    assert table["nearest_id"][0] == 0


def test_many_objects_with_gaps_between_ids():
    labels = np.zeros((530, 530), np.uint64)
    ids = np.arange(70_225, dtype=np.uint64).reshape(265, 265) * 3_000_000_007 + 2**40
    labels[::2, ::2] = ids
    table = unmask.measure(labels)
    np.testing.assert_array_equal(table["id"], ids.reshape(-1))
    assert (table["area"] == 1).all()
    assert (table["nearest_distance"] == 2).all()


@pytest.mark.parametrize("value", [1.5, -1, np.nan, np.inf])
def test_values_that_are_not_ids_are_refused(value):
    with pytest.raises(DataError, match="whole numbers from 0"):
        unmask.measure(np.array([[0.0, value]]))


def test_float_and_signed_and_bool_ids():
    labels = np.array([[0, 3, 3], [0, 0, 1]])
    for dtype in (np.float32, np.float64, np.int64, np.int8, np.uint64):
        np.testing.assert_array_equal(unmask.measure(labels.astype(dtype))["id"], [1, 3])
    np.testing.assert_array_equal(unmask.measure(labels > 0)["area"], [3])


def test_undefined_and_infinite_values_are_visible():
    labels = np.array([[1, 1, 2, 2, 3]], np.uint8)
    values = np.array([[np.nan, 1, np.inf, 2, 5]], np.float32)
    table = unmask.measure(labels, images=values)
    np.testing.assert_array_equal(table["mean_channel_0"], [np.nan, np.inf, 5])
    np.testing.assert_array_equal(table["max_channel_0"], [np.nan, np.inf, 5])
    np.testing.assert_array_equal(table["median_channel_0"], [np.nan, np.inf, 5])


def test_shapes_that_differ_are_refused_with_both():
    with pytest.raises(DataError, match=r"\(4, 5\).*\(5, 4\)"):
        unmask.measure(np.ones((5, 4), np.uint8), images=np.ones((4, 5), np.uint8))


def test_channel_names():
    image = Image.from_array(np.zeros((3, 4, 4), np.uint8), ndim=2)
    assert channel_names(image) == ["channel_0", "channel_1", "channel_2"]
    assert channel_names(image, ["DAPI", "", "DAPI"]) == ["DAPI_0", "channel_1", "DAPI_2"]
    with pytest.raises(DataError, match=r"3 channels"):
        channel_names(image, ["DAPI"])


def test_blocks_have_a_bounded_size():
    assert block_shape((100, 100), 10**6) == (100, 100)
    assert np.prod(block_shape((1, 10**9), 10**6)) <= 10**6
    assert max(block_shape((1, 2**20), 2**24)) <= 2**15


def test_blocks_without_objects_are_not_read_from_the_image():
    labels = np.zeros((8, 40), np.uint8)
    labels[2:4, 30:33] = 1
    asked = []

    def fetch(index):
        asked.append(index[2])
        return np.ones((1, 8, 40), np.uint8)[index]

    image = Image(
        shape=(1, 8, 40), dtype=np.dtype(np.uint8), axes="CYX", source="i", name="i", fetch=fetch
    )
    table = measure_image(opened(labels, 2), image, block=(8, 10))
    assert table["sum_channel_0"] == 6
    # The block that holds the object, and the second look at it where it spans two.
    assert min(part.start for part in asked) >= 20
